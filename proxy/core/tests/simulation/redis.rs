//! A small model of Redis.

use std::collections::BTreeMap;

use redistributed_core::carrier::trailer;
use redistributed_core::glob::Glob;
use redistributed_core::trace::{SpanContext, SpanId, TraceId};

use super::{Origin, Words};
use crate::support::bulk;

/// Redis as far as the clients of the simulation can tell: pub/sub, transactions, `CLIENT REPLY` and both protocols.
pub(crate) struct Redis {
    /// Whether a client's own messages precede the reply to its publish and stand inside the reply to `EXEC`, as in
    /// Redis 7.0. Otherwise they follow it, as in 7.2 and later.
    pub(crate) own_push_first: bool,
    pub(crate) connections: Vec<Connection>,
    /// For each publish that ran, by the span in its trailer: the number of receivers, and whether a reply was sent.
    pub(crate) published: BTreeMap<Origin, (u64, bool)>,
}

#[derive(Default)]
pub(crate) struct Connection {
    resp3: bool,
    /// The subscribed channels, patterns and shard channels, in the order of [`KINDS`].
    subscriptions: [Vec<Vec<u8>>; 3],
    transaction: Option<Vec<Words>>,
    failed: bool,
    watching: bool,
    touched: bool,
    off: bool,
    skip: bool,
    skip_next: bool,
    /// All that was sent on the connection.
    pub(crate) out: Vec<u8>,
    /// The client's own messages that follow the reply to its command, with the origins that their trailers name.
    own: Vec<(Vec<u8>, Option<Origin>)>,
    /// The origins of all messages that were sent on the connection, in order.
    pub(crate) delivered: Vec<Origin>,
    /// The commands, for the message of a failure.
    pub(crate) log: Vec<String>,
}

/// The commands that begin and end each kind of subscription.
const KINDS: [(&str, &str); 3] =
    [("subscribe", "unsubscribe"), ("psubscribe", "punsubscribe"), ("ssubscribe", "sunsubscribe")];

impl Redis {
    pub(crate) fn new(count: usize, own_push_first: bool) -> Self {
        let connections = (0..count).map(|_| Connection::default()).collect();
        Self { own_push_first, connections, published: BTreeMap::new() }
    }

    /// Runs or queues a command of the connection `id`.
    pub(crate) fn command(&mut self, id: usize, words: &[Vec<u8>]) {
        let name = String::from_utf8(words[0].to_ascii_lowercase()).unwrap();
        let connection = &mut self.connections[id];
        if name.is_empty() && !self.own_push_first {
            return; // in Redis 8.2 an empty request leaves the effect of SKIP to the next one
        }
        connection.log.push(words.iter().map(|word| word.escape_ascii().to_string()).collect::<Vec<_>>().join(" "));
        let in_any_mode =
            KINDS.iter().any(|(on, off)| name == *on || name == *off) || name == "ping" || name == "reset";
        if name.is_empty() {
            // In Redis 7.0 it uses up the effect of SKIP.
        } else if !connection.resp3 && connection.is_subscribed() && !in_any_mode {
            if name == "exec" {
                connection.transaction = None;
                connection.reply(b"-EXECABORT Transaction discarded because of: Can't execute 'exec': only\r\n");
            } else {
                let full = if name == "client" { "client|reply" } else { &name };
                connection.reply(format!("-ERR Can't execute '{full}': only\r\n").as_bytes());
            }
        } else if name == "badcmd" {
            connection.failed = true;
            connection.reply(b"-ERR unknown command 'BADCMD'\r\n");
        } else if !["exec", "discard", "multi", "watch", "reset"].contains(&&name[..])
            && let Some(queued) = &mut connection.transaction
        {
            queued.push(words.to_vec());
            connection.reply(b"+QUEUED\r\n");
        } else {
            self.run(id, &name, words, false);
        }
        let connection = &mut self.connections[id];
        connection.skip = std::mem::take(&mut connection.skip_next);
        for (message, context) in std::mem::take(&mut connection.own) {
            connection.out.extend(message);
            connection.delivered.extend(context);
        }
    }

    fn run(&mut self, id: usize, name: &str, words: &[Vec<u8>], in_exec: bool) {
        let connection = &mut self.connections[id];
        match name {
            "publish" | "spublish" => self.publish(id, name == "spublish", &words[1], &words[2]),
            "ssubscribe" if in_exec => {
                connection.reply(b"-ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client\r\n")
            }
            "multi" if connection.transaction.is_some() => connection.reply(b"-ERR MULTI calls can not be nested\r\n"),
            "multi" => {
                connection.transaction = Some(Vec::new());
                connection.failed = false;
                connection.reply(b"+OK\r\n");
            }
            "watch" if connection.transaction.is_some() => {
                connection.reply(b"-ERR WATCH inside MULTI is not allowed\r\n");
            }
            "watch" => {
                connection.watching = true;
                connection.reply(b"+OK\r\n");
            }
            "set" => {
                connection.reply(b"+OK\r\n");
                self.connections.iter_mut().for_each(|other| other.touched |= other.watching);
            }
            "discard" if connection.transaction.is_none() => connection.reply(b"-ERR DISCARD without MULTI\r\n"),
            "discard" => {
                connection.end_transaction();
                connection.reply(b"+OK\r\n");
            }
            "exec" => self.exec(id),
            "reset" => {
                connection.end_transaction();
                connection.resp3 = false;
                connection.subscriptions = Default::default();
                (connection.off, connection.skip_next) = (false, false);
                connection.reply(b"+RESET\r\n");
            }
            "hello" => {
                connection.resp3 = words[1] == b"3";
                connection.reply(if connection.resp3 { b"%1\r\n+proto\r\n:3\r\n" } else { b"*2\r\n+proto\r\n:2\r\n" });
            }
            "client" => match &words[2][..] {
                b"ON" => {
                    (connection.off, connection.skip) = (false, false);
                    connection.reply(b"+OK\r\n");
                }
                b"OFF" => connection.off = true,
                _ => connection.skip_next |= !connection.off,
            },
            "replconf" => {}
            "get" => connection.reply(if connection.resp3 { b"_\r\n" } else { b"$-1\r\n" }),
            "ping" if !connection.resp3 && connection.is_subscribed() => {
                connection.reply(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n")
            }
            "ping" => connection.reply(b"+PONG\r\n"),
            "lrange" => connection.reply(&with_context(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n")),
            "eval" => self.script(id, &words[1]),
            _ => connection.subscription(name, words),
        }
    }

    /// Runs one of the scripts of wild clients, whose answers look like something else.
    fn script(&mut self, id: usize, script: &[u8]) {
        if script == b"publish" {
            self.publish_to(id, false, b"a", b"from a script");
        }
        self.connections[id].reply(&match script {
            b"pmessage" => with_context(b"*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\na\r\n"),
            b"smessage" => with_context(b"*3\r\n$8\r\nsmessage\r\n$2\r\nab\r\n"),
            b"subscribe" => b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n".to_vec(),
            b"unsubscribe" => b"*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n".to_vec(),
            b"reset" => b"+RESET\r\n".to_vec(),
            _ => with_context(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n"),
        });
    }

    fn exec(&mut self, id: usize) {
        let connection = &mut self.connections[id];
        let touched = connection.touched;
        let failed = connection.failed;
        let Some(queued) = connection.end_transaction() else {
            return connection.reply(b"-ERR EXEC without MULTI\r\n");
        };
        if failed {
            return connection.reply(b"-EXECABORT Transaction discarded because of previous errors.\r\n");
        }
        if touched {
            return connection.reply(if connection.resp3 { b"_\r\n" } else { b"*-1\r\n" });
        }
        connection.reply(format!("*{}\r\n", queued.len()).as_bytes());
        for words in queued {
            let name = String::from_utf8(words[0].to_ascii_lowercase()).unwrap();
            self.run(id, &name, &words, true);
        }
    }

    fn publish(&mut self, id: usize, sharded: bool, channel: &[u8], payload: &[u8]) {
        let (receivers, key) = self.publish_to(id, sharded, channel, payload);
        let connection = &mut self.connections[id];
        if let Some(key) = key {
            self.published.insert(key, (receivers, !connection.off && !connection.skip));
        }
        connection.reply(format!(":{receivers}\r\n").as_bytes());
    }

    /// Sends a message to all that have subscribed. Returns how many messages these are, and the origin in its trailer.
    fn publish_to(&mut self, id: usize, sharded: bool, channel: &[u8], payload: &[u8]) -> (u64, Option<Origin>) {
        let mut receivers = 0;
        let context = trailer::find(payload).map(|added| added.context.unwrap().span);
        let key = context.map(|context| (context.trace_id, context.span_id));
        let own_push_first = self.own_push_first;
        for (other, connection) in self.connections.iter_mut().enumerate() {
            let (plain, pattern) = if sharded { ("smessage", None) } else { ("message", Some("pmessage")) };
            let exact = connection.subscriptions[if sharded { 2 } else { 0 }].iter().any(|name| name == channel);
            let mut frames = Vec::new();
            if exact {
                frames.push(connection.frame(&[plain.as_bytes(), channel, payload]));
            }
            if let Some(kind) = pattern {
                for glob in connection.subscriptions[1].clone() {
                    if Glob::new(std::str::from_utf8(&glob).unwrap()).unwrap().matches(channel) {
                        frames.push(connection.frame(&[kind.as_bytes(), &glob, channel, payload]));
                    }
                }
            }
            receivers += frames.len() as u64;
            for frame in frames {
                if other == id && !own_push_first {
                    connection.own.push((frame, key));
                } else {
                    connection.out.extend(frame);
                    connection.delivered.extend(key);
                }
            }
        }
        (receivers, key)
    }
}

/// A frame that lacks its last element, with one that ends in a context.
fn with_context(frame: &[u8]) -> Vec<u8> {
    let (mut frame, mut value) = (frame.to_vec(), b"hi".to_vec());
    let context = SpanContext { trace_id: TraceId::MIN, span_id: SpanId::MIN, flags: Default::default() };
    trailer::write(&context.into(), &mut value);
    bulk(&value, &mut frame);
    frame
}

impl Connection {
    fn is_subscribed(&self) -> bool {
        self.subscriptions.iter().any(|names| !names.is_empty())
    }

    /// Sends a reply, unless `CLIENT REPLY` suppresses it.
    fn reply(&mut self, bytes: &[u8]) {
        if !self.off && !self.skip {
            self.out.extend_from_slice(bytes);
        }
    }

    /// A message, which nothing suppresses.
    fn frame(&self, words: &[&[u8]]) -> Vec<u8> {
        let mut frame = format!("{}{}\r\n", if self.resp3 { '>' } else { '*' }, words.len()).into_bytes();
        words.iter().for_each(|word| bulk(word, &mut frame));
        frame
    }

    fn end_transaction(&mut self) -> Option<Vec<Words>> {
        (self.watching, self.touched, self.failed) = (false, false, false);
        self.transaction.take()
    }

    fn subscription(&mut self, name: &str, words: &[Vec<u8>]) {
        let kind = KINDS.iter().position(|(on, off)| name == *on || name == *off).unwrap();
        let subscribes = name == KINDS[kind].0;
        let mut names = words[1..].to_vec();
        if names.is_empty() {
            names.clone_from(&self.subscriptions[kind]);
        }
        if names.is_empty() {
            return self.confirm(name, None, kind);
        }
        for subject in names {
            let subscribed = &mut self.subscriptions[kind];
            match (subscribes, subscribed.iter().position(|known| *known == subject)) {
                (true, None) => subscribed.push(subject.clone()),
                (false, Some(at)) => drop(subscribed.remove(at)),
                _ => {}
            }
            self.confirm(name, Some(&subject), kind);
        }
    }

    fn confirm(&mut self, name: &str, subject: Option<&[u8]>, kind: usize) {
        let count = |kind: usize| self.subscriptions[kind].len();
        let count = if kind == 2 { count(2) } else { count(0) + count(1) };
        let mut frame = format!("{}3\r\n", if self.resp3 { '>' } else { '*' }).into_bytes();
        bulk(name.as_bytes(), &mut frame);
        match subject {
            Some(subject) => bulk(subject, &mut frame),
            None => frame.extend_from_slice(if self.resp3 { b"_\r\n" } else { b"$-1\r\n" }),
        }
        frame.extend_from_slice(format!(":{count}\r\n").as_bytes());
        self.out.extend(frame);
    }
}

/// The first complete command in `bytes`, and its length.
pub(crate) fn parse(bytes: &[u8]) -> Option<(Words, usize)> {
    let line = |from: usize| -> Option<(&[u8], usize)> {
        let end = bytes.get(from..)?.windows(2).position(|pair| pair == b"\r\n")?;
        Some((&bytes[from..from + end], from + end + 2))
    };
    let number = |digits: &[u8]| std::str::from_utf8(&digits[1..]).unwrap().parse::<usize>().unwrap();
    let (first, mut pos) = line(0)?;
    if first.first() != Some(&b'*') {
        return Some((vec![first.to_vec()], pos));
    }
    let mut words = Vec::new();
    for _ in 0..number(first) {
        let (header, start) = line(pos)?;
        pos = start + number(header) + 2;
        words.push(bytes.get(start..pos)?[..pos - start - 2].to_vec());
    }
    Some((words, pos))
}

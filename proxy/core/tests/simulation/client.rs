//! A client behind a session, and the commands that it sends.

use std::collections::VecDeque;
use std::sync::Arc;

use redistributed_core::trace::ids::CountingIds;
use redistributed_core::{Policy, Side};

use super::Words;
use super::redis::parse;
use crate::support::{Driver, Rng, multibulk};

/// A client, its connection and the session on it.
pub(crate) struct Client {
    pub(crate) session: Driver,
    /// What the client sent and the session has not read yet.
    requests: Vec<u8>,
    /// The commands that Redis has not run yet, as the client sent them.
    sent: VecDeque<Words>,
    /// How many of the bytes that left the session Redis has read.
    arrived: usize,
    /// What Redis sent and the session has not read yet.
    pub(crate) replies: Vec<u8>,
    in_transaction: Option<Palette>,
    skipping: bool,
    /// Whether a transaction has a `CLIENT REPLY SKIP` in it, which then suppresses the reply to the command after it.
    skips_in_transaction: bool,
    off: bool,
    /// Whether the client sends what may make the pairing uncertain.
    wild: bool,
}

/// What a client sends that is to make the pairing uncertain. An empty line is a request without a command.
const WILD: &[&[&str]] = &[
    &["MULTI"],
    &["MULTI"],
    &["EXEC"],
    &["EXEC"],
    &["SUBSCRIBE a", "SUBSCRIBE b a", "PSUBSCRIBE a* *", "PSUBSCRIBE a*", "SUBSCRIBE a", "SSUBSCRIBE ab"],
    &["UNSUBSCRIBE", "UNSUBSCRIBE a z", "PUNSUBSCRIBE", "PUNSUBSCRIBE a*", "SUNSUBSCRIBE"],
    &["PUBLISH a hi", "PUBLISH ab hi", "PUBLISH b hi", "SPUBLISH ab hi"],
    &["PUBLISH a hi", "PUBLISH ab hi"],
    &["HELLO 3", "HELLO 2"],
    &["CLIENT REPLY OFF", "CLIENT REPLY SKIP", "CLIENT REPLY SKIP", "CLIENT REPLY ON", "CLIENT REPLY ON"],
    &["RESET", "DISCARD", "WATCH k", "REPLCONF ACK 0"],
    &[""],
    &["EVAL message", "EVAL pmessage", "EVAL smessage", "LRANGE l 0 -1"],
    &["EVAL subscribe", "EVAL unsubscribe", "EVAL publish", "EVAL reset"],
    &["GET k", "SET k v", "PING", "BADCMD"],
];

/// What a transaction may hold. Versions of Redis differ in the order of frames if it both subscribes and publishes.
#[derive(Clone, Copy, PartialEq)]
enum Palette {
    Subscribe,
    Publish,
    Both,
}

impl Client {
    pub(crate) fn new(policy: &Arc<Policy>, wild: bool) -> Self {
        Self {
            session: Driver::new(policy),
            requests: Vec::new(),
            sent: VecDeque::new(),
            arrived: 0,
            replies: Vec::new(),
            in_transaction: None,
            skipping: false,
            skips_in_transaction: false,
            off: false,
            wild,
        }
    }

    /// Sends a command, whether earlier ones have been answered or not.
    ///
    /// With `both`, a transaction may both subscribe and publish.
    pub(crate) fn send(&mut self, rng: &mut Rng, both: bool) {
        let palettes = [Palette::Subscribe, Palette::Publish, Palette::Both];
        let palette = palettes[rng.below(if both { 3 } else { 2 })];
        let words = if self.wild { wild(rng) } else { self.command(rng) };
        let name = words[0].to_ascii_uppercase();
        match &name[..] {
            b"MULTI" => self.in_transaction = self.in_transaction.or(Some(palette)),
            b"EXEC" | b"DISCARD" | b"RESET" => self.in_transaction = None,
            _ => {}
        }
        self.skipping = words.last().is_some_and(|word| word == b"SKIP");
        self.skips_in_transaction = match &name[..] {
            b"EXEC" => self.skips_in_transaction,
            _ => self.in_transaction.is_some() && (self.skips_in_transaction || self.skipping),
        };
        self.off |= words.last().is_some_and(|word| word == b"OFF");
        self.off &= words.last().is_some_and(|word| word != b"ON" && word != b"RESET");
        if words.len() == 1 && (words[0].is_empty() || rng.one_in(3)) {
            self.requests.extend_from_slice(&[&words[0][..], b"\r\n"].concat());
        } else {
            self.requests.extend(multibulk(&words));
        }
        self.sent.push_back(words);
    }

    /// Chooses the next command, which is one that the client may send now.
    fn command(&self, rng: &mut Rng) -> Words {
        let Self { in_transaction, skipping, skips_in_transaction, off, .. } = *self;
        loop {
            let subscribes = in_transaction != Some(Palette::Publish);
            let publishes = in_transaction != Some(Palette::Subscribe);
            let line: &str = match rng.below(30) {
                0..=7 if publishes => {
                    let name = rng.pick(&["PUBLISH", "SPUBLISH", "publish"]);
                    let channel = rng.pick(&["a", "b", "ab", "__reserved"]);
                    let payload = rng.pick(&["", "hi", "\r\n*3\r\n", "{\"id\":7}", "a somewhat longer payload"]);
                    return [name, channel, payload].map(|word| word.as_bytes().to_vec()).into();
                }
                8 | 9 if subscribes => rng.pick(&["SUBSCRIBE a", "SUBSCRIBE b a", "subscribe __reserved"]),
                10 if subscribes => rng.pick(&["PSUBSCRIBE a*", "PSUBSCRIBE a? b*"]),
                // A transaction refuses it. Under OFF the refusal is not sent, so the session could only guess.
                11 if subscribes && !(in_transaction.is_some() && off) => "SSUBSCRIBE ab",
                12 if subscribes => rng.pick(&["UNSUBSCRIBE", "UNSUBSCRIBE a z"]),
                13 if subscribes => rng.pick(&["PUNSUBSCRIBE", "PUNSUBSCRIBE a*"]),
                14 if subscribes => rng.pick(&["SUNSUBSCRIBE", "SUNSUBSCRIBE ab"]),
                15 | 16 => "MULTI",
                17..=19 if in_transaction.is_some() => "EXEC",
                20 => rng.pick(&["DISCARD", "EXEC", "WATCH k", "RESET"]),
                21 => "SET k v",
                22 if in_transaction.is_none() => rng.pick(&["HELLO 3", "HELLO 3", "HELLO 2"]),
                23 => rng.pick(&["CLIENT REPLY OFF", "CLIENT REPLY SKIP", "CLIENT REPLY SKIP"]),
                24 | 25 if in_transaction.is_none() => "CLIENT REPLY ON",
                26 => "BADCMD",
                27 => "LRANGE l 0 -1",
                28 => rng.pick(&["REPLCONF ACK 0", "GET k"]),
                29 => "PING",
                _ => continue,
            };
            // An EXEC that subscribes and whose reply is skipped is a known way to lose the pairing.
            if line == "EXEC" && skipping {
                continue;
            }
            // After a transaction that subscribes and skips a reply, the replies do not show when RESET ends subscriber
            // mode: an array that looks like a message may be one, or the reply to a later command.
            if line == "RESET" && skips_in_transaction && in_transaction.is_none() {
                continue;
            }
            return words(line);
        }
    }

    /// Lets at most `limit` of the bytes that the client sent reach its session.
    pub(crate) fn forward_requests(&mut self, limit: usize, ids: &mut CountingIds) {
        let piece: Vec<u8> = self.requests.drain(..limit.min(self.requests.len())).collect();
        if !piece.is_empty() {
            self.session.feed(Side::Client, &piece, ids);
        }
    }

    /// Lets at most `limit` of the bytes that Redis sent reach the session.
    pub(crate) fn forward_replies(&mut self, limit: usize, ids: &mut CountingIds) {
        let piece: Vec<u8> = self.replies.drain(..limit.min(self.replies.len())).collect();
        if !piece.is_empty() {
            self.session.feed(Side::Server, &piece, ids);
        }
    }

    /// The next command as Redis reads it, if it has arrived, and as the client sent it.
    pub(crate) fn arrive(&mut self) -> Option<(Words, Words)> {
        let (words, len) = parse(&self.session.to_server[self.arrived..])?;
        self.arrived += len;
        Some((words, self.sent.pop_front().unwrap()))
    }

    /// Whether Redis has run every command that the client sent.
    pub(crate) fn is_done(&self) -> bool {
        self.sent.is_empty()
    }
}

fn wild(rng: &mut Rng) -> Words {
    let group = rng.pick(WILD);
    words(rng.pick(group))
}

fn words(line: &str) -> Words {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

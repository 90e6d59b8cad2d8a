//! The table of the commands that are not simply "one request, one reply".
//!
//! A command's row has all that the proxy knows of it: how much of a request has to be read, how it is answered, and which
//! plan may change it. A command without a row is answered by one reply and changes nothing that the proxy has to follow.

use crate::handover::{Pushes, Shape};
use crate::service::SubscriptionKind::{self, Channel, Pattern, Shard};

/// Longest word of a request that is looked at, in bytes.
const MAX_WORD_LEN: usize = 32;
/// Most words of a request that are looked at, the command's name included.
pub(crate) const MAX_WORDS: usize = 3;

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Command {
    /// The key of the command's name.
    key: u128,
    /// How many words of a request are looked at, the name included. They are at most [`MAX_WORDS`].
    pub(crate) words: u64,
    /// The plan by which a request of this name may be changed, if it has the plan's shape.
    plan: Option<Plan>,
    /// How a request of this name is answered.
    answer: fn(&Request<'_>) -> Answer,
    /// Whether the command only manages the connection, or says to a client what the server can do. It gets no span.
    manages: bool,
    /// Where the command has the name that a client gives the connection, if it can have one.
    pub(crate) naming: Option<Naming>,
    /// How the reply has the items that it hands over, if it hands any over.
    pub(crate) hands_over: Option<Shape>,
    /// How the request has the items that it adds to a list, a sorted set or a stream, if it adds any.
    pub(crate) pushes: Option<Pushes>,
}

/// The commands that can name a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// `CLIENT SETNAME name`.
    Client,
    /// The option `SETNAME name` of `HELLO`.
    Hello,
}

/// The plans of [`rewrite`](crate::rewrite) that may change a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// The request has three words, and the third is a payload that may get a context.
    Publish { sharded: bool },
}

/// The parts of a request that decide how it is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// The number of words, the command's name included.
    pub(crate) count: u64,
    /// The second word. It is empty if the word is missing, not looked at or too long.
    pub(crate) second: &'a [u8],
    /// The third word. It is empty in the same cases.
    pub(crate) third: &'a [u8],
}

/// What a client asks for by `CLIENT REPLY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyMode {
    On,
    Off,
    Skip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Resp2,
    Resp3,
}

/// Stands for the name of a connection that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameTicket(pub(crate) u32);

/// Where a reply has entries of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntriesFrom {
    /// For each stream its key and its entries: `XREAD`.
    Streams,
    /// The reply is an array of entries: `XRANGE`, `XCLAIM`.
    Range,
    /// The second element of the reply is such an array: `XAUTOCLAIM`.
    Claim,
    /// Some names in the reply are those of an entry or of such an array: `XINFO STREAM`.
    Info,
}

/// How a request is answered, and what it does to the connection once it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// One reply to each of this number of requests in a row.
    Replies(u64),
    /// The same, but the commands may block, and all that follows on the connection then waits.
    LateReplies(u64),
    /// One reply, from whose entries of streams contexts are removed. The command may block if it `waits`.
    Entries {
        from: EntriesFrom,
        waits: bool,
    },
    /// An integer or an error for each of this number of publishes in a row.
    Publishes(u64),
    /// The same for `run` publishes in a row. Each integer has to be `count`, the number of receivers. Another number
    /// contradicts the evidence.
    ExpectedReceivers {
        evidence: u64,
        count: u32,
        run: u32,
    },
    /// As many confirmations as are `left`, or one error. `None` means that their number depends on the subscriptions that
    /// the connection has when the command runs.
    Confirmations {
        kind: SubscriptionKind,
        subscribe: bool,
        left: Option<u64>,
    },
    /// One reply of a script or a function, which may publish and may answer with anything. The pairing notes it and counts
    /// it among the others.
    Script,
    /// The same as `Publishes(1)`, for a publish behind a subscription in the same transaction: the connection may get the
    /// message itself. `channel` is the place of the channel's name in the pairing.
    PublishesToItself {
        channel: u32,
    },
    Multi,
    /// The reply to a transaction, and whether the client has sent a script in it.
    Exec {
        scripts: bool,
    },
    Discard,
    Reset,
    /// One reply in the protocol that the request asks for; `None` if it asks for none or for one that does not exist.
    /// The ticket is that of the name which it asks for.
    Hello(Option<Protocol>, Option<NameTicket>),
    /// One reply, which gives the connection a name if it is no error.
    SetName(NameTicket),
    ClientReply(ReplyMode),
    /// No reply. This entry stands for a `CLIENT REPLY SKIP` that took effect within a transaction, and the next command
    /// has no reply either.
    Skipping,
    Monitor,
    /// An error, or the beginning of a replication link, which is not RESP.
    Sync,
    Select(u32),
    /// No reply, except `+QUEUED` in a transaction.
    Silent,
    /// The requests from here on are not understood.
    Unknown,
}

const fn blocking(name: &'static str) -> Command {
    plain(name, 1, |_| Answer::LateReplies(1))
}

const fn script(name: &'static str) -> Command {
    plain(name, 1, |_| Answer::Script)
}

const fn publish(name: &'static str, sharded: bool) -> Command {
    let answer = |request: &Request<'_>| match request.count {
        PUBLISH_WORDS => Answer::Publishes(1),
        _ => Answer::Replies(1),
    };
    Command { plan: Some(Plan::Publish { sharded }), ..plain(name, 1, answer) }
}

const fn plain(name: &'static str, words: u64, answer: fn(&Request<'_>) -> Answer) -> Command {
    let Some(key) = key(name.as_bytes()) else { panic!("no name is this long") };
    Command { key, words, plan: None, answer, manages: false, naming: None, hands_over: None, pushes: None }
}

const fn managing(name: &'static str, words: u64, answer: fn(&Request<'_>) -> Answer) -> Command {
    Command { manages: true, ..plain(name, words, answer) }
}

const fn naming(naming: Naming, row: Command) -> Command {
    Command { naming: Some(naming), ..row }
}

/// A command that takes items out of a list, a sorted set or a stream. It waits for them if its name begins with a B.
const fn taking(name: &'static str, shape: Shape) -> Command {
    let row = if matches!(name.as_bytes(), [b'B', ..]) { blocking(name) } else { plain(name, 1, ONE_REPLY) };
    Command { hands_over: Some(shape), ..row }
}

/// A command that reads entries of streams, and may wait for them.
const fn reading(name: &'static str) -> Command {
    Command { hands_over: Some(Shape::Entries), ..blocking(name) }
}

/// A script that is sent as its text or as its hash, and may be that of a well-known library.
const fn eval(name: &'static str) -> Command {
    Command { hands_over: Some(Shape::Script), pushes: Some(Pushes::Script), ..script(name) }
}

/// A command that adds items to a list, a sorted set or a stream.
const fn pushing(name: &'static str, pushes: Pushes) -> Command {
    Command { pushes: Some(pushes), ..plain(name, 1, ONE_REPLY) }
}

const ONE_REPLY: fn(&Request<'_>) -> Answer = |_| Answer::Replies(1);

/// The number of words of a publish: its name, the channel and the payload.
const PUBLISH_WORDS: u64 = 3;

/// The table, by the length of the name. Nearly every command of a busy connection has no row, and is then
/// compared with few names.
static COMMANDS: [&[Command]; 13] = [
    &[],
    &[],
    &[],
    &[],
    &[
        plain("EXEC", 1, |_| Answer::Exec { scripts: false }),
        plain("SYNC", 1, |_| Answer::Sync),
        eval("EVAL"),
        blocking("WAIT"),
        managing("AUTH", 1, ONE_REPLY),
        managing("ECHO", 1, ONE_REPLY),
        managing("PING", 1, ONE_REPLY),
        managing("QUIT", 1, ONE_REPLY),
        taking("LPOP", Shape::Values),
        taking("RPOP", Shape::Values),
        pushing("XADD", Pushes::Entry),
        pushing("ZADD", Pushes::Members),
    ],
    &[
        plain("MULTI", 1, |request| request.alone(Answer::Multi)),
        managing("RESET", 1, |request| request.alone(Answer::Reset)),
        plain("PSYNC", 1, |_| Answer::Sync),
        naming(Naming::Hello, managing("HELLO", 2, |request| request.hello())),
        script("FCALL"),
        taking("BLPOP", Shape::KeyAndValue),
        taking("BRPOP", Shape::KeyAndValue),
        reading("XREAD"),
        taking("LMOVE", Shape::Values),
        taking("LMPOP", Shape::KeyAndValues),
        taking("ZMPOP", Shape::KeyAndMembers),
        pushing("LPUSH", Pushes::Elements),
        pushing("RPUSH", Pushes::Elements),
    ],
    &[
        naming(Naming::Client, managing("CLIENT", 3, |request| request.client())),
        managing("SELECT", 2, |request| request.select()),
        taking("BLMOVE", Shape::Values),
        taking("BLMPOP", Shape::KeyAndValues),
        taking("BZMPOP", Shape::KeyAndMembers),
        taking("XCLAIM", Shape::Claimed),
        managing("ASKING", 1, ONE_REPLY),
        pushing("LPUSHX", Pushes::Elements),
        pushing("RPUSHX", Pushes::Elements),
    ],
    &[
        publish("PUBLISH", false),
        plain("DISCARD", 1, |request| request.alone(Answer::Discard)),
        plain("MONITOR", 1, |_| Answer::Monitor),
        eval("EVALSHA"),
        script("EVAL_RO"),
        blocking("WAITAOF"),
        managing("COMMAND", 1, ONE_REPLY),
        taking("ZPOPMIN", Shape::Members),
        taking("ZPOPMAX", Shape::Members),
        pushing("LINSERT", Pushes::Inserted),
    ],
    &[
        publish("SPUBLISH", true),
        plain("REPLCONF", 2, |request| request.replconf()),
        script("FCALL_RO"),
        taking("BZPOPMIN", Shape::KeyAndMember),
        taking("BZPOPMAX", Shape::KeyAndMember),
        managing("READONLY", 1, ONE_REPLY),
    ],
    &[
        plain("SUBSCRIBE", 1, |request| request.subscribe(Channel)),
        managing("READWRITE", 1, ONE_REPLY),
        taking("RPOPLPUSH", Shape::Values),
    ],
    &[
        plain("PSUBSCRIBE", 1, |request| request.subscribe(Pattern)),
        plain("SSUBSCRIBE", 1, |request| request.subscribe(Shard)),
        script("EVALSHA_RO"),
        taking("BRPOPLPUSH", Shape::Values),
        reading("XREADGROUP"),
        taking("XAUTOCLAIM", Shape::AutoClaimed),
    ],
    &[plain("UNSUBSCRIBE", 1, |request| request.unsubscribe(Channel))],
    &[
        plain("PUNSUBSCRIBE", 1, |request| request.unsubscribe(Pattern)),
        plain("SUNSUBSCRIBE", 1, |request| request.unsubscribe(Shard)),
    ],
];

/// A name of at most 16 bytes in capitals, as one number, because to compare two numbers costs less than to compare two texts.
/// Names of the same length have the same key only if they are equal but for the case of their letters.
const fn key(name: &[u8]) -> Option<u128> {
    let mut key = [0; 16];
    let Some((place, _)) = key.split_at_mut_checked(name.len()) else { return None };
    place.copy_from_slice(name);
    key.make_ascii_uppercase();
    Some(u128::from_ne_bytes(key))
}

/// The row of the command `name`, whose letters may be of either case.
#[inline]
pub(crate) fn find(name: &[u8]) -> Option<&'static Command> {
    let of_this_length = COMMANDS.get(name.len())?;
    if of_this_length.is_empty() {
        return None;
    }
    let key = key(name)?;
    of_this_length.iter().find(|command| command.key == key)
}

/// Whether a command only manages the connection.
pub(crate) fn manages_connection(name: &[u8]) -> bool {
    find(name).is_some_and(|command| command.manages)
}

/// How a request with this name is answered.
pub(crate) fn answer(name: &[u8], request: &Request<'_>) -> Answer {
    find(name).map_or(Answer::Replies(1), |command| command.answer(request))
}

impl Command {
    /// How the request is answered.
    pub(crate) fn answer(&self, request: &Request<'_>) -> Answer {
        (self.answer)(request)
    }

    /// The plan for a request of `count` words, if it has the plan's shape.
    #[inline]
    pub(crate) fn plan(&self, count: u64) -> Option<Plan> {
        self.plan.filter(|Plan::Publish { .. }| count == PUBLISH_WORDS)
    }
}

impl Request<'_> {
    /// `answer` if the command has no arguments. With arguments Redis answers an error.
    fn alone(&self, answer: Answer) -> Answer {
        if self.count == 1 { answer } else { Answer::Replies(1) }
    }

    fn names(&self) -> u64 {
        self.count.saturating_sub(1)
    }

    /// One confirmation for each name. Without names Redis answers an error.
    fn subscribe(&self, kind: SubscriptionKind) -> Answer {
        match self.names() {
            0 => Answer::Replies(1),
            names => Answer::Confirmations { kind, subscribe: true, left: Some(names) },
        }
    }

    /// One confirmation for each name. Without names there is one for each subscription of the kind, but at least one.
    fn unsubscribe(&self, kind: SubscriptionKind) -> Answer {
        let names = self.names();
        Answer::Confirmations { kind, subscribe: false, left: (names > 0).then_some(names) }
    }

    fn hello(&self) -> Answer {
        let protocol = match self.second {
            b"2" => Some(Protocol::Resp2),
            b"3" => Some(Protocol::Resp3),
            _ => None,
        };
        Answer::Hello(protocol, None)
    }

    fn client(&self) -> Answer {
        let is = |word: &[u8], text: &str| word.eq_ignore_ascii_case(text.as_bytes());
        match self.third {
            _ if self.count != 3 || !is(self.second, "REPLY") => Answer::Replies(1),
            mode if is(mode, "ON") => Answer::ClientReply(ReplyMode::On),
            mode if is(mode, "OFF") => Answer::ClientReply(ReplyMode::Off),
            mode if is(mode, "SKIP") => Answer::ClientReply(ReplyMode::Skip),
            _ => Answer::Replies(1),
        }
    }

    fn select(&self) -> Answer {
        let number = core::str::from_utf8(self.second).ok().and_then(|text| text.parse().ok());
        number.filter(|_| self.count == 2).map_or(Answer::Replies(1), Answer::Select)
    }

    /// No reply for `REPLCONF ACK` and `REPLCONF GETACK`, one reply for all others.
    fn replconf(&self) -> Answer {
        let is_silent = [&b"ACK"[..], b"GETACK"].iter().any(|word| self.second.eq_ignore_ascii_case(word));
        if is_silent { Answer::Silent } else { Answer::Replies(1) }
    }
}

/// A command's name or a short argument, copied as it arrives.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Word {
    bytes: [u8; MAX_WORD_LEN],
    /// The length. It is above [`MAX_WORD_LEN`] if the word is too long, and the word then equals no other.
    len: usize,
}

impl Word {
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        match self.bytes.get_mut(self.len..).and_then(|free| free.get_mut(..bytes.len())) {
            Some(free) => {
                free.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.len = MAX_WORD_LEN + 1,
        }
    }

    /// The bytes of the word, or none if it is too long.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The bytes of a complete word, or none if it is too long, as [`Word::as_bytes`] returns them.
pub(crate) fn kept(word: &[u8]) -> &[u8] {
    if word.len() <= MAX_WORD_LEN { word } else { &[] }
}

#[cfg(test)]
mod tests;

//! What a request asks for, as far as its replies differ from "one request, one reply".

use crate::service::SubscriptionKind;

/// Longest word of a request that is looked at, in bytes.
pub(super) const MAX_WORD_LEN: usize = 32;

/// A command name or a short argument, copied as it arrives.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Word {
    bytes: [u8; MAX_WORD_LEN],
    /// Above [`MAX_WORD_LEN`] if the word was longer; it then equals nothing.
    len: usize,
}

impl Word {
    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        match self.bytes.get_mut(self.len..).and_then(|free| free.get_mut(..bytes.len())) {
            Some(free) => {
                free.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.len = MAX_WORD_LEN + 1,
        }
    }

    /// The bytes; none if the word was too long.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn is(&self, word: &str) -> bool {
        self.as_bytes().eq_ignore_ascii_case(word.as_bytes())
    }

    fn number(&self) -> Option<u32> {
        core::str::from_utf8(self.as_bytes()).ok()?.parse().ok()
    }
}

/// `CLIENT REPLY`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyMode {
    On,
    Off,
    Skip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Resp2,
    Resp3,
}

/// A request by what it does to the connection and how it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// One reply, no effect that matters here.
    Other,
    /// The same, but it may be long in coming, and all that follows on the connection waits.
    MayBlock,
    Publish {
        sharded: bool,
    },
    /// One confirmation for each of `names`, or one error.
    Subscribe {
        kind: SubscriptionKind,
        names: u64,
    },
    /// One confirmation for each of `names`; without names one for each subscription of the kind, but at least one.
    Unsubscribe {
        kind: SubscriptionKind,
        names: u64,
    },
    Multi,
    Exec,
    Discard,
    Reset,
    /// The protocol asked for; `None` if it asks for none or for one that does not exist.
    Hello(Option<Protocol>),
    ClientReply(ReplyMode),
    Monitor,
    /// `SYNC` and `PSYNC`: what follows the reply is not RESP.
    Sync,
    /// `REPLCONF ACK` and `GETACK`: no reply.
    Silent,
    Select(u32),
}

impl Command {
    /// Whether a command of this name is [`Command::Other`] whatever its arguments are.
    pub(super) fn is_ordinary(name: &[u8]) -> bool {
        let special: &[&str] = match name.len() {
            4 => &["EXEC", "SYNC"],
            5 => &["MULTI", "RESET", "PSYNC", "HELLO"],
            6 => &["CLIENT", "SELECT"],
            7 => &["PUBLISH", "DISCARD", "MONITOR"],
            8 => &["SPUBLISH", "REPLCONF"],
            9 => &["SUBSCRIBE"],
            10 => &["PSUBSCRIBE", "SSUBSCRIBE"],
            11 => &["UNSUBSCRIBE"],
            12 => &["PUNSUBSCRIBE", "SUNSUBSCRIBE"],
            _ => &[],
        };
        !special.iter().any(|special| name.eq_ignore_ascii_case(special.as_bytes()))
    }

    /// Whether a command of this name may wait for something that others do.
    pub(super) fn may_block(name: &[u8]) -> bool {
        let blocking: &[&str] = match name.len() {
            4 => &["WAIT"],
            5 => &["BLPOP", "BRPOP", "XREAD"],
            6 => &["BLMOVE", "BLMPOP", "BZMPOP"],
            7 => &["WAITAOF"],
            8 => &["BZPOPMIN", "BZPOPMAX"],
            10 => &["BRPOPLPUSH", "XREADGROUP"],
            _ => &[],
        };
        blocking.iter().any(|blocking| name.eq_ignore_ascii_case(blocking.as_bytes()))
    }

    /// Whether this file names it, so that a command of this name exists whatever Redis says.
    pub(super) fn is_known(name: &[u8]) -> bool {
        !Self::is_ordinary(name) || Self::may_block(name)
    }

    /// A publish of the right shape, by its name and the number of its words.
    pub(super) fn publish(name: &[u8], count: u64) -> Option<Self> {
        match name.len() {
            _ if count != 3 => None,
            7 if name.eq_ignore_ascii_case(b"PUBLISH") => Some(Self::Publish { sharded: false }),
            8 if name.eq_ignore_ascii_case(b"SPUBLISH") => Some(Self::Publish { sharded: true }),
            _ => None,
        }
    }

    /// How many words of a request, its name included, [`Command::new`] looks at.
    pub(super) fn words(name: &Word) -> u64 {
        match name.as_bytes().len() {
            5 if name.is("HELLO") => 2,
            6 if name.is("CLIENT") => 3,
            6 if name.is("SELECT") => 2,
            8 if name.is("REPLCONF") => 2,
            _ => 1,
        }
    }

    /// `count` is the number of words of the request, its name included.
    pub(super) fn new(name: &Word, second: &Word, third: &Word, count: u64) -> Self {
        use SubscriptionKind::{Channel, Pattern, Shard};
        let names = count.saturating_sub(1);
        // By length first: nearly every command of a busy connection is none of these.
        match name.as_bytes().len() {
            4 if name.is("EXEC") => Self::Exec,
            4 if name.is("SYNC") => Self::Sync,
            5 if name.is("MULTI") && names == 0 => Self::Multi,
            5 if name.is("RESET") && names == 0 => Self::Reset,
            5 if name.is("PSYNC") => Self::Sync,
            5 if name.is("HELLO") => Self::Hello(match second.as_bytes() {
                b"2" if names > 0 => Some(Protocol::Resp2),
                b"3" if names > 0 => Some(Protocol::Resp3),
                _ => None,
            }),
            6 if name.is("CLIENT") && names == 2 && second.is("REPLY") => match third {
                mode if mode.is("ON") => Self::ClientReply(ReplyMode::On),
                mode if mode.is("OFF") => Self::ClientReply(ReplyMode::Off),
                mode if mode.is("SKIP") => Self::ClientReply(ReplyMode::Skip),
                _ => Self::Other,
            },
            6 if name.is("SELECT") && names == 1 => second.number().map_or(Self::Other, Self::Select),
            7 if name.is("DISCARD") && names == 0 => Self::Discard,
            7 if name.is("MONITOR") => Self::Monitor,
            8 if name.is("REPLCONF") && names > 0 && (second.is("ACK") || second.is("GETACK")) => Self::Silent,
            // Without a name these are errors, and one error is the answer.
            9 if name.is("SUBSCRIBE") && names > 0 => Self::Subscribe { kind: Channel, names },
            10 if name.is("PSUBSCRIBE") && names > 0 => Self::Subscribe { kind: Pattern, names },
            10 if name.is("SSUBSCRIBE") && names > 0 => Self::Subscribe { kind: Shard, names },
            11 if name.is("UNSUBSCRIBE") => Self::Unsubscribe { kind: Channel, names },
            12 if name.is("PUNSUBSCRIBE") => Self::Unsubscribe { kind: Pattern, names },
            12 if name.is("SUNSUBSCRIBE") => Self::Unsubscribe { kind: Shard, names },
            _ => Self::publish(name.as_bytes(), count).unwrap_or(Self::Other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Command {
        let word = |i: usize| {
            let mut word = Word::default();
            word.push(words.get(i).unwrap_or(&"").as_bytes());
            word
        };
        Command::new(&word(0), &word(1), &word(2), words.len() as u64)
    }

    #[test]
    fn names_are_case_insensitive_and_shapes_matter() {
        assert_eq!(command(&["pUbLiSh", "ch", "x"]), Command::Publish { sharded: false });
        assert_eq!(command(&["publish", "ch"]), Command::Other);
        assert_eq!(command(&["publish", "ch", "x", "y"]), Command::Other);
        assert_eq!(command(&["spublish", "ch", "x"]), Command::Publish { sharded: true });
        assert_eq!(command(&["subscribe"]), Command::Other);
        assert_eq!(command(&["subscribe", "a", "b"]), Command::Subscribe { kind: SubscriptionKind::Channel, names: 2 });
        assert_eq!(command(&["client", "reply", "Skip"]), Command::ClientReply(ReplyMode::Skip));
        assert_eq!(command(&["client", "reply", "maybe"]), Command::Other);
        assert_eq!(command(&["hello", "3"]), Command::Hello(Some(Protocol::Resp3)));
        assert_eq!(command(&["hello", "4"]), Command::Hello(None));
        assert_eq!(command(&["replconf", "ack", "0"]), Command::Silent);
        assert_eq!(command(&["replconf", "capa", "eof"]), Command::Other);
        assert_eq!(command(&["reset", "a"]), Command::Other);
        assert_eq!(command(&["get", "publish"]), Command::Other);
    }

    #[test]
    fn an_ordinary_command_is_never_special() {
        let shapes: [&[&str]; 4] = [&[], &["a"], &["reply", "on"], &["ack", "a", "b"]];
        for name in [
            "exec",
            "sync",
            "multi",
            "reset",
            "psync",
            "hello",
            "client",
            "select",
            "publish",
            "discard",
            "monitor",
            "spublish",
            "replconf",
            "subscribe",
            "psubscribe",
            "ssubscribe",
            "unsubscribe",
            "punsubscribe",
            "sunsubscribe",
        ] {
            assert!(!Command::is_ordinary(name.as_bytes()), "{name}");
        }
        for name in ["get", "set", "eval", "exe", "publishx", "", "client|reply"] {
            assert!(Command::is_ordinary(name.as_bytes()));
            for shape in shapes {
                assert_eq!(command(&[&[name], shape].concat()), Command::Other, "{name}");
            }
        }
    }

    #[test]
    fn a_word_over_the_limit_equals_nothing() {
        let mut word = Word::default();
        word.push(b"PUBLISH");
        word.push(&[b'x'; 26]);
        assert_eq!(word.as_bytes(), b"");
        word.push(b"y");
        assert_eq!(word.as_bytes(), b"");
    }
}

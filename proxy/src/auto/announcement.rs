//! How a proxy announces its subscribers: by subscribing to channels whose names are the announcements.
//!
//! ```text
//! __redistributed:1:<announcer>:b:<sequence>:<interval>:<search limit>   a heartbeat
//! __redistributed:1:<announcer>:c:<serial>:<count>:<channel>             <count> connections are subscribed to a channel,
//! __redistributed:1:<announcer>:p:<serial>:<count>:<pattern>             to a pattern (PSUBSCRIBE),
//! __redistributed:1:<announcer>:s:<serial>:<count>:<channel>             or to a shard channel (SSUBSCRIBE)
//! __redistributed:1:<announcer>:k:<token>                                all of the above has been checked
//! ```
//!
//! `<announcer>` is 16 hexadecimal digits, drawn at random for each connection that announces. Numbers are decimal. The
//! interval between two heartbeats is in milliseconds; the search limit is in bytes. The name of the channel or pattern is
//! the last field and may contain any byte, colons included.
//!
//! Another proxy asks for a check by a message on the announcer's own channel ([`check_channel`]), which contains a token of
//! its choice.
//!
//! An announcer never uses a serial number twice. An announcement that is seen in two snapshots has therefore been in
//! place for all of the time between them.

use std::fmt;
use std::time::Duration;

use super::topic::{Topic, kind_from_letter, kind_letter};

/// The prefix of every announcement in this version of the format. An announcement that cannot be parsed is ignored, so the
/// subscribers that it announces count as unknown.
pub const PREFIX: &[u8] = b"__redistributed:1:";

/// The prefix of every channel that proxies use among themselves, in any version.
pub const RESERVED_PREFIX: &[u8] = b"__redistributed:";

/// A pattern that matches every announcement in this version of the format.
pub const PATTERN: &[u8] = b"__redistributed:1:*";

/// Identifies a connection that announces. A proxy draws a new one whenever it reconnects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AnnouncerId(pub u64);

/// One announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// The announcer is alive, and has withdrawn every subscription that had ended before its last heartbeat but one.
    Heartbeat(Heartbeat),
    /// Subscribed connections whose messages the announcer searches for contexts.
    Subscribers {
        /// What they are subscribed to.
        topic: Topic,
        /// Never used twice by one announcer.
        serial: u64,
        /// The number of connections.
        count: u32,
    },
    /// After a message with this token asked for it, the announcer has made sure that every connection which it announces
    /// is read to the end of what has come, and has withdrawn every subscription that had ended.
    Checked {
        /// The token that the message contained.
        token: u64,
    },
}

/// The content of a heartbeat. Heartbeats are ordered by their sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Heartbeat {
    /// Grows by one with each heartbeat.
    pub sequence: u64,
    /// The time from one heartbeat to the next.
    pub interval: Duration,
    /// The length in bytes of the longest message that the announcer searches for a context.
    pub search_limit: u64,
}

impl fmt::Display for AnnouncerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Announcement {
    /// The name of the channel that makes this announcement when `announcer` subscribes to it.
    pub fn to_channel(&self, announcer: AnnouncerId) -> Vec<u8> {
        let mut channel = PREFIX.to_vec();
        match self {
            Self::Heartbeat(Heartbeat { sequence, interval, search_limit }) => {
                let millis = interval.as_millis();
                channel.extend_from_slice(format!("{announcer}:b:{sequence}:{millis}:{search_limit}").as_bytes());
            }
            Self::Subscribers { topic, serial, count } => {
                let kind = kind_letter(topic.kind);
                channel.extend_from_slice(format!("{announcer}:{kind}:{serial}:{count}:").as_bytes());
                channel.extend_from_slice(&topic.name);
            }
            Self::Checked { token } => channel.extend_from_slice(format!("{announcer}:k:{token}").as_bytes()),
        }
        channel
    }

    /// Parses the name of a channel. Returns `None` if it is not an announcement in this version of the format.
    pub fn parse(channel: &[u8]) -> Option<(AnnouncerId, Self)> {
        let mut fields = channel.strip_prefix(PREFIX)?.splitn(5, |&byte| byte == b':');
        let announcer = fields.next().filter(|id| id.len() == 16 && id.iter().all(u8::is_ascii_hexdigit))?;
        let announcer = AnnouncerId(u64::from_str_radix(std::str::from_utf8(announcer).ok()?, 16).ok()?);
        let [letter] = fields.next()? else { return None };
        let first = parse_decimal(fields.next()?)?;
        if *letter == b'k' {
            return fields.next().is_none().then_some((announcer, Self::Checked { token: first }));
        }
        let (second, last) = (parse_decimal(fields.next()?)?, fields.next()?);
        if *letter == b'b' {
            let (interval, search_limit) = (Duration::from_millis(second), parse_decimal(last)?);
            return Some((announcer, Self::Heartbeat(Heartbeat { sequence: first, interval, search_limit })));
        }
        let topic = Topic::new(kind_from_letter(*letter)?, last);
        Some((announcer, Self::Subscribers { topic, serial: first, count: u32::try_from(second).ok()? }))
    }
}

/// The channel on which `announcer` is asked for a check. The message is the token that the answer contains, in decimal.
pub fn check_channel(announcer: AnnouncerId) -> Vec<u8> {
    format!("__redistributed:check:{announcer}").into_bytes()
}

/// The token in a message that asks for a check.
pub fn parse_token(message: &[u8]) -> Option<u64> {
    parse_decimal(message)
}

impl From<Heartbeat> for Announcement {
    fn from(heartbeat: Heartbeat) -> Self {
        Self::Heartbeat(heartbeat)
    }
}

/// Accepts digits only; Rust's own parser accepts a sign as well.
fn parse_decimal(digits: &[u8]) -> Option<u64> {
    digits.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use redistributed_core::service::SubscriptionKind;

    use super::*;

    #[test]
    fn an_announcement_is_parsed_from_the_channel_that_makes_it() {
        let announcer = AnnouncerId(0xabc);
        let heartbeat = Heartbeat { sequence: 7, interval: Duration::from_secs(1), search_limit: 1_052_672 };
        let heartbeat = Announcement::from(heartbeat);
        assert_eq!(heartbeat.to_channel(announcer), b"__redistributed:1:0000000000000abc:b:7:1000:1052672");
        assert_eq!(Announcement::parse(&heartbeat.to_channel(announcer)), Some((announcer, heartbeat)));
        let checked = Announcement::Checked { token: 77 };
        assert_eq!(checked.to_channel(announcer), b"__redistributed:1:0000000000000abc:k:77");
        assert_eq!(Announcement::parse(&checked.to_channel(announcer)), Some((announcer, checked)));
        for (kind, letter, name) in [
            (SubscriptionKind::Channel, "c", &b"orders"[..]),
            (SubscriptionKind::Channel, "c", b""),
            (SubscriptionKind::Pattern, "p", b"a:*:\xff\r\n"),
            (SubscriptionKind::Shard, "s", b"::"),
        ] {
            let subscribers = Announcement::Subscribers { topic: Topic::new(kind, name), serial: u64::MAX, count: 3 };
            let prefix = format!("__redistributed:1:0000000000000abc:{letter}:18446744073709551615:3:");
            let channel = [prefix.as_bytes(), name].concat();
            assert_eq!(subscribers.to_channel(announcer), channel);
            assert_eq!(Announcement::parse(&channel), Some((announcer, subscribers)));
        }
    }

    #[test]
    fn channels_that_are_not_announcements_of_this_version_are_ignored() {
        for channel in [
            &b"orders"[..],
            b"__redistributed:1:",
            b"__redistributed:2:0000000000000abc:c:1:1:ch",
            b"__redistributed:1:abc:c:1:1:ch",
            b"__redistributed:1:+000000000000abc:c:1:1:ch",
            b"__redistributed:1:0000000000000abc:x:1:1:ch",
            b"__redistributed:1:0000000000000abc:cc:1:1:ch",
            b"__redistributed:1:0000000000000abc::1:1:ch",
            b"__redistributed:1:0000000000000abc:c:1:ch",
            b"__redistributed:1:0000000000000abc:c:+1:1:ch",
            b"__redistributed:1:0000000000000abc:c:1:-1:ch",
            b"__redistributed:1:0000000000000abc:c:1:4294967296:ch",
            b"__redistributed:1:0000000000000abc:b:1:1000:",
            b"__redistributed:1:0000000000000abc:b:1:1000:x",
            b"__redistributed:1:0000000000000abc:k:",
            b"__redistributed:1:0000000000000abc:k:1:",
            b"__redistributed:1:0000000000000abc:k:1:2:3",
        ] {
            assert_eq!(Announcement::parse(channel), None, "{}", channel.escape_ascii());
        }
    }
}

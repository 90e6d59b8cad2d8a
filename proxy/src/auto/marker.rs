//! The names of the channels by which proxies tell each other of their subscriptions.
//!
//! ```text
//! __redistributed:1:<proxy>:b:<number>:<period>:<longest>      a beat, and what holds for the proxy as a whole
//! __redistributed:1:<proxy>:c:<serial>:<count>:<channel>       so many connections are subscribed to the channel
//! __redistributed:1:<proxy>:p:<serial>:<count>:<pattern>       … to the pattern, by PSUBSCRIBE
//! __redistributed:1:<proxy>:s:<serial>:<count>:<channel>       … to the shard channel, by SSUBSCRIBE
//! ```
//!
//! `<proxy>` is 16 hexadecimal digits, drawn anew for each connection that announces. Numbers are decimal; the period is
//! in milliseconds, `<longest>` in bytes: up to this length the proxy searches a message for a context. The name is the
//! last part, and may hold any bytes. A serial number is never used twice by a proxy, so a marker that is seen twice has
//! stood all the time in between.

use std::fmt;
use std::time::Duration;

use redistributed_core::service::SubscriptionKind;

/// What every marker of this version begins with. What cannot be read is ignored, which makes an audience unknown.
pub const PREFIX: &[u8] = b"__redistributed:1:";

/// What markers of any version begin with.
pub const FAMILY: &[u8] = b"__redistributed:";

/// All markers of this version, as a pattern.
pub const ALL: &[u8] = b"__redistributed:1:*";

/// One connection that announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProxyId(pub u64);

/// What can be subscribed to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// By which command.
    pub kind: SubscriptionKind,
    /// A channel's name or a pattern.
    pub text: Box<[u8]>,
}

/// What one marker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marker {
    /// The proxy lives, and has retracted all that ended before the beat before the last.
    Beat {
        /// Grows with each beat.
        number: u64,
        /// Between two beats.
        period: Duration,
        /// Longest message that is searched for a context, in bytes.
        longest: u64,
    },
    /// Connections whose messages are searched.
    Claim {
        /// Of what.
        name: Name,
        /// Never used twice.
        serial: u64,
        /// How many.
        count: u32,
    },
}

impl Name {
    /// A channel, pattern or shard channel.
    pub fn new(kind: SubscriptionKind, text: &[u8]) -> Self {
        Self { kind, text: text.into() }
    }
}

impl fmt::Display for ProxyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Marker {
    /// The marker's channel.
    pub fn write(&self, proxy: ProxyId) -> Vec<u8> {
        let mut marker = PREFIX.to_vec();
        match self {
            Self::Beat { number, period, longest } => {
                marker.extend_from_slice(format!("{proxy}:b:{number}:{}:{longest}", period.as_millis()).as_bytes());
            }
            Self::Claim { name, serial, count } => {
                let kind = match name.kind {
                    SubscriptionKind::Channel => 'c',
                    SubscriptionKind::Pattern => 'p',
                    SubscriptionKind::Shard => 's',
                };
                marker.extend_from_slice(format!("{proxy}:{kind}:{serial}:{count}:").as_bytes());
                marker.extend_from_slice(&name.text);
            }
        }
        marker
    }

    /// Reads a marker's channel; `None` for any other.
    pub fn read(channel: &[u8]) -> Option<(ProxyId, Self)> {
        let mut parts = channel.strip_prefix(PREFIX)?.splitn(5, |&byte| byte == b':');
        let proxy = parts.next().filter(|part| part.len() == 16)?;
        let proxy = ProxyId(u64::from_str_radix(std::str::from_utf8(proxy).ok()?, 16).ok()?);
        let (letter, first, second, last) = (parts.next()?, number(parts.next()?)?, parts.next()?, parts.next()?);
        let kind = match letter {
            b"b" => {
                let period = Duration::from_millis(number(second)?);
                return Some((proxy, Self::Beat { number: first, period, longest: number(last)? }));
            }
            b"c" => SubscriptionKind::Channel,
            b"p" => SubscriptionKind::Pattern,
            b"s" => SubscriptionKind::Shard,
            _ => return None,
        };
        let count = u32::try_from(number(second)?).ok()?;
        Some((proxy, Self::Claim { name: Name::new(kind, last), serial: first, count }))
    }
}

/// Digits only: Rust's own parser takes a sign too.
fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let proxy = ProxyId(0xabc);
        let beat = Marker::Beat { number: 7, period: Duration::from_secs(1), longest: 1_052_672 };
        assert_eq!(beat.write(proxy), b"__redistributed:1:0000000000000abc:b:7:1000:1052672");
        assert_eq!(Marker::read(&beat.write(proxy)), Some((proxy, beat)));
        for (kind, text) in [
            (SubscriptionKind::Channel, &b"orders"[..]),
            (SubscriptionKind::Channel, b""),
            (SubscriptionKind::Pattern, b"a:*:\xff\r\n"),
            (SubscriptionKind::Shard, b"::"),
        ] {
            let claim = Marker::Claim { name: Name::new(kind, text), serial: u64::MAX, count: 3 };
            assert_eq!(Marker::read(&claim.write(proxy)), Some((proxy, claim)));
        }
    }

    #[test]
    fn what_is_no_marker_of_this_version_says_nothing() {
        for channel in [
            &b"orders"[..],
            b"__redistributed:1:",
            b"__redistributed:2:0000000000000abc:c:1:1:ch",
            b"__redistributed:1:abc:c:1:1:ch",
            b"__redistributed:1:+000000000000abc:c:1:1:ch:",
            b"__redistributed:1:0000000000000abc:x:1:1:ch",
            b"__redistributed:1:0000000000000abc:c:1:ch",
            b"__redistributed:1:0000000000000abc:c:+1:1:ch",
            b"__redistributed:1:0000000000000abc:c:1:-1:ch",
            b"__redistributed:1:0000000000000abc:c:1:4294967296:ch",
            b"__redistributed:1:0000000000000abc:b:1:1000:",
            b"__redistributed:1:0000000000000abc:b:1:1000:x",
        ] {
            let read = Marker::read(channel);
            assert!(read.is_none() || channel.ends_with(b":"), "{}: {read:?}", channel.escape_ascii());
        }
    }
}

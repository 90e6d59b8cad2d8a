//! Entries of streams that consumer groups hand over, and their acknowledgements.

use core::fmt;

/// The id of an entry of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId {
    /// The first number, which is a time in milliseconds unless the publisher has chosen another one.
    pub millis: u64,
    /// The second number, which tells entries with the same first number apart.
    pub sequence: u64,
}

impl EntryId {
    /// Reads an id as commands and replies write it, as in `1700000000000-0`. Without the second number Redis takes it for 0.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut numbers = text.splitn(2, |byte| *byte == b'-');
        let millis = number(numbers.next()?)?;
        let sequence = numbers.next().map_or(Some(0), number)?;
        Some(Self { millis, sequence })
    }
}

/// The number that is written in these digits. `None` if there is none, or if it takes more than 64 bits.
fn number(digits: &[u8]) -> Option<u64> {
    // A sign would be read too.
    let is_number = digits.iter().all(u8::is_ascii_digit);
    core::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.sequence)
    }
}

/// An entry that a consumer group has handed over and that waits for its acknowledgement.
#[derive(Clone, Copy, Debug)]
pub struct PendingEntry<'a> {
    /// The number of the database that the stream is in.
    pub database: u32,
    /// The name of the consumer group that has handed the entry over.
    pub group: &'a [u8],
    /// The id of the entry.
    pub id: EntryId,
    /// Whether the group has handed it over before, and a consumer has claimed it.
    pub is_redelivery: bool,
}

/// A request that acknowledges entries of a stream (`XACK`, `XACKDEL`).
#[derive(Clone, Copy, Debug)]
pub struct ObservedAck<'a> {
    /// The number of the database that the command is executed in, unless a `SELECT` before it is refused.
    pub database: u32,
    /// The key of the stream.
    pub key: &'a [u8],
    /// The name of the consumer group that the entries were pending in.
    pub group: &'a [u8],
    /// The entries that are known to be acknowledged.
    pub ids: &'a [EntryId],
    /// Whether the request may acknowledge further entries, of which nothing is known.
    pub is_incomplete: bool,
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn an_id_has_two_numbers_of_which_the_second_may_be_missing() {
        for (text, id) in [
            ("1700000000000-7", Some("1700000000000-7")),
            ("5", Some("5-0")),
            ("0-18446744073709551615", Some("0-18446744073709551615")),
            ("", None),
            ("-", None),
            ("5-", None),
            ("-5", None),
            ("5-6-7", None),
            ("5-x", None),
            ("+5-0", None),
            (">", None),
            ("18446744073709551616-0", None),
        ] {
            assert_eq!(EntryId::parse(text.as_bytes()).map(|id| id.to_string()).as_deref(), id, "{text}");
        }
    }
}

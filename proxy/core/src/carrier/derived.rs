//! The context that follows from what names an item of a queue or a stream, so that who adds it and who takes it find the same one.
//!
//! Nothing can be added to an item of a list, a sorted set or a stream: it is still there when the proxy has gone, and clients remove
//! items by their bytes. But both proxies see what names the item: a stream's entry has an id, and the elements of most job queues
//! hold one. The two ids are the first 24 bytes of an HMAC-SHA-256 (RFC 2104), 16 for the trace and 8 for the span. Its key
//! is the first key of the fleet (`--context-key-file`), or an empty one. It covers these bytes, one after the other:
//!
//! | bytes | content |
//! |---|---|
//! | 16 | `redistributed/i` and a NUL byte |
//! | 1 | `s` for an entry of a stream, `e` for an element, `j` for a job with an id of its queue, `i` for an element that is an id alone, `c` for a message of a channel, `h` for one of a shard channel |
//! | 4 | the number of the database, big-endian; 0 for a message |
//! | 8 | the length of what comes next, big-endian; 0 for an element, because a move takes it to another key |
//! | any | the stream's key, what all keys of the job's queue begin with, without the colon behind it, the key of the id's list, or the channel |
//! | any | the entry's id as Redis writes it, the whole element, the job's id, the id, or the message's payload |
//!
//! **An element that is nothing but an id** has a name too, but no context follows from it, because libraries add it again when
//! they try its job again. The name only says which item it is of which proxies tell each other
//! ([`out_of_band`](super::out_of_band)).

use hmac::Mac as _;

use super::ContextKeys;
use crate::trace::{SpanId, TraceId};

const LABEL: &[u8; 16] = b"redistributed/i\0";

/// The longest element, in bytes, that is read as a whole.
pub(crate) const MAX_ELEMENT_LEN: usize = 64 * 1024;

/// The most hexadecimal digits of an element that is nothing but an id: those of a SHA-256.
const MAX_DIGITS: usize = 64;

/// The fewest hexadecimal digits in a row that are taken for an id. 24 are an ObjectId of MongoDB, which Sidekiq's ids look like.
const MIN_DIGITS: usize = 24;

/// The lengths of the groups of a UUID.
const UUID: [usize; 5] = [8, 4, 4, 4, 12];

/// What names an item both to who adds it and to who takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity<'a> {
    /// An entry of a stream.
    Entry { database: u32, key: &'a [u8], id: &'a [u8] },
    /// An element of a list or a sorted set.
    Element { database: u32, element: &'a [u8] },
    /// A job of Bull, BullMQ or Bee-Queue: they count the jobs of a queue, whose keys all begin with its name.
    Job { database: u32, queue: &'a [u8], id: &'a [u8] },
    /// A message. Where its payload holds no id besides other bytes, its ids only name it to other proxies, because the same
    /// payload may be published more than once.
    Message { channel: &'a [u8], is_sharded: bool, payload: &'a [u8] },
    /// An element of the list of this key that is nothing but an id. It names no single addition.
    Id { database: u32, key: &'a [u8], id: &'a [u8] },
}

impl<'a> Identity<'a> {
    /// The identity of an element, if it holds an id besides other bytes, and is no longer than [`MAX_ELEMENT_LEN`].
    ///
    /// An element that is nothing but an id is often added again when its job is tried again, so it names no single addition.
    pub(crate) fn of_element(database: u32, element: &'a [u8]) -> Option<Self> {
        let is_named = element.len() <= MAX_ELEMENT_LEN && Ids::of(element) == Ids::WithMore;
        is_named.then_some(Self::Element { database, element })
    }

    /// The identity of a message, if its payload is no longer than [`MAX_ELEMENT_LEN`].
    pub(crate) fn of_message(channel: &'a [u8], is_sharded: bool, payload: &'a [u8]) -> Option<Self> {
        (payload.len() <= MAX_ELEMENT_LEN).then_some(Self::Message { channel, is_sharded, payload })
    }

    /// The identity of an element of the list of this key that is nothing but an id: a UUID in its usual form of 36 characters,
    /// or 24 to 64 hexadecimal digits, with no byte before or behind them, such as a quotation mark.
    pub(crate) fn of_id(database: u32, key: &'a [u8], element: &'a [u8]) -> Option<Self> {
        let is_id = element.len() <= MAX_DIGITS && id_in(element) == Some(element.len());
        is_id.then_some(Self::Id { database, key, id: element })
    }

    /// The ids that follow from it.
    pub(crate) fn derive(self, keys: &ContextKeys) -> Option<(TraceId, SpanId)> {
        let mut mac = keys.first()?;
        let (kind, database, key, rest) = match self {
            Self::Entry { database, key, id } => (b"s", database, key, id),
            Self::Element { database, element } => (b"e", database, &[][..], element),
            Self::Job { database, queue, id } => (b"j", database, queue, id),
            Self::Message { channel, is_sharded, payload } => {
                (if is_sharded { b"h" } else { b"c" }, 0, channel, payload)
            }
            Self::Id { database, key, id } => (b"i", database, key, id),
        };
        mac.update(LABEL);
        mac.update(kind);
        mac.update(&database.to_be_bytes());
        mac.update(&u64::try_from(key.len()).unwrap_or(u64::MAX).to_be_bytes());
        mac.update(key);
        mac.update(rest);
        let full = mac.finalize().into_bytes();
        let (trace, rest) = full.split_first_chunk()?;
        Some((TraceId::from_bytes(*trace)?, SpanId::from_bytes(*rest.first_chunk()?)?))
    }
}

/// Whether bytes hold an id, so that two messages with the same bytes are most probably one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    /// There is none.
    None,
    /// There is nothing but an id, at most between two other bytes such as quotation marks.
    Alone,
    /// There are other bytes, too.
    WithMore,
}

impl Ids {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        match id_in(bytes) {
            None => Self::None,
            Some(len) if len + 2 < bytes.len() => Self::WithMore,
            Some(_) => Self::Alone,
        }
    }
}

/// The length of the first id in these bytes: a UUID, or [`MIN_DIGITS`] hexadecimal digits or more, between bytes that are no
/// letters or digits.
fn id_in(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let word = run_of(rest, u8::is_ascii_alphanumeric);
        if word == 0 {
            rest = rest.get(1..)?;
            continue;
        }
        if let Some(len) = uuid_at(rest) {
            return Some(len);
        }
        if word >= MIN_DIGITS && run_of(rest, u8::is_ascii_hexdigit) == word {
            return Some(word);
        }
        rest = rest.get(word..)?;
    }
    None
}

/// The length of the UUID that the bytes begin with, if they do.
fn uuid_at(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for (number, len) in UUID.into_iter().enumerate() {
        if number > 0 {
            bytes.get(at).filter(|byte| **byte == b'-')?;
            at += 1;
        }
        let rest = bytes.get(at..)?;
        (run_of(rest, u8::is_ascii_alphanumeric) == len && run_of(rest, u8::is_ascii_hexdigit) == len).then_some(())?;
        at += len;
    }
    Some(at)
}

/// How many bytes at the beginning are of this kind.
fn run_of(bytes: &[u8], kind: impl Fn(&u8) -> bool) -> usize {
    bytes.iter().position(|byte| !kind(byte)).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;

    fn derived(identity: Identity<'_>, keys: &ContextKeys) -> String {
        let (trace, span) = identity.derive(keys).unwrap();
        format!("{trace} {span}")
    }

    #[test]
    fn the_ids_are_those_that_other_languages_compute() {
        // Python: hmac.new(key, b"redistributed/i\0" + b"s" + (2).to_bytes(4, "big") + (6).to_bytes(8, "big") + b"orders"
        //         + b"1700000000000-0", "sha256").hexdigest()[:48], and the same with b"e", (0).to_bytes(8, "big") and the element, or
        //         with b"j", (9).to_bytes(8, "big"), b"bull:mail" and b"17".
        let entry = Identity::Entry { database: 2, key: b"orders", id: b"1700000000000-0" };
        let element =
            Identity::of_element(0, br#"{"id":"550e8400-e29b-41d4-a716-446655440000","task":"add"}"#).unwrap();
        let (none, key) = (ContextKeys::default(), ContextKeys::new(["fleet", "older"]));
        assert_eq!(derived(entry, &none), "8d15f970d6434d5013314fb4b1cf0fc7 8ddcdea75c788a5d");
        assert_eq!(derived(entry, &key), "38e4efc28ecbed387244187227a69c3a 8af9752b9e9bc384");
        assert_eq!(derived(element, &none), "12030d0cab3914973399985938b2e944 310e7e0a1c69ea99");
        let job = Identity::Job { database: 0, queue: b"bull:mail", id: b"17" };
        assert_eq!(derived(job, &none), "45e7920d9abe236c0bf13158bd3babf2 f37ba35df7584068");
        assert_eq!(derived(job, &key), "975a40732f33272c95eb4950fa96e6cb 1ee50655a38332b1");
        assert_eq!(derived(element, &key), "a0316fe9f4b3a697ca1e9faf8da00c37 4f30f0e97c3cce00");
        // With b"c" or b"h", (6).to_bytes(8, "big"), b"orders" and b"hello".
        let message = |is_sharded| Identity::of_message(b"orders", is_sharded, b"hello").unwrap();
        assert_eq!(derived(message(false), &key), "80b8907a648ca6b86867285866fd0a85 06ab8f9984e6dee9");
        assert_eq!(derived(message(true), &none), "9fb439f2010276422307821ebd786e1d 0c41acc6c72e554c");
        let with_id = br#"{"id":"550e8400-e29b-41d4-a716-446655440000"}"#;
        let with_id = Identity::of_message(b"orders", false, with_id).unwrap();
        assert_eq!(derived(with_id, &key), "f8779c91d18dc40669fbc0a6c261d0f4 6e24890fbf6568f9");
    }

    #[test]
    fn a_message_is_named_up_to_a_length() {
        assert!(Identity::of_message(b"ch", false, &[b'x'; MAX_ELEMENT_LEN]).is_some());
        assert!(Identity::of_message(b"ch", false, &[b'x'; MAX_ELEMENT_LEN + 1]).is_none());
        assert_eq!(Ids::of(b"\"550e8400-e29b-41d4-a716-446655440000\""), Ids::Alone);
        assert_eq!(Ids::of(b"[\"550e8400-e29b-41d4-a716-446655440000\"]"), Ids::WithMore);
        assert_eq!(Ids::of(b"{\"n\":17}"), Ids::None);
    }

    #[test]
    fn each_part_matters_and_where_it_ends() {
        let keys = ContextKeys::default();
        let entry = Identity::Entry { database: 0, key: b"ab", id: b"1-0" };
        for other in [
            Identity::Entry { database: 1, key: b"ab", id: b"1-0" },
            Identity::Entry { database: 0, key: b"a", id: b"b1-0" },
            Identity::Entry { database: 0, key: b"ab", id: b"1-1" },
            Identity::Element { database: 0, element: b"ab1-0" },
            Identity::Job { database: 0, queue: b"ab", id: b"1-0" },
            Identity::Id { database: 0, key: b"ab", id: b"1-0" },
        ] {
            assert_ne!(entry.derive(&keys), other.derive(&keys), "{other:?}");
        }
        assert_eq!(entry.derive(&keys), entry.derive(&keys));
    }

    #[test]
    fn an_element_names_itself_if_it_holds_an_id_and_more() {
        for named in [
            r#"{"id":"550e8400-e29b-41d4-a716-446655440000"}"#,
            r#"{"jid":"b4a577edbccf1d805744efa9","retry":true}"#,
            "job:b4a577edbccf1d805744efa9b4a577ed",
            "\u{80}\u{4}jid 550E8400-E29B-41D4-A716-446655440000",
        ] {
            assert!(Identity::of_element(0, named.as_bytes()).is_some(), "{named}");
        }
        for other in [
            "",
            "550e8400-e29b-41d4-a716-446655440000",
            "\"b4a577edbccf1d805744efa9\"",
            r#"{"id":12345678,"task":"add"}"#,
            r#"{"id":"550e8400-e29b-41d4-a716-44665544000"}"#,
            r#"{"id":"550e8400-e29b-41d4-a716-4466554400001"}"#,
            r#"{"id":"x550e8400-e29b-41d4-a716-446655440000"}"#,
            r#"{"id":"g4a577edbccf1d805744efa9"}"#,
            r#"{"id":"b4a577edbccf1d805744efa"}"#,
        ] {
            assert!(Identity::of_element(0, other.as_bytes()).is_none(), "{other}");
        }
        let long = format!("550e8400-e29b-41d4-a716-446655440000{}", " ".repeat(MAX_ELEMENT_LEN - 36));
        assert!(Identity::of_element(0, long.as_bytes()).is_some());
        assert!(Identity::of_element(0, format!("{long} ").as_bytes()).is_none());
    }

    #[test]
    fn an_element_that_is_nothing_but_an_id_is_told_from_all_others() {
        let digits = "b4a577edbccf1d805744efa9";
        let longest = "0123456789abcdef".repeat(4);
        for id in ["550e8400-e29b-41d4-a716-446655440000", "550E8400-E29B-41D4-A716-446655440000", digits, &longest] {
            let identity = Identity::of_id(2, b"rq:queue:default", id.as_bytes());
            assert_eq!(identity, Some(Identity::Id { database: 2, key: b"rq:queue:default", id: id.as_bytes() }));
            assert_eq!(Identity::of_element(2, id.as_bytes()), None);
        }
        for other in [
            "",
            "7",
            "\"b4a577edbccf1d805744efa9\"",
            "b4a577edbccf1d805744efa",
            "b4a577edbccf1d805744efa9\n",
            "550e8400-e29b-41d4-a716-44665544000",
            "550e8400e29b-41d4-a716-446655440000",
            "{550e8400-e29b-41d4-a716-446655440000}",
            "job:b4a577edbccf1d805744efa9",
            &format!("{longest}0"),
        ] {
            assert_eq!(Identity::of_id(2, b"q", other.as_bytes()), None, "{other}");
        }
    }
}

//! The two fields that a proxy has added to an entry of a stream (`--stream-carrier field`), among the strings of an input.

use redistributed_core::carrier::ContextKeys;
use redistributed_core::carrier::field::{self, AddedFields};

/// The names of the two fields, with their values between and behind them.
const NAMES: [&[u8]; 2] = [b"traceparent", b"tracestate"];

/// The strings of the two fields.
const ADDED: usize = 4;

/// The most fields in front of the two that an entry may have.
const MAX_FIELDS: usize = 128;

/// The fields of an entry to which a proxy has added two.
#[derive(Debug, PartialEq)]
pub(super) struct EntryFields {
    /// How many strings the fields are, with the two.
    pub(super) strings: usize,
    /// The fields in RESP.
    pub(super) bytes: Vec<u8>,
    /// What was added.
    pub(super) added: AddedFields,
}

/// The fields of an entry that `strings` end with, if the last two of them were added by a proxy. In front of them may be
/// anything, such as the entry's id or the beginning of an `XADD`: the checksum of the two fields says where the fields begin.
pub(super) fn ending(strings: &[impl AsRef<[u8]>]) -> Option<EntryFields> {
    let own = strings.len().checked_sub(ADDED)?;
    let [name, _, other, _] = strings.get(own..)? else { return None };
    if [name.as_ref(), other.as_ref()] != NAMES {
        return None;
    }
    let most = (own / 2).min(MAX_FIELDS);
    let first = own - 2 * most;
    let (mut bytes, mut starts) = (Vec::new(), Vec::new());
    for string in strings.get(first..)? {
        starts.push(bytes.len());
        let string = string.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", string.len()).as_bytes());
        bytes.extend_from_slice(string);
        bytes.extend_from_slice(b"\r\n");
    }
    (0..=most).rev().find_map(|fields| {
        let at = 2 * (most - fields);
        let bytes = bytes.get(*starts.get(at)?..)?;
        let added = field::find(bytes, &ContextKeys::default())?;
        Some(EntryFields { strings: 2 * fields + ADDED, bytes: bytes.to_vec(), added })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    /// The entry has the field `id` with the value `7`, as in the tests of `carrier::field`.
    const TRACESTATE: &str = "redistributed=00f067aa0ba902b7-a96d9813";

    #[test]
    fn fields_are_found_behind_whatever_stands_in_front_of_them() {
        let fields = ["id", "7", "traceparent", TRACEPARENT, "tracestate", TRACESTATE];
        let many = vec!["x"; 1000];
        for before in [&[][..], &["1700000000000-0"], &["XADD", "orders", "MAXLEN", "~", "5", "*"], &many] {
            let strings = [before, &fields].concat();
            let found = ending(&strings).expect("a proxy has added them");
            assert_eq!((found.strings, found.added.start, found.added.has_mac), (6, 15, false));
            assert!(found.bytes.starts_with(b"$2\r\nid\r\n$1\r\n7\r\n$11\r\ntraceparent\r\n"));
            for cut in 0..strings.len() {
                assert_eq!(ending(&strings[..cut]), None);
            }
        }
    }

    #[test]
    fn fields_of_the_application_and_those_of_another_entry_are_not_a_proxys() {
        for fields in [
            ["id", "8", "traceparent", TRACEPARENT, "tracestate", TRACESTATE],
            ["id", "7", "traceparent", TRACEPARENT, "tracestate", "vendor=1"],
            ["id", "7", "traceparent", "7", "tracestate", TRACESTATE],
            ["id", "7", "tracestate", TRACESTATE, "traceparent", TRACEPARENT],
        ] {
            assert_eq!(ending(&fields), None, "{fields:?}");
        }
        // Too many fields in front of the two cost no more than what is looked at.
        let strings = [vec!["x"; 100_000], vec!["traceparent", TRACEPARENT, "tracestate", TRACESTATE]].concat();
        assert_eq!(ending(&strings), None);
    }
}

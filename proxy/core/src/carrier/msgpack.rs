//! MessagePack, as far as the arguments of BullMQ's scripts have to be read.
//!
//! Its form is <https://github.com/msgpack/msgpack/blob/master/spec.md>.
//!
//! Nothing recurses: what an array or a map holds is a number of values that are still owed.

use alloc::vec::Vec;

/// What a value begins with.
enum Head {
    /// The value is a text of this length.
    Text(usize),
    /// This number of bytes follows, and they are no text.
    Other(usize),
    /// This number of values follows.
    Array(usize),
    /// This number of pairs follows.
    Map(usize),
}

/// The first value of an array, if it is a text.
pub(crate) fn first_text(array: &[u8]) -> Option<&[u8]> {
    let mut rest = array;
    match head(&mut rest)? {
        Head::Array(1..) => text(&mut rest),
        _ => None,
    }
}

/// The text that is the value of this member of a map.
pub(crate) fn member<'a>(map: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = map;
    let Head::Map(pairs) = head(&mut rest)? else { return None };
    for _ in 0..pairs {
        let mut key = rest;
        pass_over(&mut rest)?;
        if text(&mut key) == Some(name) {
            return text(&mut rest);
        }
        pass_over(&mut rest)?;
    }
    None
}

/// A map to which a member can be added.
#[derive(Debug)]
pub(crate) struct Map<'a> {
    bytes: &'a [u8],
    /// Length of its header, in bytes: 1, 3 or 5.
    header_len: usize,
    names: Vec<&'a [u8]>,
}

/// Most members of a [`Map`].
const MAX_MEMBERS: usize = 64;

impl<'a> Map<'a> {
    /// Reads a map. `None` if something follows it, if a name is no text or is there twice, or if it has more than 64 members.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        let Head::Map(pairs) = head(&mut rest)? else { return None };
        let header_len = bytes.len() - rest.len();
        let mut names = Vec::new();
        for _ in 0..Some(pairs).filter(|pairs| *pairs <= MAX_MEMBERS)? {
            let name = text(&mut rest).filter(|name| !names.contains(name))?;
            names.push(name);
            pass_over(&mut rest)?;
        }
        rest.is_empty().then_some(Self { bytes, header_len, names })
    }

    /// Whether a member has this name.
    pub(crate) fn has(&self, name: &[u8]) -> bool {
        self.names.contains(&name)
    }

    /// The map with one member more, at its end. Both are texts of less than 64 KiB. The header stays as long as it is, if the
    /// number of members has place in it.
    pub(crate) fn with(&self, name: &[u8], value: &[u8]) -> Vec<u8> {
        // There are few members.
        let count = u8::try_from(self.names.len()).unwrap_or(u8::MAX).saturating_add(1);
        let mut map = match self.header_len {
            1 if count <= 0x0f => Vec::from([0x80 | count]),
            1 | 3 => Vec::from([0xde, 0, count]),
            _ => Vec::from([0xdf, 0, 0, 0, count]),
        };
        map.extend_from_slice(self.bytes.get(self.header_len..).unwrap_or_default());
        write_text(name, &mut map);
        write_text(value, &mut map);
        map
    }
}

/// Appends a text of less than 64 KiB.
fn write_text(text: &[u8], out: &mut Vec<u8>) {
    let [high, low] = u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes();
    match (high, low) {
        (0, 0..=0x1f) => out.push(0xa0 | low),
        (0, _) => out.extend_from_slice(&[0xd9, low]),
        _ => out.extend_from_slice(&[0xda, high, low]),
    }
    out.extend_from_slice(text);
}

/// Takes the next value if it is a text, and returns its bytes.
fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let Head::Text(len) = head(rest)? else { return None };
    let (text, behind) = rest.split_at_checked(len)?;
    *rest = behind;
    Some(text)
}

/// Passes over a value and all that is in it.
fn pass_over(rest: &mut &[u8]) -> Option<()> {
    let mut owed = 1_usize;
    while owed > 0 {
        owed -= 1;
        match head(rest)? {
            Head::Text(len) | Head::Other(len) => *rest = rest.get(len..)?,
            Head::Array(values) => owed = owed.checked_add(values)?,
            Head::Map(pairs) => owed = owed.checked_add(pairs.checked_mul(2)?)?,
        }
    }
    Some(())
}

fn head(rest: &mut &[u8]) -> Option<Head> {
    let (kind, behind) = rest.split_first()?;
    *rest = behind;
    let low = |bits: u8| usize::from(kind & bits);
    Some(match kind {
        0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => Head::Other(0),
        0x80..=0x8f => Head::Map(low(0x0f)),
        0x90..=0x9f => Head::Array(low(0x0f)),
        0xa0..=0xbf => Head::Text(low(0x1f)),
        0xc4..=0xc6 => Head::Other(number(rest, 1 << (kind - 0xc4))?),
        // An extension has its type behind its length.
        0xc7..=0xc9 => Head::Other(number(rest, 1 << (kind - 0xc7))?.checked_add(1)?),
        0xca => Head::Other(4),
        0xcb => Head::Other(8),
        0xcc..=0xcf => Head::Other(1 << (kind - 0xcc)),
        0xd0..=0xd3 => Head::Other(1 << (kind - 0xd0)),
        0xd4..=0xd8 => Head::Other(1 + (1 << (kind - 0xd4))),
        0xd9..=0xdb => Head::Text(number(rest, 1 << (kind - 0xd9))?),
        0xdc | 0xdd => Head::Array(number(rest, 2 << (kind - 0xdc))?),
        0xde | 0xdf => Head::Map(number(rest, 2 << (kind - 0xde))?),
        0xc1 => return None,
    })
}

/// Takes a number of this many bytes, big-endian.
fn number(rest: &mut &[u8], len: usize) -> Option<usize> {
    let (digits, behind) = rest.split_at_checked(len)?;
    *rest = behind;
    Some(digits.iter().fold(0, |number, digit| number << 8 | usize::from(*digit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `msgpack.packb(["bull:mail:", "", "name", 1700000000000, None])` of Python.
    const ARRAY: &[u8] = b"\x95\xaabull:mail:\xa0\xa4name\xcf\0\0\x01\x8b\xcf\xe5h\0\xc0";
    /// `msgpack.packb({"attempts": 0, "backoff": {"type": "fixed", "delay": [1.5, -70000]}, "tm": "{}", "x": b"y"})`.
    const MAP: &[u8] = b"\x84\xa8attempts\0\xa7backoff\x82\xa4type\xa5fixed\xa5delay\x92\xcb?\xf8\0\0\0\0\0\0\xd2\
          \xff\xfe\xee\x90\xa2tm\xa2{}\xa1x\xc4\x01y";

    #[test]
    fn the_first_text_and_the_member_are_found_among_values_of_other_kinds() {
        assert_eq!(first_text(ARRAY), Some(&b"bull:mail:"[..]));
        assert_eq!(first_text(b"\xdc\0\x01\xd9\x01x"), Some(&b"x"[..]));
        assert_eq!(first_text(b"\xdd\0\0\0\x01\xda\0\x01x"), Some(&b"x"[..]));
        for other in [&b""[..], b"\x90", b"\x91\x01", b"\xa1x", b"\x81\xa1x\x01", b"{\"a\":1}", b"\xc1"] {
            assert_eq!(first_text(other), None, "{other:?}");
        }
        assert_eq!(member(MAP, b"tm"), Some(&b"{}"[..]));
        assert_eq!(member(MAP, b"attempts"), None, "it is no text");
        assert_eq!(member(MAP, b"delay"), None, "it is a member of another map");
        assert_eq!(member(b"\xde\0\x01\xa2tm\xdb\0\0\0\x01y", b"tm"), Some(&b"y"[..]));
        assert_eq!(member(b"\xdf\0\0\0\x01\xa2tm\xa1y", b"tm"), Some(&b"y"[..]));
    }

    #[test]
    fn a_member_is_added_behind_the_others() {
        let added = |map: &[u8]| Map::read(map).map(|map| map.with(b"tm", b"{}"));
        let (end, old_end) = (b"\xa2tm\xa2{}", b"\xa1x\xc4\x01y");
        assert_eq!(added(b"\x80"), Some([&b"\x81"[..], end].concat()));
        assert_eq!(added(b"\xde\0\x01\xa8attempts\0"), Some([&b"\xde\0\x02\xa8attempts\0"[..], end].concat()));
        assert_eq!(added(b"\xdf\0\0\0\x01\xa1x\xc0"), Some([&b"\xdf\0\0\0\x02\xa1x\xc0"[..], end].concat()));
        assert!(MAP.ends_with(old_end));
        assert_eq!(Map::read(MAP).map(|map| (map.has(b"tm"), map.has(b"type"))), Some((true, false)));
        let of = |count: u8, head: &[u8]| {
            (0..count).fold(head.to_vec(), |map, at| [&map[..], &[0xa1, b'A' + at, 0xc0]].concat())
        };
        for (count, head, new_head) in [
            (14, &b"\x8e"[..], &b"\x8f"[..]),
            (15, b"\x8f", b"\xde\0\x10"),
            (15, b"\xde\0\x0f", b"\xde\0\x10"),
            (63, b"\xde\0\x3f", b"\xde\0\x40"),
        ] {
            assert_eq!(added(&of(count, head)), Some([of(count, new_head), end.to_vec()].concat()), "{count}");
        }
        let text = |len: usize| Map::read(b"\x80").unwrap().with(b"t", "x".repeat(len).as_bytes());
        for (len, head) in [(31, &b"\xbf"[..]), (32, b"\xd9\x20"), (255, b"\xd9\xff"), (256, b"\xda\x01\0")] {
            assert!(text(len).starts_with(&[&b"\x81\xa1t"[..], head, b"x"].concat()), "{len}");
            assert_eq!(member(&text(len), b"t"), Some("x".repeat(len).as_bytes()));
        }
    }

    #[test]
    fn nothing_is_added_to_what_may_be_read_in_two_ways() {
        for cut in 0..MAP.len() {
            assert!(Map::read(&MAP[..cut]).is_none(), "{cut}");
        }
        let behind = [MAP, b"\0"].concat();
        let many = (0..65).fold(b"\xde\0\x41".to_vec(), |map, at| [&map[..], &[0xa1, at, 0xc0]].concat());
        for map in [&behind[..], &many, b"\x82\xa1x\0\xa1x\0", b"\x81\x01\0", b"\x81\xc4\x01x\0", b"\x90", b"{}", b""] {
            assert!(Map::read(map).is_none(), "{map:?}");
        }
    }

    #[test]
    fn values_of_each_kind_are_passed_over() {
        let kinds: [&[u8]; 23] = [
            b"\x7f",
            b"\xff",
            b"\xc2",
            b"\xc4\x02ab",
            b"\xc5\0\x01a",
            b"\xc6\0\0\0\x01a",
            b"\xc7\x01\x05a",
            b"\xc8\0\x01\x05a",
            b"\xc9\0\0\0\x01\x05a",
            b"\xca1234",
            b"\xcb12345678",
            b"\xcc1",
            b"\xcd12",
            b"\xce1234",
            b"\xd01",
            b"\xd112",
            b"\xd21234",
            b"\xd312345678",
            b"\xd4\x051",
            b"\xd5\x0512",
            b"\xd6\x051234",
            b"\xd7\x0512345678",
            b"\xd8\x051234567812345678",
        ];
        for kind in kinds {
            let map = [&b"\x82\xa1k"[..], kind, b"\xa2tm\xa1y"].concat();
            assert_eq!(member(&map, b"tm"), Some(&b"y"[..]), "{kind:?}");
        }
    }

    #[test]
    fn what_is_cut_off_or_lies_about_its_length_has_nothing_and_takes_no_memory() {
        for cut in 0..MAP.len() {
            assert!(member(&MAP[..cut], b"tm").is_none_or(|text| text == b"{}"), "{cut}");
        }
        assert_eq!(member(&[0xdf, 0xff, 0xff, 0xff, 0xff], b"tm"), None);
        let mut deep: Vec<u8> = b"\x81\xa1k".to_vec();
        deep.resize(100_000, 0x91);
        assert_eq!(member(&deep, b"tm"), None);
        assert_eq!(member(&[&b"\x82\xa1k"[..], &b"\xdd\xff\xff\xff\xff".repeat(1000)].concat(), b"tm"), None);
    }
}

//! What a request says of the items that its reply will hand over.

use super::Shape;
use crate::command_keys::first_key;
use crate::resp::Values;

/// The most words of a request that stand before its streams.
const MAX_OPTIONS: usize = 16;

/// The most keys and ids of streams that are looked at.
const MAX_STREAMS: usize = 64;

/// A request whose reply may hand something over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Read<'a> {
    /// Where the items stand in the reply.
    pub(crate) shape: Shape,
    /// The first key that is read.
    pub(crate) key: &'a [u8],
    /// The consumer group (`XREADGROUP`).
    pub(crate) group: Option<&'a [u8]>,
    /// Whether the reply hands over what nobody else has got for certain, or waits for it. Otherwise the command may look
    /// something up as well.
    pub(crate) takes_work: bool,
}

impl<'a> Read<'a> {
    /// Reads a request, whose reply has this shape. `blocks` says that it may wait. `None` if it hands nothing over, as an
    /// `XREADGROUP` of what the consumer has got before, or if it is cut off.
    pub(crate) fn of_request(shape: Shape, blocks: bool, request: &'a [u8]) -> Option<Self> {
        if shape == Shape::Entries {
            return Self::of_streams(request);
        }
        Some(Self { shape, key: first_key(request)?, group: None, takes_work: blocks })
    }

    fn of_streams(request: &'a [u8]) -> Option<Self> {
        let mut words = Values::new(request);
        let is_of_group = words.next()?.len() == b"XREADGROUP".len();
        let (mut group, mut waits) = (None, false);
        for _ in 0..MAX_OPTIONS {
            let word = words.next()?;
            if word.eq_ignore_ascii_case(b"STREAMS") {
                break;
            } else if word.eq_ignore_ascii_case(b"BLOCK") {
                waits = true;
                words.next()?;
            } else if word.eq_ignore_ascii_case(b"COUNT") {
                words.next()?;
            } else if word.eq_ignore_ascii_case(b"GROUP") {
                group = Some(words.next()?);
                words.next()?;
            }
        }
        let streams = words.clone().take(MAX_STREAMS + 1).count();
        if streams == 0 || streams > MAX_STREAMS || !streams.is_multiple_of(2) {
            return None;
        }
        let key = words.clone().next()?;
        // What a consumer has got before is not handed over again.
        if is_of_group && words.skip(streams / 2).any(|id| id != b">") {
            return None;
        }
        Some(Self { shape: Shape::Entries, key, group, takes_work: waits || is_of_group })
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::{String, ToString};

    use super::*;

    fn of(shape: Shape, blocks: bool, words: &str) -> Option<String> {
        let bulks: String = words.split(' ').map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
        let request = format!("*{}\r\n{bulks}", words.split(' ').count());
        let read = Read::of_request(shape, blocks, request.as_bytes())?;
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        Some(format!("{} {} {}", text(read.key), read.group.map_or("-".into(), text), read.takes_work))
    }

    #[test]
    fn a_request_says_where_it_takes_work_from() {
        for (shape, blocks, words, expected) in [
            (Shape::KeyAndValue, true, "BLPOP q other 5", Some("q - true")),
            (Shape::Values, false, "LPOP q", Some("q - false")),
            (Shape::Values, true, "BLMOVE q other LEFT RIGHT 0", Some("q - true")),
            (Shape::KeyAndValues, true, "BLMPOP 0 2 q other LEFT", Some("q - true")),
            (Shape::KeyAndMembers, false, "ZMPOP 1 q MIN", Some("q - false")),
            (Shape::Entries, true, "XREADGROUP GROUP g c COUNT 10 STREAMS s >", Some("s g true")),
            (Shape::Entries, true, "xreadgroup group g block block 5 noack streams s t > >", Some("s g true")),
            (Shape::Entries, true, "XREADGROUP GROUP g c STREAMS s 0", None),
            (Shape::Entries, true, "XREADGROUP GROUP g c STREAMS s t > 0-0", None),
            (Shape::Entries, true, "XREAD BLOCK 5 STREAMS s $", Some("s - true")),
            (Shape::Entries, true, "XREAD COUNT 5 STREAMS s 0", Some("s - false")),
            (Shape::Entries, true, "XREAD COUNT 5", None),
            (Shape::Entries, true, "XREAD STREAMS s t 0", None),
            (Shape::Values, false, "LPOP", None),
        ] {
            assert_eq!(of(shape, blocks, words).as_deref(), expected, "{words}");
        }
    }
}

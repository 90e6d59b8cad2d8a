//! What a request says of the items that its reply will hand over.

use alloc::borrow::Cow;

use super::scripts::queue_of_move;
use super::{Script, Shape};
use crate::command_keys::first_key;
use crate::resp::Values;

/// The most words of a request that stand before its streams.
const MAX_OPTIONS: usize = 16;

/// The most keys and ids of streams that are looked at.
const MAX_STREAMS: usize = 64;

/// A request whose reply may hand something over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Read<'a> {
    /// Where the items stand in the reply.
    pub(crate) shape: Shape,
    /// The first key that is read. Of a queue whose jobs have ids it is what all of its keys begin with, without a colon behind it.
    pub(crate) key: Cow<'a, [u8]>,
    /// The list that the item is moved to (`LMOVE`, `RPOPLPUSH` and those that wait).
    pub(crate) moves_to: Option<&'a [u8]>,
    /// Whether the key is the name of a queue as both of its ends know it, which need not be the first key of the request.
    pub(crate) names_queue: bool,
    /// Whether what the reply hands over are jobs with ids of that queue, or these ids.
    pub(crate) has_jobs: bool,
    /// Whether the request ends the work on another job, to which it belongs, before it takes this one.
    pub(crate) finishes: bool,
    /// The consumer group that gets it (`XREADGROUP`, `XCLAIM`, `XAUTOCLAIM`).
    pub(crate) group: Option<Group<'a>>,
    /// Whether the reply hands over what nobody else has got for certain, or waits for it. Otherwise the command may look
    /// something up as well.
    pub(crate) takes_work: bool,
}

/// Who gets entries of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group<'a> {
    /// The name of the group.
    pub(crate) name: &'a [u8],
    /// The name of the consumer within it.
    pub(crate) consumer: &'a [u8],
    /// Whether new entries count as acknowledged as soon as they are read (`NOACK`).
    pub(crate) needs_no_ack: bool,
}

impl<'a> Read<'a> {
    /// Reads a request, whose reply has this shape. `blocks` says that it may wait. `None` if it hands nothing over, as an
    /// `XREADGROUP` of what the consumer has got before and a claim of mere ids, or if it is cut off.
    pub(crate) fn of_request(shape: Shape, blocks: bool, request: &'a [u8]) -> Option<Self> {
        match shape {
            Shape::Entries => return Self::of_streams(request),
            Shape::Claimed | Shape::AutoClaimed => return Self::of_claim(shape, request),
            Shape::Script => return Self::of_script(request),
            _ => {}
        }
        let key = first_key(request)?;
        let moves_to = if shape == Shape::Values { destination(request) } else { None };
        let queue = moves_to.and_then(|to| queue_of_move(key, to));
        let read = Self::of_key(shape, Cow::Borrowed(queue.unwrap_or(key)), blocks);
        Some(Self { has_jobs: queue.is_some(), names_queue: queue.is_some(), moves_to, ..read })
    }

    fn of_key(shape: Shape, key: Cow<'a, [u8]>, takes_work: bool) -> Self {
        Self {
            shape,
            key,
            moves_to: None,
            names_queue: false,
            has_jobs: false,
            finishes: false,
            group: None,
            takes_work,
        }
    }

    fn of_script(request: &'a [u8]) -> Option<Self> {
        let Script::Takes { queue, shape, finishes } = Script::of_request(request)? else { return None };
        Some(Self { has_jobs: shape == Shape::Job, names_queue: true, finishes, ..Self::of_key(shape, queue, true) })
    }

    fn of_streams(request: &'a [u8]) -> Option<Self> {
        let mut words = Values::new(request);
        let is_of_group = words.next()?.len() == b"XREADGROUP".len();
        let StreamOptions { group, waits } = StreamOptions::take(&mut words)?;
        let streams = words.clone().take(MAX_STREAMS + 1).count();
        if streams == 0 || streams > MAX_STREAMS || !streams.is_multiple_of(2) {
            return None;
        }
        let key = words.clone().next()?;
        // What a consumer has got before is not handed over again.
        if is_of_group && words.skip(streams / 2).any(|id| id != b">") {
            return None;
        }
        Some(Self { group, ..Self::of_key(Shape::Entries, Cow::Borrowed(key), waits || is_of_group) })
    }

    fn of_claim(shape: Shape, request: &'a [u8]) -> Option<Self> {
        let mut words = Values::new(request).skip(1);
        let (key, name, consumer) = (words.next()?, words.next()?, words.next()?);
        if words.any(|word| word.eq_ignore_ascii_case(b"JUSTID")) {
            return None;
        }
        let group = Group { name, consumer, needs_no_ack: false };
        Some(Self { group: Some(group), ..Self::of_key(shape, Cow::Borrowed(key), true) })
    }
}

/// What stands before the streams of a request.
struct StreamOptions<'a> {
    group: Option<Group<'a>>,
    /// Whether the request waits for entries.
    waits: bool,
}

impl<'a> StreamOptions<'a> {
    /// Takes the words up to the first key.
    fn take(words: &mut Values<'a>) -> Option<Self> {
        let (mut group, mut waits, mut needs_no_ack) = (None, false, false);
        for _ in 0..MAX_OPTIONS {
            let word = words.next()?;
            if word.eq_ignore_ascii_case(b"STREAMS") {
                let group = group.map(|(name, consumer)| Group { name, consumer, needs_no_ack });
                return Some(Self { group, waits });
            } else if word.eq_ignore_ascii_case(b"BLOCK") {
                waits = true;
                words.next()?;
            } else if word.eq_ignore_ascii_case(b"COUNT") {
                words.next()?;
            } else if word.eq_ignore_ascii_case(b"GROUP") {
                group = Some((words.next()?, words.next()?));
            } else if word.eq_ignore_ascii_case(b"NOACK") {
                needs_no_ack = true;
            }
        }
        None
    }
}

/// The keys that a read may hand something over from, [`MAX_STREAMS`] at most. Of a read that says how many keys it names, the
/// first one counts for all.
pub(crate) fn keys(shape: Shape, request: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut words = Values::new(request);
    words.next();
    let taken = match shape {
        Shape::Entries => match StreamOptions::take(&mut words) {
            Some(_) => words.clone().take(2 * MAX_STREAMS).count() / 2,
            None => 0,
        },
        // The last word says how long it waits.
        Shape::KeyAndValue | Shape::KeyAndMember => words.clone().take(MAX_STREAMS + 1).count().saturating_sub(1),
        _ => 0,
    };
    let only = (taken == 0).then(|| first_key(request)).flatten();
    words.take(taken).chain(only)
}

/// The list that a request moves an item to, if it moves one: the key behind the first.
fn destination(request: &[u8]) -> Option<&[u8]> {
    let mut words = Values::new(request);
    let (_, last) = words.next()?.split_last_chunk::<4>()?;
    let moves = last.eq_ignore_ascii_case(b"MOVE") || last.eq_ignore_ascii_case(b"PUSH");
    if moves { words.nth(1) } else { None }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;

    use super::*;

    fn of(shape: Shape, blocks: bool, words: &str) -> Option<String> {
        let bulks: String = words.split(' ').map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
        let request = format!("*{}\r\n{bulks}", words.split(' ').count());
        let read = Read::of_request(shape, blocks, request.as_bytes())?;
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let group = read.group.map(|group| {
            let ack = if group.needs_no_ack { "!" } else { "" };
            format!("{}/{}{ack}", text(group.name), text(group.consumer))
        });
        Some(format!("{} {} {}", text(&read.key), group.unwrap_or("-".into()), read.takes_work))
    }

    #[test]
    fn a_read_names_all_keys_that_it_may_hand_something_over_from() {
        for (shape, words, expected) in [
            (Shape::KeyAndValue, "BLPOP q other 5", "q other"),
            (Shape::KeyAndMember, "BZPOPMIN z 0", "z"),
            (Shape::Values, "LPOP q 10", "q"),
            (Shape::Values, "BLMOVE q other LEFT RIGHT 0", "q"),
            (Shape::KeyAndValues, "BLMPOP 0 2 q other LEFT", "q"),
            (Shape::Entries, "XREADGROUP GROUP g streams COUNT 10 streams s t > >", "s t"),
            (Shape::Entries, "XREAD BLOCK 5 STREAMS s $", "s"),
            (Shape::Claimed, "XCLAIM s g c 60000 1-0", "s"),
            (Shape::Values, "LPOP", ""),
        ] {
            let bulks: String = words.split(' ').map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
            let request = format!("*{}\r\n{bulks}", words.split(' ').count());
            let names: Vec<_> = keys(shape, request.as_bytes()).map(|key| key.escape_ascii().to_string()).collect();
            assert_eq!(names.join(" "), expected, "{words}");
        }
    }

    #[test]
    fn a_request_says_where_it_takes_work_from() {
        for (shape, blocks, words, expected) in [
            (Shape::KeyAndValue, true, "BLPOP q other 5", Some("q - true")),
            (Shape::Values, false, "LPOP q", Some("q - false")),
            (Shape::Values, true, "BLMOVE q other LEFT RIGHT 0", Some("q - true")),
            (Shape::Values, true, "brpoplpush bull:mail:wait bull:mail:active 5", Some("bull:mail - true")),
            (Shape::Values, false, "RPOPLPUSH bq:mail:waiting bq:mail:active", Some("bq:mail - false")),
            (Shape::Values, true, "BRPOPLPUSH bull:mail:wait bull:other:active 5", Some("bull:mail:wait - true")),
            (Shape::Values, false, "LPOP bull:mail:wait bull:mail:active", Some("bull:mail:wait - false")),
            (Shape::KeyAndValues, true, "BLMPOP 0 2 q other LEFT", Some("q - true")),
            (Shape::KeyAndMembers, false, "ZMPOP 1 q MIN", Some("q - false")),
            (Shape::Entries, true, "XREADGROUP GROUP g c COUNT 10 STREAMS s >", Some("s g/c true")),
            (Shape::Entries, true, "xreadgroup group g block block 5 noack streams s t > >", Some("s g/block! true")),
            (Shape::Entries, true, "XREADGROUP GROUP g c STREAMS s 0", None),
            (Shape::Entries, true, "XREADGROUP GROUP g c STREAMS s t > 0-0", None),
            (Shape::Entries, true, "XREADGROUP GROUP g c CLAIM 60000 STREAMS s >", Some("s g/c true")),
            (Shape::Claimed, false, "XCLAIM s g c 60000 1-0 2-0 RETRYCOUNT 1", Some("s g/c true")),
            (Shape::Claimed, false, "XCLAIM s g c 60000 1-0 justid", None),
            (Shape::Claimed, false, "XCLAIM s g", None),
            (Shape::AutoClaimed, false, "XAUTOCLAIM s g c 60000 0-0 COUNT 9", Some("s g/c true")),
            (Shape::AutoClaimed, false, "XAUTOCLAIM s g c 60000 0-0 COUNT 9 JUSTID", None),
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

//! What a request adds to a list, a sorted set or a stream.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::{Item, Script};
use crate::carrier::envelope::options::CONTEXT;
use crate::resp::complete::decimal;
use crate::resp::{Values, take_line};
use crate::service::{Bulks, MAX_VALUES};

/// Most items of one request that are looked at one by one.
pub(crate) const MAX_PUSHED: usize = 64;

/// How a command has the items that it adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushes {
    /// An entry of a stream, whose id is in the reply: `XADD`.
    Entry,
    /// All arguments behind the key: `LPUSH`.
    Elements,
    /// The last argument: `LINSERT`.
    Inserted,
    /// Behind the options, each behind its score: `ZADD`.
    Members,
    /// What the script says, if it is that of a well-known library: `EVAL` and `EVALSHA`.
    Script,
}

/// What an id names that comes with the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// The id is that of an entry of a stream.
    Entry,
    /// The id is that of a job of the queue.
    Job,
}

/// The items that a request adds.
#[derive(Debug)]
pub(crate) struct Push<'a> {
    /// The key that they are added to.
    pub(crate) key: Cow<'a, [u8]>,
    /// The elements, [`MAX_PUSHED`] at most. Of an entry and of a job there is none.
    pub(crate) elements: Vec<&'a [u8]>,
    /// What the id in the reply names, if there is one.
    pub(crate) awaits: Option<Awaited>,
    /// The names of an entry's fields, as many as there are `values`, and their values. A job has its data and its context.
    names: Bulks<'a, MAX_VALUES>,
    values: Bulks<'a, MAX_VALUES>,
    /// The number of items.
    pub(crate) count: u64,
    /// The length of all items in bytes, with the names of an entry's fields.
    pub(crate) size: u64,
}

impl<'a> Push<'a> {
    /// Reads a request in RESP. `None` if it has no items, or if it is cut off.
    pub(crate) fn of_request(pushes: Pushes, request: &'a [u8]) -> Option<Self> {
        if pushes == Pushes::Script {
            return Self::of_script(Script::of_request(request)?);
        }
        let mut header = request;
        let (_, count) = take_line(&mut header)?;
        let count = usize::try_from(decimal(count)?).ok()?;
        let mut words = Values::new(request);
        words.next()?;
        let key = words.next()?;
        let mut push = Self::begin(Cow::Borrowed(key));
        let mut seen = 2;
        match pushes {
            Pushes::Entry => {
                push.count = 1;
                push.awaits = Some(Awaited::Entry);
                seen += id_and_options(&mut words)?.words;
                push.names = Bulks::new(words.clone().step_by(2));
                push.values = Bulks::new(words.clone().skip(1).step_by(2));
                let fields = words.inspect(|word| push.size = push.size.saturating_add(len_of(word)));
                seen += fields.count();
                return (seen == count).then_some(push);
            }
            Pushes::Elements | Pushes::Script => {}
            Pushes::Inserted => {
                words.nth(1)?;
                seen += 2;
            }
            Pushes::Members => {
                while words.clone().next().is_some_and(is_option_of_zadd) {
                    words.next();
                    seen += 1;
                }
            }
        }
        while let Some(word) = words.next() {
            let element = if pushes == Pushes::Members { words.next()? } else { word };
            seen += if pushes == Pushes::Members { 2 } else { 1 };
            push.count += 1;
            push.size = push.size.saturating_add(len_of(element));
            if push.elements.len() < MAX_PUSHED {
                push.elements.push(element);
            }
        }
        (push.count > 0 && seen == count).then_some(push)
    }

    fn begin(key: Cow<'a, [u8]>) -> Self {
        let (names, values) = (Bulks::new([]), Bulks::new([]));
        Self { key, elements: Vec::new(), awaits: None, names, values, count: 0, size: 0 }
    }

    fn of_script(script: Script<'a>) -> Option<Self> {
        match script {
            Script::AddsJob { queue, data, context, .. } => {
                let names = Bulks::new([&b"data"[..], CONTEXT.as_bytes()]);
                let values = Bulks::new([Some(data), context].into_iter().flatten());
                let (awaits, size) = (Some(Awaited::Job), len_of(data));
                Some(Self { awaits, names, values, count: 1, size, ..Self::begin(Cow::Borrowed(queue)) })
            }
            Script::AddsElement { queue, element } => {
                let (elements, size) = (Vec::from([element]), len_of(element));
                Some(Self { elements, count: 1, size, ..Self::begin(queue) })
            }
            Script::Takes { .. } | Script::Publishes { .. } => None,
        }
    }

    /// The item, if there is only one. An entry and a job have no id yet.
    pub(crate) fn only(&self) -> Option<Item<'a>> {
        let no_id = |kind| (self.awaits == Some(kind)).then_some(&[][..]);
        let (id, job) = (no_id(Awaited::Entry), no_id(Awaited::Job));
        let (names, values) = match (self.count, self.elements.as_slice()) {
            (1, []) => (self.names, self.values),
            (1, [element]) => (Bulks::new([]), Bulks::new([*element])),
            _ => return None,
        };
        Some(Item { id, job, names, values, size: self.size, ..Item::begin(None, None) })
    }
}

fn len_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// What stands between the key and the fields of an `XADD`.
pub(crate) struct IdAndOptions<'a> {
    /// How many words they are.
    pub(crate) words: usize,
    pub(crate) id: &'a [u8],
    /// Whether Redis tells the entry from those that were added before by its fields (`IDMPAUTO`, Redis 8.6).
    pub(crate) is_told_by_fields: bool,
}

/// Passes over the options of `XADD` and the id, by the rules of Redis's `streamParseAddOrTrimArgsOrReply`.
pub(crate) fn id_and_options<'a>(words: &mut impl Iterator<Item = &'a [u8]>) -> Option<IdAndOptions<'a>> {
    let (mut passed, mut is_told_by_fields) = (0, false);
    loop {
        let word = words.next()?;
        passed += 1;
        let is = |option: &[u8]| word.eq_ignore_ascii_case(option);
        if is(b"MAXLEN") || is(b"MINID") {
            let threshold = words.next()?;
            passed += 1;
            if threshold == b"=" || threshold == b"~" {
                words.next()?;
                passed += 1;
            }
        } else if is(b"LIMIT") || is(b"IDMPAUTO") {
            is_told_by_fields |= is(b"IDMPAUTO");
            words.next()?;
            passed += 1;
        } else if is(b"IDMP") {
            words.nth(1)?;
            passed += 2;
        } else if !(is(b"NOMKSTREAM") || is(b"KEEPREF") || is(b"DELREF") || is(b"ACKED")) {
            return Some(IdAndOptions { words: passed, id: word, is_told_by_fields });
        }
    }
}

fn is_option_of_zadd(word: &[u8]) -> bool {
    [&b"NX"[..], b"XX", b"GT", b"LT", b"CH", b"INCR"].iter().any(|option| word.eq_ignore_ascii_case(option))
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::{String, ToString};

    use super::*;

    fn request(words: &[&str]) -> String {
        let bulks: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
        format!("*{}\r\n{bulks}", words.len())
    }

    fn pushed(pushes: Pushes, words: &str) -> Option<String> {
        let words: Vec<_> = words.split(' ').collect();
        let request = request(&words);
        let push = Push::of_request(pushes, request.as_bytes())?;
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let elements: Vec<_> = push.elements.iter().map(|element| text(element)).collect();
        Some(format!("{} [{}] {} {}", text(&push.key), elements.join(" "), push.count, push.size))
    }

    #[test]
    fn the_items_are_found_behind_the_options() {
        for (pushes, words, expected) in [
            (Pushes::Elements, "LPUSH q a bc", Some("q [a bc] 2 3")),
            (Pushes::Elements, "rpushx q a", Some("q [a] 1 1")),
            (Pushes::Elements, "LPUSH q", None),
            (Pushes::Inserted, "LINSERT q BEFORE pivot abc", Some("q [abc] 1 3")),
            (Pushes::Inserted, "LINSERT q BEFORE pivot", None),
            (Pushes::Members, "ZADD q 1 a 2.5 bc", Some("q [a bc] 2 3")),
            (Pushes::Members, "ZADD q nx CH 1 a", Some("q [a] 1 1")),
            (Pushes::Members, "ZADD q 1 a 2", None),
            (Pushes::Members, "ZADD q XX", None),
            (Pushes::Entry, "XADD s * f v", Some("s [] 1 2")),
            (Pushes::Entry, "XADD s 1-1 f v g vw", Some("s [] 1 5")),
            (Pushes::Entry, "XADD s NOMKSTREAM MAXLEN ~ 1000 LIMIT 10 * f v", Some("s [] 1 2")),
            (Pushes::Entry, "XADD s minid 5-0 DELREF * f v", Some("s [] 1 2")),
            (Pushes::Entry, "XADD s IDMP producer 7 MAXLEN = 5 * f v", Some("s [] 1 2")),
            (Pushes::Entry, "XADD s KEEPREF idmpauto producer * f v", Some("s [] 1 2")),
            (Pushes::Entry, "XADD s MAXLEN", None),
        ] {
            assert_eq!(pushed(pushes, words).as_deref(), expected, "{words}");
        }
    }

    #[test]
    fn a_request_that_is_cut_off_adds_nothing_that_is_known() {
        for (pushes, words) in [
            (Pushes::Elements, &["LPUSH", "q", "element", "other"][..]),
            (Pushes::Entry, &["XADD", "s", "*", "field", "value"]),
            (Pushes::Members, &["ZADD", "q", "1", "member", "2", "other"]),
        ] {
            let request = request(words);
            // The last two bytes need not be there.
            for cut in 0..request.len() - 2 {
                assert!(Push::of_request(pushes, &request.as_bytes()[..cut]).is_none(), "{cut}");
            }
            assert!(Push::of_request(pushes, request.as_bytes()).is_some());
        }
    }

    #[test]
    fn only_the_first_of_very_many_are_looked_at_and_all_are_counted() {
        let words: Vec<_> = ["LPUSH", "q"].into_iter().chain([&"xy"; 1000].map(|word| *word)).collect();
        let request = request(&words);
        let push = Push::of_request(Pushes::Elements, request.as_bytes()).unwrap();
        assert_eq!((push.elements.len(), push.count, push.size), (MAX_PUSHED, 1000, 2000));
    }
}

//! What a request says of the entries that it acknowledges.

use alloc::vec::Vec;

use crate::resp::complete::decimal;
use crate::resp::{Values, take_line};
use crate::service::EntryId;

/// The most entries of a request that are looked at.
const MAX_IDS: usize = 1024;

/// The most words of an `XACKDEL` before its ids, with the word that says that they follow.
const MAX_OPTIONS: usize = 2;

/// A request that acknowledges entries of a stream. Redis answers it with how many of them were pending, and it may be refused:
/// what the service wanted to say is the same.
///
/// `XDEL` and `XDELEX` are none, which name no group, and say nothing of who has done the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ack<'a> {
    /// The key of the stream.
    pub(crate) key: &'a [u8],
    /// The name of the consumer group that the entries were pending in.
    pub(crate) group: &'a [u8],
    /// The entries, [`MAX_IDS`] at most.
    pub(crate) ids: Vec<EntryId>,
    /// Whether there are more entries, or may be.
    pub(crate) is_incomplete: bool,
}

impl<'a> Ack<'a> {
    /// Reads the request called `name`. `None` if it acknowledges nothing, or if its group is cut off.
    pub(crate) fn of_request(name: &[u8], request: &'a [u8]) -> Option<Self> {
        let deletes = match name.len() {
            4 if name.eq_ignore_ascii_case(b"XACK") => false,
            7 if name.eq_ignore_ascii_case(b"XACKDEL") => true,
            _ => return None,
        };
        let mut header = request;
        let (_, count) = take_line(&mut header)?;
        let mut words = Values::new(request).skip(1);
        let (key, group) = (words.next()?, words.next()?);
        let wanted = if deletes {
            // XACKDEL key group [KEEPREF | DELREF | ACKED] IDS numids id [id ...]
            let is_ids = |word: &&[u8]| word.eq_ignore_ascii_case(b"IDS");
            words.by_ref().take(MAX_OPTIONS).find(is_ids)?;
            words.next().and_then(decimal)
        } else {
            decimal(count).and_then(|count| count.checked_sub(3))
        };
        // Without a number that can be read it is not known how many there are.
        let wanted = wanted.and_then(|wanted| usize::try_from(wanted).ok()).unwrap_or(usize::MAX);
        let ids: Option<Vec<_>> = words.take(wanted.min(MAX_IDS)).map(EntryId::parse).collect();
        // Redis refuses the whole request if one of them is no id.
        let ids = ids?;
        let is_incomplete = ids.len() < wanted;
        Some(Self { key, group, ids, is_incomplete })
    }
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

    fn told(name: &str, frame: &str) -> Option<String> {
        let ack = Ack::of_request(name.as_bytes(), frame.as_bytes())?;
        let mut line = format!("{} {}", ack.key.escape_ascii(), ack.group.escape_ascii());
        ack.ids.iter().for_each(|id| line.push_str(&format!(" {id}")));
        if ack.is_incomplete {
            line.push_str(" ...");
        }
        Some(line)
    }

    #[test]
    fn a_request_names_the_entries_that_it_acknowledges() {
        for (words, expected) in [
            ("XACK s g 1-0", Some("s g 1-0")),
            ("xack s g 1-0 2-7 5", Some("s g 1-0 2-7 5-0")),
            ("XACKDEL s g IDS 1 1-0", Some("s g 1-0")),
            ("XAckDel s g DELREF IDS 2 1-0 2-0", Some("s g 1-0 2-0")),
            ("XACKDEL s g ids 1 1-0 ACKED", Some("s g 1-0")),
            ("XACKDEL s g 1 1-0", None),
            ("XACK s g 1-0 x", None),
            ("XACK s", None),
            ("XDEL s 1-0", None),
            ("XDELEX s IDS 1 1-0", None),
            ("XADD s * f v", None),
        ] {
            let words: Vec<&str> = words.split(' ').collect();
            assert_eq!(told(words[0], &request(&words)).as_deref(), expected, "{words:?}");
        }
    }

    #[test]
    fn a_request_that_is_cut_off_or_has_very_many_says_so() {
        let whole = request(&["XACK", "s", "g", "1-0", "2-0"]);
        assert_eq!(told("XACK", &whole[..whole.len() - 3]).as_deref(), Some("s g 1-0 ..."));
        assert_eq!(told("XACK", &whole[..20]), None);
        let del = request(&["XACKDEL", "s", "g", "ACKED", "IDS", "2", "1-0", "2-0"]);
        assert_eq!(told("XACKDEL", &del[..del.len() - 9]).as_deref(), Some("s g 1-0 ..."));
        let ids: Vec<String> = (0..=MAX_IDS).map(|number| number.to_string()).collect();
        let words: Vec<&str> = ["XACK", "s", "g"].into_iter().chain(ids.iter().map(String::as_str)).collect();
        let frame = request(&words);
        let ack = Ack::of_request(b"XACK", frame.as_bytes()).unwrap();
        assert_eq!((ack.ids.len(), ack.is_incomplete), (MAX_IDS, true));
    }
}

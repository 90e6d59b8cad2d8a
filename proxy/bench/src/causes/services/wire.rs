//! The little of RESP that the relays need, and the marks that services put into their commands.

/// What stands on both sides of a mark.
const MARK: u8 = 0x1e;

/// The mark of what nothing has caused.
const NOTHING: &str = "0";

/// What a service was working for when it sent a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// The span ids of requests, and of the publishes of messages.
    pub(super) causes: Vec<String>,
    /// Whether the service has said that nothing caused it.
    pub(super) nothing: bool,
}

impl Marks {
    /// Takes the marks out of a word.
    pub(super) fn take(&mut self, word: &[u8]) -> Vec<u8> {
        let mut clean = Vec::with_capacity(word.len());
        for (index, piece) in word.split(|byte| *byte == MARK).enumerate() {
            if index % 2 == 0 {
                clean.extend_from_slice(piece);
                continue;
            }
            match String::from_utf8_lossy(piece).into_owned() {
                mark if mark == NOTHING => self.nothing = true,
                mark => self.causes.push(mark),
            }
        }
        clean
    }

    /// Adds those of another command.
    pub(super) fn add(&mut self, others: &Self) {
        self.nothing |= others.nothing;
        for cause in &others.causes {
            if !self.causes.contains(cause) {
                self.causes.push(cause.clone());
            }
        }
    }
}

/// The mark of a message that was published with this span.
pub(super) fn mark_of_message(publish: &str) -> Vec<u8> {
    [&[MARK, b'm'][..], publish.as_bytes(), &[MARK]].concat()
}

/// The length of the value at the beginning of `bytes`; `None` if it is not complete.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let (mut owed, mut at) = (1_usize, 0);
    while owed > 0 {
        let rest = bytes.get(at..)?;
        let line = rest.windows(2).position(|two| two == b"\r\n")?;
        let number = || std::str::from_utf8(&rest[1..line]).ok().and_then(|text| text.parse::<i64>().ok());
        at += line + 2;
        owed -= 1;
        let count = number().and_then(|count| usize::try_from(count).ok()).unwrap_or_default();
        match rest[0] {
            b'$' | b'=' | b'!' if number() >= Some(0) => at += count + 2,
            b'*' | b'~' | b'>' => owed += count,
            b'%' => owed += 2 * count,
            b'|' => owed += 2 * count + 1,
            _ => {}
        }
    }
    (at <= bytes.len()).then_some(at)
}

/// The elements of an array of bulk strings; `None` if the value is another.
pub(super) fn words(value: &[u8]) -> Option<Vec<&[u8]>> {
    let mut at = head(value, b"*>")?.1;
    let mut words = Vec::new();
    while at < value.len() {
        let (count, start) = head(&value[at..], b"$")?;
        words.push(value.get(at + start..at + start + count)?);
        at += start + count + 2;
    }
    Some(words)
}

/// The number in the first line of a value of one of these types, and where the line ends.
fn head(value: &[u8], types: &[u8]) -> Option<(usize, usize)> {
    let end = value.windows(2).position(|two| two == b"\r\n")?;
    types.contains(value.first()?).then_some(())?;
    Some((std::str::from_utf8(&value[1..end]).ok()?.parse().ok()?, end + 2))
}

/// An array of bulk strings, or a push if `kind` says so.
pub(super) fn array(kind: u8, words: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut out = Vec::new();
    out.push(kind);
    out.extend_from_slice(format!("{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.as_ref().len()).as_bytes());
        out.extend_from_slice(word.as_ref());
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// The payload in front of the sidecar's trailer, and the id of the span in it.
pub(super) fn trailer(payload: &[u8]) -> Option<(&[u8], String)> {
    let (body, trailer) = payload.split_at_checked(payload.len().checked_sub(41)?)?;
    (trailer.starts_with(b"\0\xfbrdtrac") && trailer.ends_with(b"\xfbrdtrac\xfe")).then_some(())?;
    Some((body, trailer[24..32].iter().map(|byte| format!("{byte:02x}")).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_taken_out_wherever_they_are() {
        let mut marks = Marks::default();
        assert_eq!(marks.take(b"user:\x1er01\x1e7\x1em02\x1e"), b"user:7");
        assert_eq!(marks, Marks { causes: vec!["r01".to_owned(), "m02".to_owned()], nothing: false });
        assert_eq!(marks.take(b"plain"), b"plain");
        marks.take(b"\x1e0\x1e");
        assert!(marks.nothing);
        let mut transaction = marks.clone();
        transaction.add(&marks);
        assert_eq!(transaction, marks);
    }

    #[test]
    fn values_are_measured_and_taken_apart() {
        let command = array(b'*', &["SET", "key", ""]);
        let all = [&command[..], b"%1\r\n+a\r\n*2\r\n:1\r\n$-1\r\n", b"_\r\n"].concat();
        assert_eq!(length(&all), Some(command.len()));
        assert_eq!(length(&all[command.len()..]), Some(21));
        for cut in 0..command.len() {
            assert_eq!(length(&command[..cut]), None);
        }
        assert_eq!(words(&command), Some(vec![&b"SET"[..], b"key", b""]));
        assert_eq!(words(b"*2\r\n:1\r\n:2\r\n"), None);
    }

    #[test]
    fn the_span_of_a_trailer_is_read() {
        let payload = b"body\0\xfbrdtrac0123456789abcdefABCDEFGH\x01\xfbrdtrac\xfe";
        assert_eq!(trailer(payload), Some((&b"body"[..], "4142434445464748".to_owned())));
        assert_eq!(trailer(b"body"), None);
    }
}

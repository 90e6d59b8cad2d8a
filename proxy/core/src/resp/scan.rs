//! A search for the end of a value.
//!
//! The scanner counts the values that are still owed. A scalar pays one. An aggregate of n values pays one and owes n more
//! (a map 2n). An attribute (`|`) owes its 2n and pays nothing, because the value that it describes still follows. A push
//! (`>`) inside another value, which Redis before 7.2 puts into the reply of `EXEC`, is not an element and pays
//! nothing either. So there is no stack, no recursion and no limit on depth, and every byte is looked at once.

use memchr::memchr;

use super::{MAX_BULK_LEN, NumberLine, Progress};

/// A resumable search for the end of a number of consecutive values.
#[derive(Clone, Debug)]
pub struct Scan {
    owed: u64,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// At the first byte of a value.
    Type,
    /// In the number after a type byte.
    Header { kind: u8, line: NumberLine },
    /// In a bulk string's body or its CRLF.
    Body { left: u64 },
    /// In a line that CRLF ends. `carriage_return` says whether the last byte was a CR.
    Line { carriage_return: bool },
}

impl Scan {
    /// Looks for the end of `count` values.
    pub fn values(count: u64) -> Self {
        Self { owed: count, state: State::Type }
    }

    /// Looks for the end of a value whose type byte `kind` has been taken, and of `more` values after it.
    pub fn value_of_kind(kind: u8, more: u64) -> Option<Self> {
        Some(Self { owed: more.checked_add(1)?, state: State::after_type(kind)? })
    }

    /// Looks for the end of a bulk string whose header gave `len`, and of `more` values after it.
    pub fn bulk_body(len: u64, more: u64) -> Option<Self> {
        let left = len.checked_add(2)?;
        Some(Self { owed: more.checked_add(1)?, state: State::Body { left } })
    }

    /// Whether the end has been found, so that no value is owed.
    pub fn is_done(&self) -> bool {
        self.owed == 0
    }

    /// Takes bytes from `*pos` on. With [`Progress::Done`], `*pos` is after the last value.
    pub fn advance(&mut self, input: &[u8], pos: &mut usize) -> Progress<()> {
        while self.owed > 0 {
            match &mut self.state {
                State::Type => {
                    let Some(&kind) = input.get(*pos) else { return Progress::More };
                    *pos += 1;
                    match State::after_type(kind) {
                        Some(state) => self.state = state,
                        None => return Progress::Invalid,
                    }
                }
                State::Header { kind, line } => {
                    let kind = *kind;
                    match line.read(input, pos) {
                        Progress::More => return Progress::More,
                        Progress::Invalid => return Progress::Invalid,
                        Progress::Done(number) => match self.header(kind, number) {
                            Some(state) => self.state = state,
                            None => return Progress::Invalid,
                        },
                    }
                }
                State::Body { left } => {
                    let here = u64::try_from(input.len() - *pos).unwrap_or(u64::MAX).min(*left);
                    *pos += usize::try_from(here).unwrap_or_default(); // at most input.len()
                    *left -= here;
                    if *left > 0 {
                        return Progress::More;
                    }
                    self.paid();
                }
                State::Line { carriage_return } => {
                    if !end_of_line(carriage_return, input, pos) {
                        return Progress::More;
                    }
                    self.paid();
                }
            }
        }
        Progress::Done(())
    }

    fn paid(&mut self) {
        self.owed -= 1;
        self.state = State::Type;
    }

    /// Counts what a header's `number` pays and owes, and returns the next state; `None` if the header is not valid.
    fn header(&mut self, kind: u8, number: i64) -> Option<State> {
        let number = match u64::try_from(number) {
            Ok(number) => number,
            Err(_) if number == -1 && matches!(kind, b'$' | b'*') => {
                self.owed -= 1; // RESP2's nulls
                return Some(State::Type);
            }
            Err(_) => return None,
        };
        if matches!(kind, b'$' | b'=' | b'!') {
            return (number <= MAX_BULK_LEN).then_some(State::Body { left: number + 2 });
        }
        let (values, pays) = aggregate(kind, number)?;
        self.owed = self.owed.checked_sub(pays)?.checked_add(values)?;
        Some(State::Type)
    }
}

impl State {
    fn after_type(kind: u8) -> Option<Self> {
        match kind {
            b'+' | b'-' | b':' | b',' | b'#' | b'(' | b'_' => Some(Self::Line { carriage_return: false }),
            b'$' | b'=' | b'!' | b'*' | b'~' | b'>' | b'%' | b'|' => {
                Some(Self::Header { kind, line: NumberLine::default() })
            }
            _ => None,
        }
    }
}

/// How many values an aggregate's header announces, and how many the aggregate itself pays: 1, or 0 if it is no value.
fn aggregate(kind: u8, number: u64) -> Option<(u64, u64)> {
    match kind {
        b'*' | b'~' => Some((number, 1)),
        b'>' => Some((number, 0)),
        b'%' => Some((number.checked_mul(2)?, 1)),
        b'|' => Some((number.checked_mul(2)?, 0)),
        _ => None,
    }
}

/// Moves `*pos` after the next CRLF, or to the end of the input, and returns whether the line has ended. A line feed alone
/// does not end it.
pub(crate) fn end_of_line(carriage_return: &mut bool, input: &[u8], pos: &mut usize) -> bool {
    while let Some(rest) = input.get(*pos..) {
        let Some(found) = memchr(b'\n', rest) else {
            if let Some(&last) = rest.last() {
                *carriage_return = last == b'\r';
            }
            *pos = input.len();
            return false;
        };
        let before = found.checked_sub(1).and_then(|last| rest.get(last));
        let before = before.map_or(*carriage_return, |byte| *byte == b'\r');
        *pos += found + 1;
        *carriage_return = false;
        if before {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec::Vec;

    fn end_of_first(input: &[u8]) -> Progress<usize> {
        let mut pos = 0;
        match Scan::values(1).advance(input, &mut pos) {
            Progress::More => Progress::More,
            Progress::Invalid => Progress::Invalid,
            Progress::Done(()) => Progress::Done(pos),
        }
    }

    #[test]
    fn one_value_ends_where_it_ends() {
        for value in [
            "+OK\r\n",
            "-ERR no\r\n",
            ":12\r\n",
            "$5\r\nhello\r\n",
            "$0\r\n\r\n",
            "$-1\r\n",
            "*-1\r\n",
            "*0\r\n",
            "_\r\n",
            ",1.5\r\n",
            "#t\r\n",
            "(123456789012345678901234567890\r\n",
            "=8\r\ntxt:four\r\n",
            "*2\r\n*1\r\n:1\r\n$1\r\na\r\n",
            "%1\r\n+k\r\n~2\r\n:1\r\n:2\r\n",
            "|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n+value\r\n",
            "*2\r\n>3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$1\r\nx\r\n:1\r\n:1\r\n",
            "+line\nfeed\r\n",
        ] {
            let more = format!("{value}+NEXT\r\n");
            assert_eq!(end_of_first(more.as_bytes()), Progress::Done(value.len()), "{value}");
            for cut in 0..value.len() {
                let mut scan = Scan::values(1);
                assert_eq!(scan.advance(&value.as_bytes()[..cut], &mut 0), Progress::More, "{value} cut at {cut}");
                let mut pos = 0;
                assert_eq!(scan.advance(&more.as_bytes()[cut..], &mut pos), Progress::Done(()));
                assert_eq!(cut + pos, value.len(), "{value} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_no_server_sends_is_invalid() {
        for bytes in [
            "hello\r\n",
            "$-2\r\n",
            "*-2\r\n",
            "%-1\r\n",
            "$?\r\n",
            "*?\r\n",
            ".\r\n",
            "$9223372036854775807\r\n",
            "%9223372036854775807\r\n*9223372036854775807\r\n*9223372036854775807\r\n",
        ] {
            assert_eq!(end_of_first(bytes.as_bytes()), Progress::Invalid, "{bytes}");
        }
    }

    #[test]
    fn millions_of_nested_arrays_cost_no_memory_and_no_stack() {
        let deep: Vec<u8> = b"*1\r\n".repeat(2_000_000);
        let mut scan = Scan::values(1);
        assert_eq!(scan.advance(&deep, &mut 0), Progress::More);
        assert_eq!(scan.advance(b":1\r\n", &mut 0), Progress::Done(()));
    }
}

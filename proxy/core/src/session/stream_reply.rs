//! Replies with entries of streams, from which contexts are removed (`--stream-carrier`): which they are, and their reader.
//!
//! The reader follows a reply to the fields of each entry, and holds back those of one entry at a time. All else goes on as it
//! comes. What is not as the reply should be is passed over as it is.

use alloc::vec::Vec;

use crate::commands::{Answer, EntriesFrom};
use crate::counts::Counter;
use crate::output::Call;
use crate::policy::{MAX_CHANNEL_LEN, Policy};
use crate::resp::{NumberLine, Progress, Scan, Values};
use crate::rewrite::{Edits, Hold, Input, entries};

/// The commands whose replies have entries.
const READS: [(&[u8], EntriesFrom); 7] = [
    (b"XREAD", EntriesFrom::Streams),
    (b"XREADGROUP", EntriesFrom::Streams),
    (b"XRANGE", EntriesFrom::Range),
    (b"XREVRANGE", EntriesFrom::Range),
    (b"XCLAIM", EntriesFrom::Range),
    (b"XAUTOCLAIM", EntriesFrom::Claim),
    (b"XINFO", EntriesFrom::Info),
];

/// How the command `name` is answered, if its reply may have entries from which contexts are removed; otherwise `answer`. `frame`
/// is the beginning of the request. Which of the streams of `XREAD` carry contexts is seen by the reply.
#[inline]
pub(super) fn with_entries(answer: Answer, name: &[u8], frame: &[u8], policy: &Policy) -> Answer {
    if !policy.hides_fields() {
        return answer;
    }
    of_read(answer, name, frame, policy)
}

#[cold]
fn of_read(answer: Answer, name: &[u8], frame: &[u8], policy: &Policy) -> Answer {
    let Some((_, from)) = READS.into_iter().find(|(read, _)| name.eq_ignore_ascii_case(read)) else { return answer };
    let mut words = Values::new(frame).skip(1);
    let key = match from {
        EntriesFrom::Streams => None,
        EntriesFrom::Range | EntriesFrom::Claim => Some(words.next()),
        EntriesFrom::Info => {
            let about = words.next().unwrap_or_default();
            Some(words.next().filter(|_| about.eq_ignore_ascii_case(b"STREAM")))
        }
    };
    let has_fields = key.is_none_or(|key| key.is_some_and(|key| policy.has_fields(key)));
    if has_fields { Answer::Entries { from, waits: matches!(answer, Answer::LateReplies(_)) } } else { answer }
}

/// What a value of the reply is, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// For each stream its key and its entries, as an array of arrays or as a map.
    Streams,
    /// The array of a stream's key and its entries.
    Stream,
    Key,
    Entries,
    /// An id, the fields, and what newer servers add.
    Entry,
    Fields,
    /// Where to go on, and entries.
    Claim,
    /// Names and values, as an array or as a map.
    Info,
    Name,
    /// A value that is passed over.
    Other,
}

/// An aggregate that has begun.
#[derive(Clone, Copy, Debug)]
struct Level {
    part: Part,
    is_map: bool,
    left: u64,
    index: u64,
}

#[derive(Clone, Debug)]
enum State {
    /// At the first byte of a value.
    Value(Part),
    /// In the number of elements of an aggregate.
    Count { part: Part, is_map: bool, number: NumberLine },
    /// In the length of a key or of a name.
    Length(NumberLine),
    /// In a key or a name that is kept, or in its CRLF.
    Text { left: u64 },
    /// In the number of names and values of an entry, which is held back.
    FieldCount(NumberLine),
    /// In the fields of an entry, which are held back.
    Fields(Scan),
    /// In a value that is passed over.
    Rest(Scan),
}

/// A resumable reader of one reply after another.
#[derive(Debug)]
pub(super) struct StreamReply {
    state: State,
    levels: Vec<Level>,
    /// The last key or name. It is empty if it is too long.
    text: Vec<u8>,
    is_null: bool,
    edits: Edits,
}

impl Default for StreamReply {
    fn default() -> Self {
        let (state, edits) = (State::Value(Part::Other), Edits::default());
        Self { state, levels: Vec::new(), text: Vec::new(), is_null: false, edits }
    }
}

impl StreamReply {
    /// A reply begins, whose type byte has not been taken yet.
    pub(super) fn begin(&mut self, from: EntriesFrom) {
        self.levels.clear();
        self.is_null = false;
        self.state = State::Value(match from {
            EntriesFrom::Streams => Part::Streams,
            EntriesFrom::Range => Part::Entries,
            EntriesFrom::Claim => Part::Claim,
            EntriesFrom::Info => Part::Info,
        });
    }

    /// Takes bytes from the input. With [`Progress::Done`] the reply has ended, and the value says whether it was a null.
    pub(super) fn advance(&mut self, input: &mut Input<'_>, hold: &mut Hold, call: &mut Call<'_>) -> Progress<bool> {
        loop {
            let progress = match &mut self.state {
                State::Value(part) => {
                    let part = *part;
                    match input.peek() {
                        Some(kind) => {
                            self.value_begins(part, kind, input, hold, call);
                            continue;
                        }
                        None => return Progress::More,
                    }
                }
                State::Count { part, is_map, number } => {
                    let (part, is_map) = (*part, *is_map);
                    match number.read(input.bytes, &mut input.pos) {
                        Progress::Done(count) => self.aggregate_begins(part, is_map, count),
                        Progress::More => Progress::More,
                        Progress::Invalid => Progress::Invalid,
                    }
                }
                State::Length(number) => match number.read(input.bytes, &mut input.pos) {
                    Progress::Done(len) => match self.text_begins(len) {
                        Progress::More => continue,
                        progress => progress,
                    },
                    Progress::More => Progress::More,
                    Progress::Invalid => Progress::Invalid,
                },
                State::Text { left } => {
                    let piece = input.take(left);
                    let is_ended = *left == 0;
                    self.text.extend_from_slice(piece);
                    if is_ended {
                        self.text.truncate(self.text.len().saturating_sub(2)); // the CRLF
                        Progress::Done(())
                    } else {
                        Progress::More
                    }
                }
                State::FieldCount(number) => match number.read(input.bytes, &mut input.pos) {
                    Progress::Done(-1) => {
                        hold.release(input, call.out);
                        Progress::Done(())
                    }
                    Progress::Done(count @ 0..) => {
                        self.state = State::Fields(Scan::values(count.unsigned_abs()));
                        continue;
                    }
                    Progress::More => Progress::More,
                    _ => Progress::Invalid,
                },
                State::Fields(scan) => match scan.advance(input.bytes, &mut input.pos) {
                    Progress::More if hold.exceeds(input, call.env.policy.strip_limit()) => {
                        let scan = scan.clone();
                        self.too_long(input, hold, call);
                        self.state = State::Rest(scan);
                        Progress::More
                    }
                    Progress::Done(()) => {
                        self.fields_end(input, hold, call);
                        Progress::Done(())
                    }
                    progress => progress,
                },
                State::Rest(scan) => scan.advance(input.bytes, &mut input.pos),
            };
            match progress {
                Progress::More => return Progress::More,
                Progress::Invalid => return Progress::Invalid,
                Progress::Done(()) if self.next_value(call.env.policy) => {}
                Progress::Done(()) => return Progress::Done(self.is_null),
            }
        }
    }

    fn value_begins(&mut self, part: Part, kind: u8, input: &mut Input<'_>, hold: &mut Hold, call: &mut Call<'_>) {
        let number = NumberLine::default();
        self.state = match (part, kind) {
            (Part::Fields, b'*') => {
                hold.begin(input, input.pos, call.out);
                State::FieldCount(number)
            }
            (Part::Streams | Part::Info, b'%') => State::Count { part, is_map: true, number },
            (Part::Streams | Part::Info | Part::Stream | Part::Entries | Part::Entry | Part::Claim, b'*') => {
                State::Count { part, is_map: false, number }
            }
            (Part::Key | Part::Name, b'$') => State::Length(number),
            _ => {
                self.text.clear();
                self.state = State::Rest(Scan::values(1));
                return;
            }
        };
        input.pos += 1;
    }

    /// An aggregate of this number of elements or pairs begins. Its elements are the next values, unless it is a null.
    fn aggregate_begins(&mut self, part: Part, is_map: bool, count: i64) -> Progress<()> {
        let left = u64::try_from(count).ok().and_then(|count| count.checked_mul(if is_map { 2 } else { 1 }));
        match left {
            Some(left) => self.levels.push(Level { part, is_map, left, index: 0 }),
            None if count == -1 && !is_map => self.is_null = self.levels.is_empty(),
            None => return Progress::Invalid,
        }
        Progress::Done(())
    }

    /// A key or a name of this length begins, unless it is a null.
    fn text_begins(&mut self, len: i64) -> Progress<()> {
        self.text.clear();
        let Ok(len) = u64::try_from(len) else {
            return if len == -1 { Progress::Done(()) } else { Progress::Invalid };
        };
        self.state = match (usize::try_from(len), Scan::bulk_body(len, 0)) {
            (Ok(..=MAX_CHANNEL_LEN), _) => State::Text { left: len + 2 },
            (_, Some(scan)) => State::Rest(scan),
            (_, None) => return Progress::Invalid,
        };
        Progress::More
    }

    fn fields_end(&mut self, input: &mut Input<'_>, hold: &mut Hold, call: &mut Call<'_>) {
        if hold.exceeds(input, call.env.policy.strip_limit()) {
            self.too_long(input, hold, call);
        } else if entries::hide(hold.held(input), &mut self.edits, call) {
            hold.apply(&self.edits, input, call.out);
        } else {
            hold.release(input, call.out);
        }
    }

    /// Lets the fields of an entry go that are too long to be looked at.
    fn too_long(&mut self, input: &mut Input<'_>, hold: &mut Hold, call: &mut Call<'_>) {
        call.out.counts.count(Counter::EntriesUnread);
        hold.release(input, call.out);
    }

    /// Goes on to the next value. Returns whether there is one.
    fn next_value(&mut self, policy: &Policy) -> bool {
        while self.levels.pop_if(|level| level.left == 0).is_some() {}
        let Some(level) = self.levels.last_mut() else { return false };
        let part = level.part.element(level.index, level.is_map, &self.text, policy);
        level.left -= 1;
        level.index = level.index.saturating_add(1);
        self.state = State::Value(part);
        true
    }
}

impl Part {
    /// The part of the `index`th element of this one, behind the key or the name `text`.
    fn element(self, index: u64, is_map: bool, text: &[u8], policy: &Policy) -> Self {
        let of_stream = || if policy.has_fields(text) { Self::Entries } else { Self::Other };
        match (self, index) {
            (Self::Streams, _) if !is_map => Self::Stream,
            (Self::Streams, index) if index % 2 == 0 => Self::Key,
            (Self::Streams, _) => of_stream(),
            (Self::Stream, 0) => Self::Key,
            (Self::Stream, 1) => of_stream(),
            (Self::Entries, _) => Self::Entry,
            (Self::Entry, 1) => Self::Fields,
            (Self::Claim, 1) => Self::Entries,
            (Self::Info, index) if index % 2 == 0 => Self::Name,
            (Self::Info, _) => match text {
                b"first-entry" | b"last-entry" => Self::Entry,
                b"entries" => Self::Entries,
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

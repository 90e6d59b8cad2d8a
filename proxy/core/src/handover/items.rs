//! The items in a reply.

use alloc::vec::Vec;

use super::{Role, Shape};
use crate::carrier::ContextKeys;
use crate::carrier::field::{self, AddedFields};
use crate::resp::complete::{BulkStrings, decimal};
use crate::resp::take_line;
use crate::service::{Bulks, MAX_VALUES};

/// The most items of a reply that are taken.
pub(crate) const MAX_ITEMS: usize = 128;

/// The deepest nesting of what is read: that of the fields of an entry.
const MAX_DEPTH: usize = 6;

/// Something that a reply hands over.
#[derive(Clone, Debug)]
pub(crate) struct Item<'a> {
    /// The key that it was taken from, if the reply says so.
    pub(crate) key: Option<&'a [u8]>,
    /// The id of an entry of a stream.
    pub(crate) id: Option<&'a [u8]>,
    /// The id of a job within its queue, if the item is the job of a library that counts its jobs.
    pub(crate) job: Option<&'a [u8]>,
    /// The names of an entry's fields, or of those of a job, as many as there are `values`. Other items have none.
    pub(crate) names: Bulks<'a, MAX_VALUES>,
    /// What it says: the item, or the values of an entry's fields.
    pub(crate) values: Bulks<'a, MAX_VALUES>,
    /// The fields of an entry in RESP, as many as are there whole.
    pub(crate) fields: &'a [u8],
    /// What a proxy has added to the fields, once it has been looked for and taken off.
    pub(crate) added: Option<AddedFields>,
    /// Whether of the last of `values` only the beginning is there.
    pub(crate) is_cut_off: bool,
    /// The length of it in bytes, with the names of an entry's fields. Of a job it is that of its data.
    pub(crate) size: u64,
    /// Whether it is an entry that a consumer of the group has got before.
    pub(crate) is_redelivery: bool,
}

impl<'a> Item<'a> {
    pub(crate) fn begin(key: Option<&'a [u8]>, id: Option<&'a [u8]>) -> Self {
        Self {
            key,
            id,
            job: None,
            names: Bulks::new([]),
            values: Bulks::new([]),
            fields: &[],
            added: None,
            is_cut_off: false,
            size: 0,
            is_redelivery: false,
        }
    }

    /// Takes the context off that a proxy has added to the fields of an entry, if there is one.
    pub(crate) fn take_added_off(&mut self, keys: &ContextKeys) {
        let Some(added) = field::find(self.fields, keys) else { return };
        let (own, ours) = self.fields.split_at_checked(added.start).unwrap_or_default();
        let fields = BulkStrings::new(own, 0).count() / 2;
        let size = BulkStrings::new(ours, 0).map(|text| u64::try_from(text.len()).unwrap_or(u64::MAX)).sum();
        let kept = |bulks: Bulks<'a, MAX_VALUES>| Bulks::new(bulks.as_slice().iter().copied().take(fields));
        (self.names, self.values) = (kept(self.names), kept(self.values));
        self.size = self.size.saturating_sub(size);
        (self.fields, self.added) = (own, Some(added));
    }

    /// Adds a field, if there is room for it.
    pub(super) fn add_field(&mut self, name: &'a [u8], value: &'a [u8], is_cut_off: bool) {
        if self.values.as_slice().len() < MAX_VALUES {
            self.names.push(name);
            self.values.push(value);
            self.is_cut_off = is_cut_off;
        }
    }
}

/// The items of a reply.
#[derive(Debug, Default)]
pub(crate) struct Handed<'a> {
    /// The items, [`MAX_ITEMS`] at most.
    pub(crate) items: Vec<Item<'a>>,
    /// Whether there are more items, or may be.
    pub(crate) is_incomplete: bool,
}

/// An aggregate that has begun.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    left: u64,
    index: u64,
    is_map: bool,
}

/// Finds the items in `frame`, the beginning of a reply of this shape. An empty one stands for a null.
pub(super) fn items(shape: Shape, frame: &[u8]) -> Handed<'_> {
    if frame.is_empty() {
        return Handed::default();
    }
    let (levels, handed) = (Vec::new(), Handed::default());
    let mut reader = Reader { shape, rest: frame, levels, key: None, field: &[], value: &[], fields: &[], handed };
    while let Some(more) = reader.value() {
        if !more {
            return reader.handed;
        }
    }
    // The frame is cut off, or is not understood.
    let outer = reader.levels.iter().take(shape.depth_of_items());
    reader.handed.is_incomplete |= reader.levels.is_empty() || outer.into_iter().any(|level| level.left > 0);
    reader.handed
}

struct Reader<'a> {
    shape: Shape,
    rest: &'a [u8],
    levels: Vec<Level>,
    key: Option<&'a [u8]>,
    /// The name of the field whose value comes next.
    field: &'a [u8],
    /// What is left of the frame from the value on that is being read, and from the first field of the last entry on.
    value: &'a [u8],
    fields: &'a [u8],
    handed: Handed<'a>,
}

impl<'a> Reader<'a> {
    /// Reads a value, or the header of an aggregate. Returns whether more belongs to the reply; `None` if the frame ends here.
    fn value(&mut self) -> Option<bool> {
        self.value = self.rest;
        let (kind, line) = take_line(&mut self.rest)?;
        match kind {
            b'$' | b'=' | b'!' if line.starts_with(b"-") => self.scalar(None),
            b'$' | b'=' => {
                let len = decimal(line)?;
                let body = usize::try_from(len).ok()?;
                let is_whole = self.rest.len() >= body;
                let bytes = self.rest.get(..body).unwrap_or(self.rest);
                self.rest = self.rest.get(body.checked_add(2)?..).unwrap_or_default();
                self.scalar(Some((bytes, len)));
                if !is_whole {
                    return None;
                }
            }
            b'*' | b'~' if line.starts_with(b"-") => self.scalar(None),
            b'*' | b'~' => self.aggregate(decimal(line)?, false)?,
            b'%' => self.aggregate(decimal(line)?.checked_mul(2)?, true)?,
            b':' => self.integer(line),
            b'+' | b'-' | b',' | b'#' | b'(' | b'_' | b'!' => self.scalar(None),
            _ => return None,
        }
        while self.levels.pop_if(|level| level.left == 0).is_some() {}
        Some(!self.levels.is_empty())
    }

    fn aggregate(&mut self, values: u64, is_map: bool) -> Option<()> {
        self.place();
        if self.levels.len() >= MAX_DEPTH {
            return None;
        }
        self.levels.push(Level { left: values, index: 0, is_map });
        Some(())
    }

    /// Takes the place of the next value: the number of aggregates around it, and which one of the innermost it is.
    fn place(&mut self) -> (usize, u64) {
        let depth = self.levels.iter().map(|level| if level.is_map { 2 } else { 1 }).sum();
        let Some(level) = self.levels.last_mut() else { return (depth, 0) };
        let index = if level.is_map { level.index % 2 } else { level.index };
        level.index += 1;
        level.left = level.left.saturating_sub(1);
        (depth, index)
    }

    /// A value, with its length, which may be above what is there of it.
    fn scalar(&mut self, value: Option<(&'a [u8], u64)>) {
        let (depth, index) = self.place();
        let role = self.shape.role(depth, index);
        let Some((value, size)) = value else { return };
        let is_cut_off = usize::try_from(size) != Ok(value.len());
        match role {
            Role::Key => self.key = Some(value),
            Role::Item => {
                let values = Bulks::new([value]);
                self.begin(Item { values, is_cut_off, size, ..Item::begin(self.key, None) });
            }
            Role::EntryId => self.begin(Item::begin(self.key, Some(value))),
            Role::FieldValue | Role::FieldName => {
                if role == Role::FieldName && index == 0 {
                    self.fields = self.value;
                }
                let whole = self.fields.len().saturating_sub(self.rest.len());
                let fields = self.fields.get(..whole).unwrap_or_default();
                let name = core::mem::replace(&mut self.field, if role == Role::FieldName { value } else { &[] });
                if let Some(entry) = self.entry() {
                    entry.size = entry.size.saturating_add(size);
                    if role == Role::FieldValue {
                        entry.add_field(name, value, is_cut_off);
                        entry.fields = fields;
                    }
                }
            }
            Role::Deliveries | Role::Other => {}
        }
    }

    fn integer(&mut self, digits: &[u8]) {
        let (depth, index) = self.place();
        if self.shape.role(depth, index) == Role::Deliveries
            && let Some(entry) = self.entry()
        {
            entry.is_redelivery = decimal(digits).is_some_and(|deliveries| deliveries > 0);
        }
    }

    /// The entry that is being read. Of one that was left out nothing is added to the one before.
    fn entry(&mut self) -> Option<&mut Item<'a>> {
        self.handed.items.last_mut().filter(|_| !self.handed.is_incomplete)
    }

    fn begin(&mut self, item: Item<'a>) {
        if self.handed.items.len() < MAX_ITEMS {
            let is_redelivery = self.shape.is_claim();
            self.handed.items.push(Item { is_redelivery, ..item });
        } else {
            self.handed.is_incomplete = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::{String, ToString};

    use super::*;

    fn found(shape: Shape, frame: &[u8]) -> Vec<String> {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let line = |item: &Item<'_>| {
            let values: Vec<_> = item.values.as_slice().iter().map(|value| text(value)).collect();
            let [key, id] = [item.key, item.id].map(|name| name.map_or("-".into(), text));
            let again = if item.is_redelivery { " again" } else { "" };
            format!("{key} {id} {} {}{again}", values.join("+"), item.size)
        };
        let handed = items(shape, frame);
        let mut lines: Vec<_> = handed.items.iter().map(line).collect();
        lines.extend(handed.is_incomplete.then(|| "...".into()));
        lines
    }

    #[test]
    fn items_are_found_in_the_reply_of_each_command_in_both_protocols() {
        let (two, member) = (["- - a 1", "- - bc 2"].map(String::from), String::from("q - m 1"));
        for (shape, frame, expected) in [
            (Shape::Values, "$1\r\na\r\n", &two[..1]),
            (Shape::Values, "*2\r\n$1\r\na\r\n$2\r\nbc\r\n", &two[..]),
            (Shape::Values, "$-1\r\n", &[]),
            (Shape::Values, "*-1\r\n", &[]),
            (Shape::Values, "_\r\n", &[]),
            (Shape::Values, "-WRONGTYPE Operation\r\n", &[]),
            (Shape::KeyAndValue, "*2\r\n$1\r\nq\r\n$1\r\nm\r\n", core::slice::from_ref(&member)),
            (Shape::KeyAndValues, "*2\r\n$1\r\nq\r\n*1\r\n$1\r\nm\r\n", core::slice::from_ref(&member)),
            (Shape::KeyAndMember, "*3\r\n$1\r\nq\r\n$1\r\nm\r\n$1\r\n7\r\n", core::slice::from_ref(&member)),
            (Shape::KeyAndMember, "*3\r\n$1\r\nq\r\n$1\r\nm\r\n,7\r\n", core::slice::from_ref(&member)),
            (Shape::KeyAndMembers, "*2\r\n$1\r\nq\r\n*1\r\n*2\r\n$1\r\nm\r\n,7\r\n", core::slice::from_ref(&member)),
            (Shape::Members, "*4\r\n$1\r\na\r\n$1\r\n7\r\n$2\r\nbc\r\n$1\r\n8\r\n", &two[..]),
            (Shape::Members, "*2\r\n$1\r\na\r\n,7\r\n", &two[..1]),
            (Shape::Members, "*2\r\n*2\r\n$1\r\na\r\n,7\r\n*2\r\n$2\r\nbc\r\n,8\r\n", &two[..]),
            (Shape::Members, "*0\r\n", &[]),
        ] {
            assert_eq!(found(shape, frame.as_bytes()), expected, "{shape:?} {frame}");
        }
    }

    #[test]
    fn entries_have_their_ids_and_the_values_of_their_fields() {
        let entries =
            "*2\r\n*2\r\n$3\r\n1-0\r\n*4\r\n$2\r\nid\r\n$1\r\na\r\n$1\r\nn\r\n$2\r\nbc\r\n*2\r\n$3\r\n1-1\r\n*-1\r\n";
        let expected = ["s 1-0 a+bc 6", "s 1-1  0"];
        for frame in [format!("*1\r\n*2\r\n$1\r\ns\r\n{entries}"), format!("%1\r\n$1\r\ns\r\n{entries}")] {
            assert_eq!(found(Shape::Entries, frame.as_bytes()), expected);
        }
        let two = "%2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*0\r\n$1\r\nt\r\n*1\r\n*4\r\n$3\r\n2-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n:5\r\n:1\r\n";
        assert_eq!(found(Shape::Entries, two.as_bytes()), ["s 1-0  0", "t 2-0 v 2 again"]);
        for none in ["*-1\r\n", "_\r\n", "%0\r\n"] {
            assert!(found(Shape::Entries, none.as_bytes()).is_empty());
        }
    }

    #[test]
    fn claimed_entries_are_redeliveries_and_what_is_gone_is_none() {
        let entries = "*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$2\r\nbc\r\n*-1\r\n*2\r\n$3\r\n1-1\r\n*0\r\n";
        let expected = ["- 1-0 bc 3 again", "- 1-1  0 again"];
        for null in ["*-1\r\n", "$-1\r\n", "_\r\n"] {
            let entries = entries.replace("*-1\r\n", null);
            assert_eq!(found(Shape::Claimed, format!("*3\r\n{entries}").as_bytes()), expected);
            for gone in ["", "*0\r\n", "*2\r\n$3\r\n1-5\r\n$3\r\n1-6\r\n"] {
                let parts = if gone.is_empty() { 2 } else { 3 };
                let frame = format!("*{parts}\r\n$3\r\n0-0\r\n*3\r\n{entries}{gone}");
                assert_eq!(found(Shape::AutoClaimed, frame.as_bytes()), expected, "{frame}");
            }
        }
        // With `JUSTID` nothing is handed over.
        assert!(found(Shape::Claimed, b"*2\r\n$3\r\n1-0\r\n$3\r\n1-1\r\n").is_empty());
        assert!(found(Shape::AutoClaimed, b"*3\r\n$3\r\n0-0\r\n*1\r\n$3\r\n1-0\r\n*0\r\n").is_empty());
    }

    #[test]
    fn a_read_that_claims_tells_what_was_delivered_before() {
        let entry =
            |id, deliveries| format!("*4\r\n$3\r\n{id}\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n:60\r\n:{deliveries}\r\n");
        let frame = format!("*1\r\n*2\r\n$1\r\ns\r\n*2\r\n{}{}", entry("1-0", 2), entry("2-0", 0));
        assert_eq!(found(Shape::Entries, frame.as_bytes()), ["s 1-0 v 2 again", "s 2-0 v 2"]);
    }

    #[test]
    fn a_cut_reply_has_what_is_there_of_the_last_item_and_says_whether_more_may_follow() {
        let job = b"*2\r\n$1\r\nq\r\n$6\r\nabcdef\r\n";
        assert_eq!(found(Shape::KeyAndValue, &job[..18]), ["q - abc 6"]);
        assert_eq!(found(Shape::KeyAndValue, &job[..9]), ["..."]);
        assert_eq!(found(Shape::Values, &b"*2\r\n$6\r\nabcdef\r\n"[..11]), ["- - abc 6", "..."]);
        assert_eq!(found(Shape::Values, b"$6\r\nabc"), ["- - abc 6", "..."]);
        let last = b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$6\r\nabc";
        assert_eq!(found(Shape::Entries, last), ["s 1-0 abc 7"]);
        let first = b"*1\r\n*2\r\n$1\r\ns\r\n*2\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$6\r\nabc";
        assert_eq!(found(Shape::Entries, first), ["s 1-0 abc 7", "..."]);
    }

    #[test]
    fn no_more_items_are_taken_than_there_is_room_for() {
        let many = format!("*{}\r\n{}", MAX_ITEMS + 1, "$1\r\nx\r\n".repeat(MAX_ITEMS + 1));
        let handed = items(Shape::Values, many.as_bytes());
        assert_eq!((handed.items.len(), handed.is_incomplete), (MAX_ITEMS, true));
        let entry = "*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n";
        let many = format!("*1\r\n*2\r\n$1\r\ns\r\n*{}\r\n{}", MAX_ITEMS + 2, entry.repeat(MAX_ITEMS + 2));
        let handed = items(Shape::Entries, many.as_bytes());
        assert_eq!((handed.items.len(), handed.items[MAX_ITEMS - 1].size), (MAX_ITEMS, 2));
    }

    #[test]
    fn what_is_nested_too_deeply_or_no_resp_hands_nothing_over() {
        let deep = "*1\r\n".repeat(100_000);
        for frame in [deep.as_bytes(), b"", b"x", b"$99999999999999999999\r\nx\r\n", b"*1\r\n|1\r\n"] {
            for shape in [Shape::Values, Shape::Entries, Shape::KeyAndMembers, Shape::Claimed, Shape::AutoClaimed] {
                assert!(items(shape, frame).items.is_empty());
            }
        }
    }
}

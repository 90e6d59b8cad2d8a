//! What a reply hands over to the service: the items of a list, a sorted set or a stream that it has taken out to work on them. And
//! what a request adds to one ([`Push`]).
//!
//! A row of the table of commands names the [`Shape`] of such a reply. [`Read`] is what the request says, and [`items`] finds
//! the items in the reply, and [`context`] the context that an item carries. [`Ack`] is what an acknowledgement says of items, and
//! [`Script`] what a script of a well-known library does. Nothing here changes a byte, and nothing is read unless causes are
//! followed (`--follow`).

mod ack;
mod envelope;
mod items;
mod job;
mod push;
mod read;
mod scripts;

pub(crate) use ack::Ack;
pub(crate) use envelope::context;
pub(crate) use items::{Handed, Item};
pub(crate) use push::{Awaited, Push, Pushes, id_and_options};
pub(crate) use read::{Group, Read, keys};
pub(crate) use scripts::{Script, is_marker};

/// Finds the items in `frame`, the beginning of a reply of this shape. An empty one stands for a null.
pub(crate) fn items(shape: Shape, frame: &[u8]) -> Handed<'_> {
    if shape == Shape::Job { job::job(frame) } else { items::items(shape, frame) }
}

/// How the reply to a command has its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// An item, or an array of items: `LPOP`, `RPOPLPUSH`.
    Values,
    /// The key and an item: `BLPOP`.
    KeyAndValue,
    /// The key and an array of items: `LMPOP`.
    KeyAndValues,
    /// Each item is followed by its score, or is in an array with it: `ZPOPMIN`.
    Members,
    /// The key, an item and its score: `BZPOPMIN`.
    KeyAndMember,
    /// The key, and an array of arrays of an item and its score: `ZMPOP`.
    KeyAndMembers,
    /// For each stream its key and its entries, of which each has an id and its fields: `XREADGROUP`. With its option `CLAIM` an
    /// entry also has the time since it was delivered last, and how often it was.
    Entries,
    /// Entries that another consumer has got before: `XCLAIM`. What is gone is a null. With `JUSTID` there are only ids.
    Claimed,
    /// Where to go on, an array of such entries, and the ids of those that are gone: `XAUTOCLAIM`.
    AutoClaimed,
    /// The first of an array: the script by which Laravel takes a job.
    FirstValue,
    /// A job of Bull or BullMQ, whose fields and whose id stand in an array.
    Job,
    /// What the script says, which the request tells: `EVAL` and `EVALSHA`.
    Script,
}

/// What a value of a reply is, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// The value is the key of the items that follow.
    Key,
    /// The value is an item, as of a list or a sorted set.
    Item,
    /// The value is the id of an entry of a stream, which begins with it.
    EntryId,
    /// The value belongs to a field of an entry.
    FieldValue,
    /// The value names a field of an entry.
    FieldName,
    /// The value says how often an entry was delivered before.
    Deliveries,
    /// The value is a score, or something that newer servers add.
    Other,
}

impl Shape {
    /// What a value is that lies in so many aggregates, and is the `index`th of the innermost. A map counts as an array of pairs.
    fn role(self, depth: usize, index: u64) -> Role {
        match (self, depth, index) {
            (Self::Values, 0 | 1, _) | (Self::KeyAndValues, 2, _) => Role::Item,
            (Self::KeyAndValue | Self::KeyAndMember, 1, 1) | (Self::FirstValue, 1, 0) => Role::Item,
            (Self::KeyAndMembers, 3, 0) | (Self::Members, 2, 0) => Role::Item,
            (Self::Members, 1, index) if index % 2 == 0 => Role::Item,
            (Self::KeyAndValue | Self::KeyAndValues | Self::KeyAndMember | Self::KeyAndMembers, 1, 0) => Role::Key,
            (Self::Entries, 2, 0) => Role::Key,
            (Self::Entries, 4, 0) | (Self::AutoClaimed, 3, 0) | (Self::Claimed, 2, 0) => Role::EntryId,
            (Self::Entries, 4, 3) => Role::Deliveries,
            (Self::Entries, 5, index) | (Self::AutoClaimed, 4, index) | (Self::Claimed, 3, index) => {
                if index % 2 == 0 {
                    Role::FieldName
                } else {
                    Role::FieldValue
                }
            }
            _ => Role::Other,
        }
    }

    /// The number of aggregates in which the last level of items lies.
    fn depth_of_items(self) -> usize {
        match self {
            Self::Values
            | Self::FirstValue
            | Self::KeyAndValue
            | Self::KeyAndMember
            | Self::Members
            | Self::Claimed => 1,
            // They are not read by their places.
            Self::Job | Self::Script => 0,
            Self::KeyAndValues | Self::KeyAndMembers | Self::AutoClaimed => 2,
            Self::Entries => 3,
        }
    }

    /// Whether what is handed over are elements of a list.
    pub(crate) fn is_of_list(self) -> bool {
        matches!(self, Self::Values | Self::KeyAndValue | Self::KeyAndValues)
    }

    /// Whether all that is handed over was handed over before.
    fn is_claim(self) -> bool {
        matches!(self, Self::Claimed | Self::AutoClaimed)
    }
}

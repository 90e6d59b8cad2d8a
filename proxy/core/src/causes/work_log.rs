//! The commands of unattributed work, which get an answer if it is joined to its cause, and the batches that it is of.

use super::answer::Links;
use super::table::{Id, Table, id};

id! {
    /// A place for the id of a command.
    LogId < 3072
}

id! {
    /// A place for the causes of a batch.
    BatchId < 128
}

#[derive(Clone, Copy)]
struct Entry {
    command: u64,
    /// The next of the same work, or the next that is free.
    next: Option<LogId>,
}

/// The commands of one candidate, in their order.
#[derive(Clone, Copy, Default)]
pub(super) struct Log {
    ends: Option<(LogId, LogId)>,
}

impl Log {
    pub(super) const EMPTY: Self = Self { ends: None };
}

/// The commands of all candidates.
pub(super) struct Logs {
    entries: Table<LogId, Entry>,
    free: Option<LogId>,
}

impl Logs {
    pub(super) fn new() -> Self {
        let mut entries = Table::new(Entry { command: 0, next: None });
        Self { free: entries.chain(|entry, next| entry.next = next), entries }
    }

    /// Adds a command. If there is no room, it will get no late answer.
    pub(super) fn push(&mut self, log: &mut Log, command: u64) {
        let Some(entry) = self.free else { return };
        self.free = self.entries[entry].next;
        self.entries[entry] = Entry { command, next: None };
        self.append(log, (entry, entry));
    }

    /// Moves the commands of `from` behind those of `to`.
    pub(super) fn move_all(&mut self, from: &mut Log, to: &mut Log) {
        if let Some(ends) = from.ends.take() {
            self.append(to, ends);
        }
    }

    fn append(&mut self, log: &mut Log, (first, last): (LogId, LogId)) {
        log.ends = Some(match log.ends {
            None => (first, last),
            Some((front, back)) => {
                self.entries[back].next = Some(first);
                (front, last)
            }
        });
    }

    /// Takes the first command out.
    pub(super) fn pop(&mut self, log: &mut Log) -> Option<u64> {
        let (first, last) = log.ends?;
        let Entry { command, next } = self.entries[first];
        log.ends = next.filter(|_| first != last).map(|next| (next, last));
        self.entries[first] = Entry { command: 0, next: self.free };
        self.free = Some(first);
        Some(command)
    }

    pub(super) fn memory(&self) -> usize {
        self.entries.memory()
    }
}

/// The causes of a batch, as long as not too many others came after it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchRef {
    number: u64,
}

/// The last batches.
pub(super) struct Batches {
    kept: Table<BatchId, (u64, Links)>,
    next: u64,
}

impl Batches {
    pub(super) fn new() -> Self {
        Self { kept: Table::new((0, Links::new([].into_iter()))), next: 1 }
    }

    pub(super) fn keep(&mut self, links: Links) -> BatchRef {
        let number = self.next;
        self.next += 1;
        if let Some(place) = Self::place(number) {
            self.kept[place] = (number, links);
        }
        BatchRef { number }
    }

    pub(super) fn get(&self, batch: BatchRef) -> Option<&Links> {
        let (number, links) = &self.kept[Self::place(batch.number)?];
        (*number == batch.number).then_some(links)
    }

    fn place(number: u64) -> Option<BatchId> {
        BatchId::at(usize::try_from(number).unwrap_or_default() % BatchId::COUNT)
    }

    pub(super) fn memory(&self) -> usize {
        self.kept.memory()
    }
}

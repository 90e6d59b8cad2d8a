//! Which candidates have a token.
//!
//! A token with few owners has a list of them. With more it has a set, so that it takes no longer to read, as long as there are
//! sets left. A token that too many had at once tells nothing until nobody has it, because it was not written down who else
//! got it.

use super::slots::{Slot, SlotSet};
use super::table::{Id, Table, id};

/// A token that more candidates have tells nothing.
const MAX_OWNERS: u16 = 256;

/// The owners above which a token gets a set.
const LISTED: u16 = 16;

id! {
    /// A bucket of the hash table.
    Bucket < 32768
}

id! {
    /// A token that somebody has.
    EntryId < 24576
}

id! {
    /// A token of a candidate: the link between the two.
    NodeId < 32768
}

id! {
    /// A set of owners.
    SetId < 512
}

#[derive(Clone, Copy)]
struct Entry {
    hash: u64,
    /// The next of its bucket, or the next that is free.
    next: Option<EntryId>,
    owners: Holders,
    /// The number of owners, and `COMMON`.
    count: u16,
}

/// The bit of [`Entry::count`] that says that too many have had the token.
const COMMON: u16 = 1 << 15;

#[derive(Clone, Copy)]
enum Holders {
    List(Option<NodeId>),
    Set(SetId),
}

#[derive(Clone, Copy)]
struct Node {
    entry: Option<EntryId>,
    slot: Option<Slot>,
    /// The next owner of the token, or the next node that is free.
    next_owner: Option<NodeId>,
    /// The next token of the candidate.
    next_token: Option<NodeId>,
}

#[derive(Clone, Copy)]
struct Shared {
    slots: SlotSet,
    next_free: Option<SetId>,
}

/// What came of giving a token to a candidate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Given {
    /// The candidate has it now, and this is its first token.
    New(NodeId),
    /// It had it before, or too many have it.
    Unchanged,
    /// There is no room.
    NoRoom,
}

/// The tokens that candidates have.
pub(super) struct Owners {
    buckets: Table<Bucket, Option<EntryId>>,
    entries: Table<EntryId, Entry>,
    nodes: Table<NodeId, Node>,
    sets: Table<SetId, Shared>,
    free_entry: Option<EntryId>,
    free_node: Option<NodeId>,
    free_set: Option<SetId>,
}

impl Owners {
    pub(super) fn new() -> Self {
        let mut entries = Table::new(Entry { hash: 0, next: None, owners: Holders::List(None), count: 0 });
        let mut nodes = Table::new(Node { entry: None, slot: None, next_owner: None, next_token: None });
        let mut sets = Table::new(Shared { slots: SlotSet::EMPTY, next_free: None });
        Self {
            buckets: Table::new(None),
            free_entry: entries.chain(|entry, next| entry.next = next),
            free_node: nodes.chain(|node, next| node.next_owner = next),
            free_set: sets.chain(|set, next| set.next_free = next),
            entries,
            nodes,
            sets,
        }
    }

    /// Everybody who has the token; nobody if it tells nothing.
    pub(super) fn of(&self, hash: u64) -> SlotSet {
        match self.find(hash) {
            Some(entry) if self.entries[entry].count & COMMON == 0 => self.holders(self.entries[entry].owners),
            _ => SlotSet::EMPTY,
        }
    }

    /// Gives a token to a candidate, whose first token is `first`.
    pub(super) fn give(&mut self, hash: u64, slot: Slot, first: Option<NodeId>) -> Given {
        let entry = match self.find(hash) {
            Some(entry) if self.has(entry, slot) => return Given::Unchanged,
            Some(entry) if self.entries[entry].count & !COMMON >= MAX_OWNERS => {
                self.entries[entry].count |= COMMON;
                return Given::Unchanged;
            }
            found => found,
        };
        let Some(node) = self.free_node else { return Given::NoRoom };
        let Some(entry) = entry.or_else(|| self.add_entry(hash)) else { return Given::NoRoom };
        self.free_node = self.nodes[node].next_owner;
        self.nodes[node] = Node { entry: Some(entry), slot: Some(slot), next_owner: None, next_token: first };
        if self.entries[entry].count & !COMMON == LISTED {
            self.share(entry);
        }
        self.entries[entry].count += 1;
        match self.entries[entry].owners {
            Holders::Set(set) => self.sets[set].slots.insert(slot),
            Holders::List(head) => {
                self.nodes[node].next_owner = head;
                self.entries[entry].owners = Holders::List(Some(node));
            }
        }
        Given::New(node)
    }

    /// Takes a token away from its candidate, and returns the candidate's next one.
    pub(super) fn take(&mut self, node: NodeId) -> Option<NodeId> {
        let Node { entry, slot, next_owner, next_token } = self.nodes[node];
        let (Some(entry), Some(slot)) = (entry, slot) else { return None };
        match self.entries[entry].owners {
            Holders::Set(set) => self.sets[set].slots.remove(slot),
            Holders::List(Some(head)) if head == node => self.entries[entry].owners = Holders::List(next_owner),
            Holders::List(head) => {
                let before = self.list(head).find(|before| self.nodes[*before].next_owner == Some(node));
                if let Some(before) = before {
                    self.nodes[before].next_owner = next_owner;
                }
            }
        }
        self.nodes[node] = Node { entry: None, slot: None, next_owner: self.free_node, next_token: None };
        self.free_node = Some(node);
        self.entries[entry].count -= 1;
        if self.entries[entry].count & !COMMON == 0 {
            self.remove_entry(entry);
        }
        next_token
    }

    /// The hashes of a candidate's tokens.
    pub(super) fn tokens(&self, first: Option<NodeId>) -> impl Iterator<Item = u64> {
        core::iter::successors(first, |node| self.nodes[*node].next_token)
            .filter_map(|node| self.nodes[node].entry)
            .map(|entry| self.entries[entry].hash)
    }

    fn bucket(hash: u64) -> Option<Bucket> {
        Bucket::at(usize::try_from(hash).unwrap_or_default() % Bucket::COUNT)
    }

    fn find(&self, hash: u64) -> Option<EntryId> {
        let first = self.buckets[Self::bucket(hash)?];
        core::iter::successors(first, |entry| self.entries[*entry].next).find(|entry| self.entries[*entry].hash == hash)
    }

    fn list(&self, head: Option<NodeId>) -> impl Iterator<Item = NodeId> {
        core::iter::successors(head, |node| self.nodes[*node].next_owner)
    }

    fn holders(&self, owners: Holders) -> SlotSet {
        match owners {
            Holders::Set(set) => self.sets[set].slots,
            Holders::List(head) => {
                let mut slots = SlotSet::EMPTY;
                self.list(head).filter_map(|node| self.nodes[node].slot).for_each(|slot| slots.insert(slot));
                slots
            }
        }
    }

    fn has(&self, entry: EntryId, slot: Slot) -> bool {
        match self.entries[entry].owners {
            Holders::Set(set) => self.sets[set].slots.contains(slot),
            Holders::List(head) => self.list(head).any(|node| self.nodes[node].slot == Some(slot)),
        }
    }

    fn add_entry(&mut self, hash: u64) -> Option<EntryId> {
        let (bucket, entry) = (Self::bucket(hash)?, self.free_entry?);
        self.free_entry = self.entries[entry].next;
        self.entries[entry] = Entry { hash, next: self.buckets[bucket], owners: Holders::List(None), count: 0 };
        self.buckets[bucket] = Some(entry);
        Some(entry)
    }

    fn remove_entry(&mut self, entry: EntryId) {
        let Entry { hash, next, owners, .. } = self.entries[entry];
        if let Holders::Set(set) = owners {
            self.sets[set].next_free = self.free_set;
            self.free_set = Some(set);
        }
        let Some(bucket) = Self::bucket(hash) else { return };
        if self.buckets[bucket] == Some(entry) {
            self.buckets[bucket] = next;
        } else {
            let chain = core::iter::successors(self.buckets[bucket], |entry| self.entries[*entry].next);
            let before = chain.into_iter().find(|before| self.entries[*before].next == Some(entry));
            if let Some(before) = before {
                self.entries[before].next = next;
            }
        }
        self.entries[entry] = Entry { hash: 0, next: self.free_entry, owners: Holders::List(None), count: 0 };
        self.free_entry = Some(entry);
    }

    /// Makes the list of a token's owners a set, if there is one left.
    fn share(&mut self, entry: EntryId) {
        let (Some(set), Holders::List(_)) = (self.free_set, self.entries[entry].owners) else { return };
        self.free_set = self.sets[set].next_free;
        self.sets[set] = Shared { slots: self.holders(self.entries[entry].owners), next_free: None };
        self.entries[entry].owners = Holders::Set(set);
    }

    pub(super) fn memory(&self) -> usize {
        self.buckets.memory() + self.entries.memory() + self.nodes.memory() + self.sets.memory()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::vec::Vec;

    use super::*;

    /// Who has which token, kept in the plainest way: the tokens of each candidate, the last first, and the common ones.
    #[derive(Default)]
    struct Model {
        tokens: BTreeMap<usize, Vec<u64>>,
        common: BTreeSet<u64>,
    }

    impl Model {
        fn owners(&self, hash: u64) -> BTreeSet<usize> {
            self.tokens.iter().filter(|(_, tokens)| tokens.contains(&hash)).map(|(slot, _)| *slot).collect()
        }

        fn of(&self, hash: u64) -> BTreeSet<usize> {
            if self.common.contains(&hash) { BTreeSet::new() } else { self.owners(hash) }
        }
    }

    /// Tokens are given and taken in a mixed order; many have the same few, so that lists become sets, and sets become common.
    #[test]
    fn owners_are_those_of_the_plainest_model() {
        let (mut owners, mut model) = (Owners::new(), Model::default());
        let mut first: BTreeMap<usize, NodeId> = BTreeMap::new();
        let mut random = 7u64;
        for step in 0..9_000u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let index = (random >> 33) as usize % 400;
            let slot = Slot::at(index).unwrap();
            // Of two tokens that fall into the same bucket, and others of which some are frequent.
            let hash = [1, 1 + 32_768, (random >> 50) % 6, (random >> 40) % 3000][(random >> 60) as usize % 4];
            if step % 3000 < 2600 {
                match owners.give(hash, slot, first.get(&index).copied()) {
                    Given::New(node) => {
                        first.insert(index, node);
                        model.tokens.entry(index).or_default().insert(0, hash);
                    }
                    Given::Unchanged => {
                        let known = model.owners(hash);
                        if !known.contains(&index) {
                            assert_eq!(known.len(), usize::from(MAX_OWNERS));
                            model.common.insert(hash);
                        }
                    }
                    Given::NoRoom => panic!("there is room"),
                }
            } else if let Some(mut node) = first.remove(&index) {
                while let Some(next) = owners.take(node) {
                    node = next;
                }
                model.tokens.remove(&index);
                let gone: Vec<_> = model.common.iter().copied().filter(|hash| model.owners(*hash).is_empty()).collect();
                gone.iter().for_each(|hash| assert!(model.common.remove(hash)));
            }
            let shown: BTreeSet<_> = owners.of(hash).iter().map(Id::index).collect();
            assert_eq!(shown, model.of(hash), "step {step}");
            let tokens: Vec<_> = owners.tokens(first.get(&index).copied()).collect();
            assert_eq!(tokens, model.tokens.get(&index).cloned().unwrap_or_default(), "step {step}");
        }
        assert!(!model.common.is_empty(), "some became common");
    }

    #[test]
    fn without_room_nothing_is_given_and_what_is_taken_makes_room() {
        let mut owners = Owners::new();
        let slot = Slot::FIRST;
        let mut nodes = Vec::new();
        for hash in 0..EntryId::COUNT as u64 {
            match owners.give(hash, slot, nodes.last().copied()) {
                Given::New(node) => nodes.push(node),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(owners.give(1 << 40, slot, None), Given::NoRoom);
        for node in nodes.iter().rev() {
            owners.take(*node);
        }
        assert!((0..EntryId::COUNT as u64).all(|hash| owners.of(hash).is_empty()));
        assert!(matches!(owners.give(1 << 40, slot, None), Given::New(_)));
    }
}

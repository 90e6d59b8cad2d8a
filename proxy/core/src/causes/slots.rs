//! Sets of candidates, as one bit for each slot.
//!
//! "Who has this token", "who has not done this yet" and "who was heard of a moment ago" are sets, so they are combined by
//! `&`; one that is left is an answer.

use alloc::vec;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::ops::{BitAnd, BitAndAssign, BitOr};

use super::table::{Id, id};

/// The most candidates that are known at once.
pub(super) const SLOTS: usize = 1024;

const WORDS: usize = SLOTS / 64;

id! {
    /// The place of a candidate.
    Slot < SLOTS
}

impl Slot {
    pub(super) const FIRST: Self = Self(core::num::NonZero::<u16>::MIN);

    pub(super) fn all() -> impl DoubleEndedIterator<Item = Self> {
        (0..SLOTS).filter_map(Self::at)
    }

    fn word(self) -> usize {
        self.index() / 64
    }

    fn bit(self) -> u64 {
        1 << (self.index() % 64)
    }
}

/// A set of slots.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct SlotSet([u64; WORDS]);

impl SlotSet {
    pub(super) const EMPTY: Self = Self([0; WORDS]);

    pub(super) fn one(slot: Slot) -> Self {
        let mut set = Self::EMPTY;
        set.insert(slot);
        set
    }

    pub(super) fn insert(&mut self, slot: Slot) {
        if let Some(word) = self.0.get_mut(slot.word()) {
            *word |= slot.bit();
        }
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        if let Some(word) = self.0.get_mut(slot.word()) {
            *word &= !slot.bit();
        }
    }

    pub(super) fn contains(&self, slot: Slot) -> bool {
        self.0.get(slot.word()).is_some_and(|word| word & slot.bit() != 0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Whether the two have a slot in common.
    pub(super) fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(one, other)| one & other != 0)
    }

    /// What is in this set and not in the other.
    pub(super) fn minus(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(&other.0).for_each(|(one, other)| *one &= !other);
        self
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones()).sum::<u32>().try_into().unwrap_or(usize::MAX)
    }

    /// Whether there are two or more.
    pub(super) fn is_several(&self) -> bool {
        let mut some = false;
        for word in self.0.iter().filter(|word| **word != 0) {
            if some || !word.is_power_of_two() {
                return true;
            }
            some = true;
        }
        false
    }

    /// The slot in the set, if there is exactly one.
    pub(super) fn single(&self) -> Option<Slot> {
        if self.is_several() { None } else { self.iter().next() }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Slot> {
        (0..).step_by(64).zip(self.0).flat_map(|(base, word)| Bits(word).filter_map(move |bit| Slot::at(base + bit)))
    }
}

impl BitAnd for SlotSet {
    type Output = Self;

    fn bitand(mut self, other: Self) -> Self {
        self &= other;
        self
    }
}

impl BitAndAssign for SlotSet {
    fn bitand_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(one, other)| *one &= other);
    }
}

impl BitOr for SlotSet {
    type Output = Self;

    fn bitor(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(one, other)| *one |= other);
        self
    }
}

/// The numbers of the bits of a word that are set.
pub(super) struct Bits(pub(super) u64);

impl Iterator for Bits {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros();
        self.0 &= self.0 - 1;
        usize::try_from(bit).ok()
    }
}

/// A set of slots for each id. A slot is removed from all of them quickly, because the words that may hold its bit are side by
/// side.
pub(super) struct SetTable<I> {
    /// For each word of a set, that word of all sets.
    words: Vec<u64>,
    read_by: PhantomData<I>,
}

impl<I: Id> SetTable<I> {
    /// The words in a row, and a few more so that the words of one set are not all in the same line of the processor's cache.
    const ROW: usize = I::COUNT + 8;

    pub(super) fn new() -> Self {
        Self { words: vec![0; WORDS * Self::ROW], read_by: PhantomData }
    }

    pub(super) fn get(&self, id: I) -> SlotSet {
        let mut set = SlotSet::EMPTY;
        set.0.iter_mut().zip(self.words.iter().skip(id.index()).step_by(Self::ROW)).for_each(|(to, from)| *to = *from);
        set
    }

    pub(super) fn set(&mut self, id: I, set: &SlotSet) {
        self.words.iter_mut().skip(id.index()).step_by(Self::ROW).zip(&set.0).for_each(|(to, from)| *to = *from);
    }

    pub(super) fn contains(&self, id: I, slot: Slot) -> bool {
        self.words.get(slot.word() * Self::ROW + id.index()).is_some_and(|word| word & slot.bit() != 0)
    }

    pub(super) fn insert(&mut self, id: I, slot: Slot) {
        if let Some(word) = self.words.get_mut(slot.word() * Self::ROW + id.index()) {
            *word |= slot.bit();
        }
    }

    pub(super) fn insert_all(&mut self, id: I, set: &SlotSet) {
        self.words.iter_mut().skip(id.index()).step_by(Self::ROW).zip(&set.0).for_each(|(to, from)| *to |= *from);
    }

    /// Removes a slot from all sets.
    pub(super) fn remove_from_all(&mut self, slot: Slot) {
        let keep = !slot.bit();
        self.words.iter_mut().skip(slot.word() * Self::ROW).take(Self::ROW).for_each(|word| *word &= keep);
    }

    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.words)
    }
}

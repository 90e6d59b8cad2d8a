//! The steps of work: it arrived, as one of a class, or sent a command of a template.

use super::slots::Bits;
use super::table::{Id, id};

id! {
    /// A template of commands: a name, and a key or channel without what varies.
    TemplateId < 256
}

id! {
    /// A class of requests or messages: a method and a path, or a channel, without what varies.
    ClassId < 128
}

/// What somebody did last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Step {
    /// Nothing that could be told apart.
    #[default]
    Unknown,
    /// It came, as one of this class.
    Arrived(ClassId),
    /// It sent a command of this template.
    Sent(TemplateId),
}

/// A set of templates or of classes, with a bit for each.
#[derive(Clone, Copy)]
pub(super) struct IdSet<const WORDS: usize>([u64; WORDS]);

pub(super) type TemplateSet = IdSet<{ TemplateId::COUNT / 64 }>;
pub(super) type ClassSet = IdSet<{ ClassId::COUNT / 64 }>;

impl<const WORDS: usize> IdSet<WORDS> {
    pub(super) const EMPTY: Self = Self([0; WORDS]);

    /// Adds one, and returns whether it was not there before.
    pub(super) fn insert(&mut self, id: impl Id) -> bool {
        let is_new = !self.contains(id);
        if let Some(word) = self.0.get_mut(id.index() / 64) {
            *word |= 1 << (id.index() % 64);
        }
        is_new
    }

    pub(super) fn remove(&mut self, id: impl Id) {
        if let Some(word) = self.0.get_mut(id.index() / 64) {
            *word &= !(1 << (id.index() % 64));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(super) fn contains(&self, id: impl Id) -> bool {
        self.0.get(id.index() / 64).is_some_and(|word| word & 1 << (id.index() % 64) != 0)
    }

    pub(super) fn iter<I: Id>(&self) -> impl Iterator<Item = I> + use<I, WORDS> {
        (0..).step_by(64).zip(self.0).flat_map(|(base, word)| Bits(word).filter_map(move |bit| I::at(base + bit)))
    }
}

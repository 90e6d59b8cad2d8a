//! Tables of a fixed size, each read by an id of its own type.

use alloc::boxed::Box;
use alloc::vec;
use core::marker::PhantomData;
use core::ops::{Index, IndexMut};

/// The number of a place in the tables that are read by it.
pub(super) trait Id: Copy {
    /// The number of places.
    const COUNT: usize;

    /// The place's index, below [`COUNT`](Id::COUNT).
    fn index(self) -> usize;

    /// The place with this index, if there is one.
    fn at(index: usize) -> Option<Self>;
}

/// Defines an id. It is a number from 1 on, so that an `Option` of it takes no more room.
macro_rules! id {
    ($(#[$attribute:meta])* $name:ident < $count:expr) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) struct $name(core::num::NonZero<u16>);

        impl $crate::causes::table::Id for $name {
            const COUNT: usize = $count;

            fn index(self) -> usize {
                usize::from(self.0.get() - 1)
            }

            fn at(index: usize) -> Option<Self> {
                if index >= $count {
                    return None;
                }
                u16::try_from(index + 1).ok().and_then(core::num::NonZero::new).map(Self)
            }
        }
    };
}
pub(super) use id;

/// A value for each id. The memory is taken when the table is made.
pub(super) struct Table<I, T> {
    places: Box<[T]>,
    read_by: PhantomData<I>,
}

impl<I: Id, T: Clone> Table<I, T> {
    pub(super) fn new(value: T) -> Self {
        Self { places: vec![value; I::COUNT].into_boxed_slice(), read_by: PhantomData }
    }

    /// Where a hash is, or can be put, in a table from which nothing is ever removed: the first place behind its own that `fits`.
    pub(super) fn probe(&self, hash: u64, fits: impl Fn(&T) -> bool) -> Option<I> {
        let start = usize::try_from(hash).unwrap_or_default() % I::COUNT;
        (start..I::COUNT).chain(0..start).filter_map(I::at).find(|place| fits(&self[*place]))
    }

    /// The bytes that the table takes.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.places)
    }
}

impl<I, T> Table<I, T> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut()
    }
}

impl<I: Id, T> Table<I, T> {
    pub(super) fn ids(&self) -> impl Iterator<Item = I> + use<I, T> {
        (0..I::COUNT).filter_map(I::at)
    }

    /// Chains all places, so that they can be taken one by one, and returns the first.
    pub(super) fn chain(&mut self, set_next: impl Fn(&mut T, Option<I>)) -> Option<I> {
        let mut first = None;
        for id in (0..I::COUNT).rev().filter_map(I::at) {
            set_next(&mut self[id], first);
            first = Some(id);
        }
        first
    }
}

impl<I: Id, T> Index<I> for Table<I, T> {
    type Output = T;

    #[expect(clippy::indexing_slicing, reason = "an id is below the number of places")]
    fn index(&self, id: I) -> &T {
        &self.places[id.index()]
    }
}

impl<I: Id, T> IndexMut<I> for Table<I, T> {
    #[expect(clippy::indexing_slicing, reason = "an id is below the number of places")]
    fn index_mut(&mut self, id: I) -> &mut T {
        &mut self.places[id.index()]
    }
}

id! {
    /// A place of the hints of an index.
    Hint < 1024
}

/// Finds an id by its hash.
pub(super) struct HashIndex<I> {
    /// The hash of each id; 0 is free.
    hashes: Table<I, u64>,
    /// Where a hash may be, by its lowest bits.
    hints: Table<Hint, Option<I>>,
}

impl<I: Id> HashIndex<I> {
    pub(super) fn new() -> Self {
        Self { hashes: Table::new(0), hints: Table::new(None) }
    }

    pub(super) fn find(&mut self, hash: u64) -> Option<I> {
        let hint = Hint::at(usize::try_from(hash).unwrap_or_default() % Hint::COUNT)?;
        if let Some(id) = self.hints[hint].filter(|id| self.hashes[*id] == hash) {
            return Some(id);
        }
        self.hints[hint] = self.hashes.iter().position(|known| *known == hash).and_then(I::at);
        self.hints[hint]
    }

    pub(super) fn is_free(&self, id: I) -> bool {
        self.hashes[id] == 0
    }

    pub(super) fn set(&mut self, id: I, hash: u64) {
        self.hashes[id] = hash;
    }

    pub(super) fn memory(&self) -> usize {
        self.hashes.memory() + self.hints.memory()
    }
}

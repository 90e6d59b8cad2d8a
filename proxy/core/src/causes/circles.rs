//! Circles: a service that publishes to itself, and publishes again because of the message.
//!
//! Each turn has a cause, so its trace would never end. After some turns a publish gets no cause and begins another trace.

use super::table::{Id, Table, id};

/// Turns of a circle after which it is cut.
const MAX_TURNS: u8 = 32;

id! {
    /// A place for a publish.
    Place < 1024
}

/// The last publishes of the service that came of a message that the service had published itself.
pub(super) struct Circles {
    publishes: Table<Place, (u64, u8)>,
}

impl Circles {
    pub(super) fn new() -> Self {
        Self { publishes: Table::new((0, 0)) }
    }

    /// The turns that lie behind a message that came from this publish: 0 if it is not one of the service.
    pub(super) fn behind(&self, publish: Option<u64>) -> u8 {
        let known = publish.and_then(Self::place).map(|place| self.publishes[place]);
        known.filter(|(id, _)| Some(*id) == publish).map_or(0, |(_, turns)| turns)
    }

    /// Notes a publish, behind whose cause there are that many turns. Returns whether the circle is cut here.
    pub(super) fn publish(&mut self, id: u64, turns: u8) -> bool {
        let cut = turns >= MAX_TURNS;
        if let Some(place) = Self::place(id) {
            self.publishes[place] = (id, if cut { 1 } else { turns + 1 });
        }
        cut
    }

    fn place(id: u64) -> Option<Place> {
        // Ids may be random or successive.
        Place::at(usize::try_from(id ^ id >> 32).unwrap_or_default() % Place::COUNT)
    }

    pub(super) fn memory(&self) -> usize {
        self.publishes.memory()
    }
}

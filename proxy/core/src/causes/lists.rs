//! Lists of candidates in the order of time. Each link is kept with its slot, so that one can leave in the middle.

use super::slots::Slot;
use super::table::Table;

/// The links of several lists. A slot is in at most one of them.
pub(super) struct Lists {
    links: Table<Slot, Link>,
}

/// One of the lists: its first and its last slot.
#[derive(Clone, Copy, Default)]
pub(super) struct List {
    ends: Option<(Slot, Slot)>,
}

#[derive(Clone, Copy, Default)]
struct Link {
    previous: Option<Slot>,
    next: Option<Slot>,
}

impl List {
    pub(super) fn first(self) -> Option<Slot> {
        self.ends.map(|(first, _)| first)
    }
}

impl Lists {
    pub(super) fn new() -> Self {
        Self { links: Table::new(Link::default()) }
    }

    pub(super) fn next(&self, slot: Slot) -> Option<Slot> {
        self.links[slot].next
    }

    pub(super) fn push(&mut self, list: &mut List, slot: Slot) {
        let previous = list.ends.map(|(_, last)| last);
        self.links[slot] = Link { previous, next: None };
        if let Some(last) = previous {
            self.links[last].next = Some(slot);
        }
        list.ends = Some((list.first().unwrap_or(slot), slot));
    }

    /// Removes a slot from the list in which it is.
    pub(super) fn remove(&mut self, list: &mut List, slot: Slot) {
        let Some((first, last)) = list.ends else { return };
        let Link { previous, next } = core::mem::take(&mut self.links[slot]);
        if let Some(previous) = previous {
            self.links[previous].next = next;
        }
        if let Some(next) = next {
            self.links[next].previous = previous;
        }
        let first = if first == slot { next } else { Some(first) };
        let last = if last == slot { previous } else { Some(last) };
        list.ends = first.zip(last);
    }

    pub(super) fn memory(&self) -> usize {
        self.links.memory()
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn what_is_pushed_comes_out_in_order_whatever_was_removed() {
        let slots: Vec<_> = Slot::all().take(5).collect();
        for removed in 0..5 {
            let (mut lists, mut list) = (Lists::new(), List::default());
            slots.iter().for_each(|slot| lists.push(&mut list, *slot));
            lists.remove(&mut list, slots[removed]);
            lists.push(&mut list, slots[removed]);
            let mut order = Vec::new();
            while let Some(slot) = list.first() {
                lists.remove(&mut list, slot);
                order.push(slot);
            }
            let mut expected = slots.clone();
            let moved = expected.remove(removed);
            expected.push(moved);
            assert_eq!(order, expected);
        }
    }
}

//! The items of queues that have passed, by the spans that follow from what names them.

use std::collections::{HashSet, VecDeque};

use redistributed_core::service::Passage;
use redistributed_core::trace::SpanId;

/// The most items of each way that are remembered. With more the oldest is forgotten.
const MAX_ITEMS: usize = 8192;

/// The items that a service has added to queues and taken out of them lately.
#[derive(Debug, Default)]
pub(super) struct Seen {
    added: Items,
    taken: Items,
}

#[derive(Debug, Default)]
struct Items {
    known: HashSet<SpanId>,
    by_age: VecDeque<SpanId>,
}

impl Seen {
    /// Remembers an item. Returns whether it is not remembered already.
    pub(super) fn is_first(&mut self, item: SpanId, passage: Passage) -> bool {
        let items = match passage {
            Passage::Added => &mut self.added,
            Passage::Taken => &mut self.taken,
        };
        if !items.known.insert(item) {
            return false;
        }
        if items.by_age.len() >= MAX_ITEMS
            && let Some(oldest) = items.by_age.pop_front()
        {
            items.known.remove(&oldest);
        }
        items.by_age.push_back(item);
        true
    }

    /// Forgets an item that was not added after all.
    pub(super) fn not_added(&mut self, item: SpanId) {
        if self.added.known.remove(&item) {
            self.added.by_age.retain(|known| *known != item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_added_after_all_is_the_first_when_it_is_added() {
        let mut seen = Seen::default();
        let [one, other] = [1, 2].map(|number| SpanId::from_u64(number).unwrap());
        assert!(seen.is_first(one, Passage::Added) && seen.is_first(other, Passage::Added));
        assert!(seen.is_first(one, Passage::Taken));
        seen.not_added(one);
        assert!(!seen.is_first(other, Passage::Added) && seen.is_first(one, Passage::Added));
        assert!(!seen.is_first(one, Passage::Taken));
        assert_eq!(seen.added.by_age.len(), 2);
    }

    #[test]
    fn an_item_is_the_first_once_in_each_way_until_many_others_have_passed() {
        let mut seen = Seen::default();
        let item = |number: usize| SpanId::from_u64(number as u64 + 1).unwrap();
        for passage in [Passage::Added, Passage::Taken] {
            assert!(seen.is_first(item(0), passage) && !seen.is_first(item(0), passage));
            assert!((1..MAX_ITEMS).all(|number| seen.is_first(item(number), passage)));
            assert!(!seen.is_first(item(0), passage), "there is room for all");
            assert!(seen.is_first(item(MAX_ITEMS), passage) && seen.is_first(item(0), passage));
        }
        assert_eq!((seen.added.known.len(), seen.added.by_age.len()), (MAX_ITEMS, MAX_ITEMS));
    }
}

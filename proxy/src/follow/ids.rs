//! The elements of lists that are nothing but an id, as far as is known whether they wait in their queues.
//!
//! Such an element is added again when its job is tried again. So an id is believed to come from an addition only if everything
//! that was told of it leaves no other one. An id is in one of these states, or nothing is known of it:
//!
//! | state | what has happened | what the service takes then has |
//! |---|---|---|
//! | `Adding` | this service adds it, and has not heard its own notice yet | that context, if it comes soon (`PATIENCE`) |
//! | `Added` | one addition was told, and nobody has told that he has taken it | the context of that addition |
//! | `Taken` | it was taken before its addition was told | no context |
//! | `Unclear` | two additions without a take between them, two takes without an addition, a lost connection | no context |
//!
//! Whoever adds an id again also tells whether it is [clear](Ids::adds) to him that the addition before was taken. What is
//! `Unclear` stays so until it is forgotten.
//!
//! This is as certain as what is told is whole. Three things are not seen here: a worker without a proxy that takes an id and
//! adds it again, a proxy that ends before it has told what it saw, and another service that adds an id whose addition was not
//! told while it is in the queue, or within [`PATIENCE`](super::arrivals::PATIENCE) of its being taken.

use std::collections::{HashMap, VecDeque};

use redistributed_core::carrier::out_of_band::Turn;
use redistributed_core::service::Told;
use redistributed_core::trace::{Context, SpanId, TraceId, UnixNanos};

/// An item, by its name and the number of its Redis.
pub(super) type Item = (u64, TraceId);

/// The most ids of which something is known.
const MAX_IDS: usize = 32_768;

/// How long something is known of an id, in nanoseconds.
const KEPT: u64 = 600_000_000_000;

/// What is known of ids, in one service.
#[derive(Debug, Default)]
pub(super) struct Ids {
    known: HashMap<Item, (UnixNanos, State)>,
    /// When something became known of an id. What has changed since is passed over.
    by_age: VecDeque<(UnixNanos, Item)>,
}

#[derive(Debug, PartialEq)]
enum State {
    /// The span with this id adds it.
    Adding(SpanId),
    /// Its addition was told.
    Added(Context),
    /// It was taken before its addition was told: by this service, which waits for its context, or else by another one or long ago.
    Taken { waits: bool },
    /// The service has taken it, and its addition was told before its span could wait.
    Given(Context),
    /// Nobody can tell which addition it comes from.
    Unclear,
}

/// What a notice says of the delivery that waits for the context of an id.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// It has this context.
    Found(Context),
    /// It has none.
    Unclear,
    /// The notice is of no delivery that waits.
    Kept,
}

impl Ids {
    /// The service adds an id by the span with this id. Returns whether the addition before, if there was one, was taken for
    /// certain.
    pub(super) fn adds(&mut self, now: UnixNanos, item: Item, by: SpanId) -> bool {
        let is_clear = !self.known.contains_key(&item);
        self.set(now, item, if is_clear { State::Adding(by) } else { State::Unclear });
        is_clear
    }

    /// An id was not added after all.
    pub(super) fn not_added(&mut self, item: Item) {
        if matches!(self.known.get(&item), Some((_, State::Adding(_)))) {
            self.known.remove(&item);
        }
    }

    /// The service takes an id.
    pub(super) fn takes(&mut self, now: UnixNanos, item: Item) -> Told {
        match self.known.remove(&item) {
            Some((_, State::Added(context))) => return Told::Context(context),
            None | Some((_, State::Adding(_))) => self.set(now, item, State::Taken { waits: true }),
            Some(_) => {
                self.set(now, item, State::Unclear);
                return Told::Nothing;
            }
        }
        Told::NothingYet
    }

    /// A delivery that was [taken](Self::takes) may wait for its context. Returns that if it has come since.
    pub(super) fn waits(&mut self, item: Item) -> Told {
        match self.known.get(&item) {
            Some((_, State::Given(context))) => {
                let context = context.clone();
                self.known.remove(&item);
                Told::Context(context)
            }
            Some((_, State::Taken { waits: true })) => Told::NothingYet,
            _ => Told::Nothing,
        }
    }

    /// A delivery waits no longer: the context of its addition has not come in time.
    pub(super) fn waits_no_longer(&mut self, item: Item) {
        if let Some((_, state @ State::Taken { .. })) = self.known.get_mut(&item) {
            *state = State::Taken { waits: false };
        }
    }

    /// A proxy has told what happens to an id. `has_delivery` says that one of this service waits for its context.
    pub(super) fn heard(
        &mut self,
        now: UnixNanos,
        item: Item,
        turn: Turn,
        context: Context,
        has_delivery: bool,
    ) -> Outcome {
        let state = self.known.remove(&item).map(|(_, state)| state);
        let next = match (turn, state) {
            (Turn::Added, None) => State::Added(context),
            (Turn::Added, Some(State::Adding(by))) if context.span.span_id == by => State::Added(context),
            (Turn::Added, Some(State::Added(known))) if known == context => State::Added(known),
            (Turn::Added, Some(State::Taken { waits: true })) if has_delivery => return Outcome::Found(context),
            (Turn::Added, Some(State::Taken { waits: true })) => State::Given(context),
            (Turn::Added, Some(State::Taken { waits: false })) | (Turn::Taken, Some(State::Added(_))) => {
                return Outcome::Kept;
            }
            (Turn::Taken, None | Some(State::Adding(_))) => State::Taken { waits: false },
            _ => State::Unclear,
        };
        let outcome = if next == State::Unclear { Outcome::Unclear } else { Outcome::Kept };
        self.set(now, item, next);
        outcome
    }

    /// Some of what has happened to ids at this Redis was not told, or was not heard; or at any Redis if none is named.
    pub(super) fn missed(&mut self, now: UnixNanos, redis: Option<u64>) {
        let is_concerned = |(item, (_, state)): &(&Item, &(UnixNanos, State))| {
            redis.is_none_or(|redis| item.0 == redis) && *state != State::Unclear
        };
        let known: Vec<_> = self.known.iter().filter(is_concerned).map(|(item, _)| *item).collect();
        known.into_iter().for_each(|item| self.set(now, item, State::Unclear));
    }

    /// Forgets what became known long ago.
    pub(super) fn forget_old(&mut self, now: UnixNanos) {
        while let Some(&(since, _)) = self.by_age.front().filter(|(since, _)| now.0.saturating_sub(since.0) >= KEPT) {
            self.forget_oldest(since);
        }
    }

    fn set(&mut self, now: UnixNanos, item: Item, state: State) {
        while self.by_age.len() >= MAX_IDS
            && let Some(&(since, _)) = self.by_age.front()
        {
            self.forget_oldest(since);
        }
        self.by_age.push_back((now, item));
        self.known.insert(item, (now, state));
    }

    fn forget_oldest(&mut self, since: UnixNanos) {
        if let Some((_, item)) = self.by_age.pop_front()
            && self.known.get(&item).is_some_and(|(known, _)| *known == since)
        {
            self.known.remove(&item);
        }
    }
}

#[cfg(test)]
mod tests {
    use redistributed_core::trace::SpanContext;

    use super::*;

    const NOW: UnixNanos = UnixNanos(1_000_000_000);

    fn context(id: u64) -> Context {
        let text = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{id:016x}-01");
        SpanContext::parse_traceparent(text.as_bytes()).unwrap().into()
    }

    fn span(id: u64) -> SpanId {
        context(id).span.span_id
    }

    fn item() -> Item {
        (1, context(1).span.trace_id)
    }

    /// A proxy that reads the queue.
    #[derive(Default)]
    struct Reader(Ids);

    impl Reader {
        fn added(&mut self, by: u64) -> Outcome {
            self.0.heard(NOW, item(), Turn::Added, context(by), true)
        }

        fn added_unclear(&mut self, by: u64) -> Outcome {
            self.0.heard(NOW, item(), Turn::AddedUnclear, context(by), true)
        }

        fn taken_elsewhere(&mut self) -> Outcome {
            self.0.heard(NOW, item(), Turn::Taken, context(99), true)
        }

        fn takes(&mut self) -> Told {
            self.0.takes(NOW, item())
        }

        fn adds(&mut self, by: u64) -> bool {
            self.0.adds(NOW, item(), span(by))
        }
    }

    #[test]
    fn each_try_belongs_to_the_addition_before_it() {
        let mut reader = Reader::default();
        assert_eq!(reader.added(1), Outcome::Kept);
        assert_eq!(reader.takes(), Told::Context(context(1)));
        for retry in 2..5 {
            assert!(reader.adds(retry), "it was taken by this service");
            assert_eq!(reader.added(retry), Outcome::Kept);
            assert_eq!(reader.takes(), Told::Context(context(retry)));
        }
        assert!(reader.0.known.is_empty());
    }

    #[test]
    fn a_try_that_another_service_has_taken_is_over() {
        let mut reader = Reader::default();
        reader.added(1);
        reader.taken_elsewhere();
        reader.added(2);
        assert_eq!(reader.takes(), Told::Context(context(2)));
        // The same where the take is heard of first.
        reader.taken_elsewhere();
        assert_eq!(reader.added(3), Outcome::Kept);
        assert!(reader.0.known.is_empty(), "that one is gone");
        reader.added(4);
        assert_eq!(reader.takes(), Told::Context(context(4)));
    }

    #[test]
    fn of_two_additions_without_a_take_between_them_nobody_can_tell_which_is_taken() {
        for repeat in [Reader::added, Reader::added_unclear] {
            let mut reader = Reader::default();
            reader.added(1);
            assert_eq!(repeat(&mut reader, 2), Outcome::Unclear);
            assert_eq!((reader.takes(), reader.takes()), (Told::Nothing, Told::Nothing));
            reader.added(3);
            assert_eq!(reader.takes(), Told::Nothing, "it stays like that");
        }
        let mut reader = Reader::default();
        assert_eq!(reader.added_unclear(1), Outcome::Unclear);
        assert_eq!(reader.takes(), Told::Nothing);
        let mut same = Reader::default();
        same.added(1);
        assert_eq!(same.added(1), Outcome::Kept, "a notice may come twice");
        assert_eq!(same.takes(), Told::Context(context(1)));
    }

    #[test]
    fn who_adds_an_id_says_whether_it_is_clear_that_the_addition_before_was_taken() {
        let mut api = Reader::default();
        assert!(api.adds(1));
        assert!(!api.adds(2), "nobody has told that it was taken");
        let mut sees_another = Reader::default();
        sees_another.added(1);
        assert!(!sees_another.adds(2));
        let mut has_taken_untold = Reader::default();
        assert_eq!(has_taken_untold.takes(), Told::NothingYet);
        assert!(!has_taken_untold.adds(2), "the notice of the first addition may still come");
        assert_eq!(has_taken_untold.added_unclear(2), Outcome::Unclear);
        assert_eq!(has_taken_untold.added(1), Outcome::Unclear);
        assert_eq!(has_taken_untold.takes(), Told::Nothing);
        let mut refused = Reader::default();
        assert!(refused.adds(1));
        refused.0.not_added(item());
        assert!(refused.adds(2), "Redis has not added it");
    }

    #[test]
    fn the_context_of_an_id_may_come_behind_it() {
        let mut reader = Reader::default();
        assert_eq!(reader.takes(), Told::NothingYet);
        assert_eq!(reader.0.waits(item()), Told::NothingYet);
        assert_eq!(reader.added(1), Outcome::Found(context(1)));
        assert!(reader.0.known.is_empty());
        // Its own addition, which is taken at once.
        assert!(reader.adds(2));
        assert_eq!(reader.takes(), Told::NothingYet);
        assert_eq!(reader.added(2), Outcome::Found(context(2)));
    }

    #[test]
    fn a_context_that_comes_between_the_question_and_the_delivery_is_given() {
        let mut reader = Reader::default();
        assert_eq!(reader.takes(), Told::NothingYet);
        assert_eq!(reader.0.heard(NOW, item(), Turn::Added, context(1), false), Outcome::Kept);
        assert_eq!(reader.0.waits(item()), Told::Context(context(1)));
        assert_eq!(reader.0.waits(item()), Told::Nothing);
    }

    #[test]
    fn a_context_that_comes_too_late_is_of_nobody() {
        let mut reader = Reader::default();
        reader.takes();
        reader.0.waits_no_longer(item());
        assert_eq!(reader.added(1), Outcome::Kept);
        assert!(reader.0.known.is_empty(), "it was that of the id that was taken");
        reader.takes();
        reader.0.waits_no_longer(item());
        assert_eq!(reader.takes(), Told::Nothing, "two were taken, and none was told");
        reader.added(2);
        assert_eq!(reader.takes(), Told::Nothing);
    }

    #[test]
    fn two_that_take_the_same_id_have_no_context() {
        let mut reader = Reader::default();
        reader.takes();
        assert_eq!(reader.taken_elsewhere(), Outcome::Unclear);
        assert_eq!(reader.added(1), Outcome::Unclear);
    }

    #[test]
    fn an_addition_of_another_service_is_not_that_of_this_one() {
        let mut reader = Reader::default();
        assert!(reader.adds(1));
        assert_eq!(reader.added(2), Outcome::Unclear);
        assert_eq!(reader.takes(), Told::Nothing);
    }

    #[test]
    fn what_was_not_heard_makes_all_unclear_that_was_known() {
        let mut reader = Reader::default();
        reader.added(1);
        reader.0.missed(NOW, Some(2));
        assert!(matches!(reader.0.known.get(&item()), Some((_, State::Added(_)))), "that was another Redis");
        reader.0.missed(NOW, Some(1));
        assert_eq!(reader.takes(), Told::Nothing);
        let mut paused = Reader::default();
        paused.added(1);
        paused.0.missed(NOW, None);
        assert_eq!(paused.takes(), Told::Nothing);
    }

    #[test]
    fn ids_are_forgotten_by_age_and_by_number() {
        let mut reader = Reader::default();
        reader.added(1);
        reader.0.forget_old(UnixNanos(NOW.0 + KEPT - 1));
        assert_eq!(reader.0.known.len(), 1);
        reader.0.set(UnixNanos(NOW.0 + KEPT - 1), item(), State::Unclear);
        reader.0.forget_old(UnixNanos(NOW.0 + KEPT));
        assert_eq!(reader.0.known.len(), 1, "something has changed since");
        reader.0.forget_old(UnixNanos(NOW.0 + 2 * KEPT));
        assert_eq!((reader.0.known.len(), reader.0.by_age.len()), (0, 0));
        for number in 0..=MAX_IDS as u64 {
            reader.0.set(NOW, (number, item().1), State::Unclear);
        }
        assert_eq!((reader.0.known.len(), reader.0.by_age.len()), (MAX_IDS, MAX_IDS));
    }
}

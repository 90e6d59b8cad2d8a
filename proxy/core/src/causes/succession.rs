//! What follows what: a command often comes a moment after another, or after the reply to it, of the same cause.

use super::evidence::{Evidence, Held};
use super::steps::Step;

/// The times, in microseconds, within which one may follow the other.
pub(super) const WITHIN: [u64; 7] = [500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000];

/// How sure it must be that the cause is among those that were heard of in that time.
const SURE: f64 = 0.98;

/// Commands before "every X has one Y" is believed: of what was seen from its beginning, and otherwise.
const EXACT_FROM_BEGINNING: u64 = 32;
const EXACT: u64 = 128;

/// Counts of pending ones that are kept at most, and after how many the least is taken again.
const KEPT: u64 = 1024;
const ROUND: u64 = 64;

/// What is known of a command Y after a step X: how soon it comes, and how many X have had no Y yet.
#[derive(Clone, Copy, Default)]
pub(super) struct Succession {
    /// The step X, after which Y comes.
    pub(super) after: Step,
    within: [Evidence; WITHIN.len()],
    /// How many X are pending when none is: X that were left without a Y for good.
    pub(super) base: i64,
    /// The least number of pending ones in this round.
    least: i64,
    counted: u64,
    /// Since `base` was found, how often a Y was counted, and how often none was pending then.
    stable: u64,
    none_pending: u64,
    /// Whether there was a Y without an X before it, so that they do not belong together in this order.
    contradicted: bool,
}

impl Succession {
    /// X was never noticed before any of the `commands` Y so far.
    pub(super) fn new(after: Step, commands: f32) -> Self {
        Self { after, within: [Evidence::of_misses(commands); WITHIN.len()], ..Self::default() }
    }

    /// The shortest of the times within which it is sure that the cause was heard of.
    pub(super) fn sure_within(&self) -> Option<u64> {
        let sure = |evidence: &Evidence| evidence.sure().is_some_and(|sure| sure >= SURE);
        WITHIN.into_iter().zip(&self.within).find(|(_, evidence)| sure(evidence)).map(|(time, _)| time)
    }

    /// Learns from a Y, of which the cause is known or not.
    pub(super) fn see(&mut self, heard: &HeardOf, cause_is_known: bool) {
        let (mut number, mut maybe) = (0, false);
        for (at, (evidence, within)) in self.within.iter_mut().zip(WITHIN).enumerate() {
            number += heard.number.get(at).copied().map_or(0, usize::from);
            maybe |= heard.maybe.get(at).copied().unwrap_or_default();
            evidence.see(Held::number(number));
            if cause_is_known {
                let right = heard.age_of_cause <= within;
                if right || !maybe {
                    evidence.confirm(right);
                }
            }
        }
    }

    /// Counts how many X are pending after a Y. The least of a round is taken as "none", and believed when it has stood for
    /// some time.
    pub(super) fn count(&mut self, pending: i64) {
        self.contradicted |= pending < 0;
        if pending < self.base {
            self.rebase(pending.max(0));
        }
        self.least = self.least.min(pending);
        self.counted += 1;
        self.stable += 1;
        self.none_pending += u64::from(pending == self.base);
        if self.stable >= KEPT {
            let from_beginning = self.is_from_beginning();
            self.stable /= 2;
            self.none_pending /= 2;
            if from_beginning {
                self.counted = self.stable;
            }
        }
        if self.counted.is_multiple_of(ROUND) {
            if self.least > self.base {
                self.rebase(self.least);
            }
            self.least = pending;
        }
    }

    fn rebase(&mut self, base: i64) {
        self.base = base;
        self.stable = 0;
        self.none_pending = 0;
    }

    fn is_from_beginning(&self) -> bool {
        self.stable == self.counted
    }

    /// Whether every X has exactly one Y.
    pub(super) fn is_exact(&self) -> bool {
        let enough = if self.is_from_beginning() { EXACT_FROM_BEGINNING } else { EXACT };
        self.stable >= enough && 5 * self.none_pending >= self.stable && !self.contradicted
    }

    /// Whether mostly nobody had just done X when Y came.
    pub(super) fn is_stale(&self) -> bool {
        self.within.last().is_none_or(Evidence::is_mostly_empty)
    }
}

/// Who has done X and was heard of before a Y: in each of the times, but not in a shorter one.
#[derive(Clone, Copy)]
pub(super) struct HeardOf {
    number: [u8; WITHIN.len()],
    /// Whether unattributed work that may be of the cause was among them.
    maybe: [bool; WITHIN.len()],
    /// How long ago the cause was heard of, if it was among them.
    pub(super) age_of_cause: u64,
}

impl Default for HeardOf {
    fn default() -> Self {
        Self { number: [0; WITHIN.len()], maybe: [false; WITHIN.len()], age_of_cause: u64::MAX }
    }
}

impl HeardOf {
    /// Adds one that was heard of so many microseconds ago. At most [`HEARD`](super::HEARD) are added.
    pub(super) fn add(&mut self, age: u64, may_be_of_cause: bool) {
        let at = WITHIN.iter().position(|within| age <= *within);
        if let Some((number, maybe)) = at.and_then(|at| self.number.get_mut(at).zip(self.maybe.get_mut(at))) {
            *number += 1;
            *maybe |= may_be_of_cause;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(pending: impl IntoIterator<Item = i64>) -> Succession {
        let mut succession = Succession::new(Step::Unknown, 0.0);
        pending.into_iter().for_each(|pending| succession.count(pending));
        succession
    }

    #[test]
    fn every_x_has_one_y_when_often_none_is_pending() {
        assert!(!counted([0; 31]).is_exact());
        assert!(counted([0; 32]).is_exact());
        assert!(counted([0, 1, 2, 1].into_iter().cycle().take(200)).is_exact());
        assert!(!counted([0, 5, 5, 5, 5, 5].into_iter().cycle().take(200)).is_exact(), "too rarely none");
    }

    #[test]
    fn a_y_without_an_x_contradicts_it_for_good() {
        assert!(!counted([-1].into_iter().chain([0; 2000])).is_exact());
    }

    #[test]
    fn what_never_has_a_y_raises_what_counts_as_none() {
        let succession = counted([0; 64].into_iter().chain([3; 300]));
        assert_eq!(succession.base, 3);
        assert!(succession.is_exact());
        assert!(!counted([0; 64].into_iter().chain([3; 200])).is_exact(), "it must stand for some time");
    }

    #[test]
    fn the_shortest_sure_time_is_taken() {
        let mut succession = Succession::new(Step::Unknown, 0.0);
        let mut heard = HeardOf::default();
        heard.add(1_500, false);
        (0..60).for_each(|_| succession.see(&heard, false));
        assert_eq!(succession.sure_within(), Some(2_000));
        assert!(!succession.is_stale());
        let mut other = HeardOf::default();
        other.add(90_000, false);
        (0..600).for_each(|_| succession.see(&other, false));
        assert_eq!(succession.sure_within(), None);
        assert!(succession.is_stale());
    }
}

//! How sure it is that something holds the cause, from what was seen so far.

/// Confirmed cases that are worth more than an estimate.
const CONFIRMED: f32 = 20.0;

/// Cases after which old ones count half.
const HALVED_AT: f32 = 1024.0;

/// Estimated cases that say nothing yet.
const FEW: f32 = 8.0;

/// How sure it is that a set of candidates holds the cause: from cases in which the cause was known, or from how often there is
/// anybody in the set, and how many.
#[derive(Clone, Copy, Default)]
pub(super) struct Evidence {
    seen: f32,
    hit: f32,
    /// How much of the cases counts for nothing, because somebody would probably have been in the set by chance.
    by_chance: f32,
    right: f32,
    wrong: f32,
}

impl Evidence {
    /// Evidence of that many cases in which nobody was in the set.
    pub(super) fn of_misses(cases: f32) -> Self {
        Self { seen: cases, ..Self::default() }
    }

    /// Counts a case in which nobody, one or several were in the set. Returns whether old cases count half from now on.
    pub(super) fn see(&mut self, held: Held) -> bool {
        self.seen += 1.0;
        if held != Held::Nobody {
            self.hit += 1.0;
        }
        if let Held::Several(number) = held {
            self.by_chance += 1.0 - EMPTY.get(usize::from(number)).copied().unwrap_or_default();
        }
        let halve = self.seen >= HALVED_AT;
        if halve {
            for count in [&mut self.seen, &mut self.hit, &mut self.by_chance, &mut self.right, &mut self.wrong] {
                *count /= 2.0;
            }
        }
        halve
    }

    pub(super) fn confirm(&mut self, right: bool) {
        *(if right { &mut self.right } else { &mut self.wrong }) += 1.0;
    }

    /// Whether enough cases were confirmed, so that nothing has to be estimated.
    pub(super) fn is_confirmed(&self) -> bool {
        self.right + self.wrong >= CONFIRMED
    }

    /// A lower bound, as if one more case had spoken against it. Where there are many most of the time, little is learnt.
    pub(super) fn sure(&self) -> Option<f64> {
        let [seen, hit, by_chance, right, wrong] =
            [self.seen, self.hit, self.by_chance, self.right, self.wrong].map(f64::from);
        if self.is_confirmed() {
            return Some(right / (right + wrong + 1.0));
        }
        let told = seen - by_chance;
        if told < f64::from(FEW) { None } else { Some(1.0 - (seen - hit + 1.0) / told) }
    }

    pub(super) fn seen(&self) -> f32 {
        self.seen
    }

    /// Whether there is mostly nobody in the set.
    pub(super) fn is_mostly_empty(&self) -> bool {
        self.seen >= 16.0 && self.hit < 0.5 * self.seen
    }
}

/// How many are in a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Held {
    Nobody,
    One,
    Several(u8),
}

impl Held {
    pub(super) fn number(number: usize) -> Self {
        match number {
            0 => Self::Nobody,
            1 => Self::One,
            _ => Self::Several(u8::try_from(number).unwrap_or(u8::MAX)),
        }
    }
}

/// For each number in a set that holds the cause: how likely the set would be to hold nobody without it, if the others are there
/// by chance. Their number then has a Poisson distribution, so this is `e` to the power of minus that number.
const EMPTY: [f32; 8] = [1.0, 1.0, 0.367_88, 0.135_34, 0.049_79, 0.018_32, 0.006_74, 0.002_48];

/// What is known of a place of a template's tokens.
#[derive(Clone, Copy, Default)]
pub(super) struct PlaceEvidence {
    pub(super) place: u32,
    pub(super) evidence: Evidence,
    /// How often the token was another than before: what never changes tells nothing.
    changes: f32,
    /// Eight bits of the last token's hash, which tell that it changed and not what it was.
    last: u8,
}

impl PlaceEvidence {
    /// Evidence about a place that was never seen.
    pub(super) fn new(place: u32) -> Self {
        Self { place, ..Self::default() }
    }

    pub(super) fn see(&mut self, hash: u64, held: Held) {
        let [last, ..] = hash.to_be_bytes();
        let first = self.evidence.seen() == 0.0;
        if self.evidence.see(held) {
            self.changes /= 2.0;
        }
        if first || last != self.last {
            self.last = last;
            self.changes += 1.0;
        }
    }

    pub(super) fn changes_often(&self) -> bool {
        f64::from(self.changes) >= 0.3 * f64::from(self.evidence.seen())
    }
}

/// The number of intervals that a [`Beat`] remembers.
const INTERVALS: usize = 16;

/// The least intervals that show a period.
const MIN_INTERVALS: usize = 7;

/// The shortest period, in microseconds, that is told from work that is simply frequent.
const MIN_PERIOD: u32 = 10_000;

/// So many commands in a row at regular times show a timer. Until there are so many in a row again, so many others are taken for
/// late ones of it.
const REGULAR: u8 = 8;
const TOLERATED: u8 = 32;

/// Whether the commands of a template are those of a timer, also while the machine stalls and they come at other times.
#[derive(Clone, Copy, Default)]
pub(super) struct Regularity {
    in_a_row: u8,
    tolerated: u8,
}

impl Regularity {
    /// Notes whether a command came at a regular time, and returns whether it may be a timer's.
    pub(super) fn see(&mut self, regular: bool) -> bool {
        if regular {
            self.in_a_row = self.in_a_row.saturating_add(1);
            if self.in_a_row >= REGULAR {
                self.tolerated = TOLERATED;
            }
            return true;
        }
        self.in_a_row = 0;
        let tolerated = self.tolerated > 0;
        self.tolerated = self.tolerated.saturating_sub(1);
        tolerated
    }
}

/// Whether something comes at regular times: most of the last intervals are near their median.
#[derive(Clone, Copy, Default)]
pub(super) struct Beat {
    last: Option<u64>,
    intervals: [u32; INTERVALS],
    next: u8,
    length: u8,
}

impl Beat {
    pub(super) fn see(&mut self, now: u64) {
        if let Some(last) = self.last.replace(now) {
            if let Some(interval) = self.intervals.get_mut(usize::from(self.next)) {
                *interval = u32::try_from(now - last).unwrap_or(u32::MAX);
            }
            self.length = self.length.max(self.next + 1);
            self.next = if usize::from(self.next) + 1 == INTERVALS { 0 } else { self.next + 1 };
        }
    }

    /// The period in microseconds, if there is one.
    pub(super) fn period(&self) -> Option<u32> {
        let length = usize::from(self.length);
        let mut intervals = self.intervals;
        let intervals = intervals.get_mut(..length)?;
        if length < MIN_INTERVALS || intervals.iter().filter(|interval| **interval < MIN_PERIOD).count() > length / 2 {
            return None;
        }
        intervals.sort_unstable();
        let median = *intervals.get(length / 2)?;
        let near = intervals.iter().filter(|interval| interval.abs_diff(median) <= median / 4).count();
        (median >= MIN_PERIOD && 10 * near >= 6 * length).then_some(median)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(cases: &[(Held, usize)], right: usize, wrong: usize) -> Evidence {
        let mut evidence = Evidence::default();
        for (held, times) in cases {
            for _ in 0..*times {
                evidence.see(*held);
            }
        }
        (0..right).for_each(|_| evidence.confirm(true));
        (0..wrong).for_each(|_| evidence.confirm(false));
        evidence
    }

    #[test]
    fn a_few_cases_say_nothing_and_more_are_estimated_as_if_one_spoke_against_it() {
        assert_eq!(after(&[(Held::One, 7)], 0, 0).sure(), None);
        assert_eq!(after(&[(Held::One, 20)], 0, 0).sure(), Some(0.95));
        assert_eq!(after(&[(Held::One, 19), (Held::Nobody, 1)], 0, 0).sure(), Some(0.9));
    }

    #[test]
    fn cases_with_several_say_the_less_the_more_there_are() {
        assert_eq!(after(&[(Held::Several(9), 100), (Held::One, 7)], 0, 0).sure(), None);
        assert_eq!(after(&[(Held::Several(9), 100), (Held::One, 20)], 0, 0).sure(), Some(0.95));
        // Of 54 cases with one more, 54 / e would have been empty without the cause, and of 148 with two more as many.
        for (number, few, enough) in [(2, 21, 55), (3, 59, 149), (4, 160, 403)] {
            assert_eq!(after(&[(Held::Several(number), few)], 0, 0).sure(), None, "{number} at once");
            let sure = after(&[(Held::Several(number), enough)], 0, 0).sure();
            assert!(sure.is_some_and(|sure| (0.95..0.951).contains(&sure)), "{number} at once: {sure:?}");
        }
    }

    #[test]
    fn twenty_confirmed_cases_are_worth_more_than_estimates() {
        assert_eq!(after(&[(Held::One, 100)], 10, 9).sure(), Some(0.99));
        assert_eq!(after(&[(Held::One, 100)], 10, 10).sure(), Some(10.0 / 21.0));
    }

    #[test]
    fn old_cases_count_less_and_less() {
        let mut evidence = after(&[(Held::Nobody, 1000)], 0, 0);
        assert_eq!(evidence.sure().map(|sure| sure < 0.01), Some(true));
        for _ in 0..20_000 {
            evidence.see(Held::One);
        }
        assert!(evidence.sure() > Some(0.99));
    }

    #[test]
    fn what_never_changes_is_noticed() {
        let (mut same, mut other) = (PlaceEvidence::new(1), PlaceEvidence::new(2));
        for number in 0..3000u64 {
            same.see(1 << 60, Held::One);
            other.see(number << 56, Held::One);
        }
        assert!(!same.changes_often() && other.changes_often());
    }

    fn beat(intervals: impl IntoIterator<Item = u64>) -> Option<u32> {
        let (mut beat, mut now) = (Beat::default(), 1_000_000);
        beat.see(now);
        for interval in intervals {
            now += interval;
            beat.see(now);
        }
        beat.period()
    }

    #[test]
    fn what_was_regular_for_some_time_may_be_irregular_for_some_time() {
        let mut regularity = Regularity::default();
        assert!((0..7).all(|_| regularity.see(true)) && !regularity.see(false));
        assert!((0..8).all(|_| regularity.see(true)));
        assert_eq!((0..100).filter(|_| regularity.see(false)).count(), 32);
    }

    #[test]
    fn most_of_the_last_intervals_near_their_median_are_a_period() {
        assert_eq!(beat([50_000; 7]), Some(50_000));
        assert_eq!(beat([50_000; 6]), None, "too few");
        assert_eq!(beat([9_000; 16]), None, "too fast to tell");
        assert_eq!(beat([40_000, 50_000, 60_000].into_iter().cycle().take(16)), Some(50_000), "with jitter");
        assert_eq!(beat([10_000, 50_000, 200_000].into_iter().cycle().take(16)), None);
        assert_eq!(beat([1_000; 100].into_iter().chain([70_000; 16])), Some(70_000), "only the last count");
    }
}

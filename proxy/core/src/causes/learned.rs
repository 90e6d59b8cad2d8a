//! What is known of templates of commands, and of classes of requests and messages.

use super::bounded::Bounded;
use super::evidence::{Beat, PlaceEvidence, Regularity};
use super::lists::List;
use super::slots::SlotSet;
use super::steps::{ClassId, ClassSet, TemplateId};
use super::succession::Succession;
use super::table::Id;

/// The longest time, in microseconds, for which a message counts as in work.
pub(super) const LONGEST_WORK: u64 = 5_000_000;

/// Finished ones of a class before it is told how long its messages are in work.
const KNOWN_WORK: u64 = 100;

/// How much longer than the longest work so far a message may be in work, in microseconds.
const WORK_MARGIN: u64 = 5_000;

/// Finished ones of a class before it is told what it never does, and what it does once.
pub(super) const KNOWN_FLOW: u64 = 50;

/// Cases that show that a class does something just once.
const KNOWN_ONCE: u8 = 30;

/// The bit that says that one of a class did something twice.
const TWICE: u8 = 1 << 7;

/// Commands that came by themselves of a template that may be a timer's, and commands after which its times tell whether it is.
const BY_ITSELF: u64 = 3;
const UNCERTAIN: u64 = 64;

/// Commands of a class that name their items which show that all of its work comes before the next read.
const KNOWN_ENDING: u32 = 100;

/// Commands that name the item of their connection, for each that names another one.
const EXCEPTION: u32 = 333;

/// Tokens' places that are remembered of a template, and steps that it follows.
const PLACES: usize = 24;
pub(super) const SUCCESSIONS: usize = 6;

/// What is known of the commands of a template.
#[derive(Clone, Copy)]
pub(super) struct Template {
    pub(super) last_seen: u64,
    pub(super) commands: u64,
    /// Commands while nobody was in work.
    pub(super) orphans: u64,
    /// Commands while no request and no message was known, not even one that is finished.
    pub(super) by_itself: u64,
    /// Commands whose cause was found at once, and those of them whose cause was a request that had been answered.
    pub(super) attributed: u64,
    pub(super) answered: u64,
    /// The classes of the causes that were found.
    pub(super) classes: ClassSet,
    pub(super) beat: Beat,
    pub(super) regularity: Regularity,
    pub(super) turns: Turns,
    pub(super) places: Bounded<PlaceEvidence, PLACES>,
    pub(super) successions: Bounded<Succession, SUCCESSIONS>,
}

impl Template {
    pub(super) fn new() -> Self {
        Self {
            last_seen: 0,
            commands: 0,
            orphans: 0,
            by_itself: 0,
            attributed: 0,
            answered: 0,
            classes: ClassSet::EMPTY,
            beat: Beat::default(),
            regularity: Regularity::default(),
            turns: Turns::default(),
            places: Bounded::new(),
            successions: Bounded::new(),
        }
    }

    /// Whether so few are known that some of them, which came by themselves, may be a timer's that is not known to be regular yet.
    pub(super) fn may_be_a_timers(&self) -> bool {
        self.commands <= UNCERTAIN && self.by_itself >= BY_ITSELF
    }

    /// Whether such commands mostly come from requests that have been answered.
    pub(super) fn comes_after_answers(&self) -> bool {
        self.answered >= 3 && 10 * self.answered > 3 * self.attributed
    }

    /// The template's evidence about a place, if there is any.
    pub(super) fn place(&self, place: u32) -> Option<usize> {
        self.places.iter().position(|known| known.place == place)
    }
}

/// Commands in a row, each for the next message after that of the one before, that show that messages are taken in turn, if
/// it was not so from the first command on.
const IN_TURN: u64 = 11;

/// Whether the commands of a template name one message after the other, in the order in which they came, and none twice.
///
/// A service that has many messages to work on and takes equally long for each sends commands at regular times, as a timer does.
/// What a timer names it leaves out or repeats.
#[derive(Clone, Copy, Default)]
pub(super) struct Turns {
    /// The class and the number of the message that was named last.
    last: Option<(ClassId, u64)>,
    in_turn: u64,
}

impl Turns {
    /// Notes which message a command names.
    pub(super) fn see(&mut self, named: Option<(ClassId, u64)>) {
        self.in_turn = if self.is_next(named) { self.in_turn + 1 } else { 0 };
        self.last = named;
    }

    /// Whether it is this one's turn, as it was for those before it. There were so many `commands`, with this one.
    pub(super) fn is_turn_of(&self, named: Option<(ClassId, u64)>, commands: u64) -> bool {
        (self.in_turn >= IN_TURN || self.in_turn + 2 >= commands) && self.is_next(named)
    }

    fn is_next(&self, named: Option<(ClassId, u64)>) -> bool {
        self.last.zip(named).is_some_and(|((class, last), (other, next))| class == other && last + 1 == next)
    }
}

/// Whether the work on the items of a class ends before their connection reads again, as that of a worker does that does one thing
/// after the other.
#[derive(Clone, Copy, Default)]
pub(super) struct Ending {
    before: u32,
    after: u32,
}

impl Ending {
    pub(super) fn see(&mut self, has_read_again: bool) {
        let count = if has_read_again { &mut self.after } else { &mut self.before };
        *count = count.saturating_add(1);
    }

    pub(super) fn is_known(&self) -> bool {
        self.before >= KNOWN_ENDING && self.after == 0
    }
}

/// Whether a connection that has taken one item of a class is used for that item only until it reads again, as that of a worker is
/// that has one connection.
#[derive(Clone, Copy, Default)]
pub(super) struct Holding {
    own: u32,
    foreign: u32,
}

impl Holding {
    pub(super) fn see(&mut self, is_own: bool) {
        let count = if is_own { &mut self.own } else { &mut self.foreign };
        *count = count.saturating_add(1);
    }

    pub(super) fn is_known(&self) -> bool {
        self.own >= KNOWN_ENDING && self.own >= EXCEPTION.saturating_mul(self.foreign)
    }
}

/// What is known of a class of requests or messages.
#[derive(Clone, Copy)]
pub(super) struct Class {
    pub(super) last_seen: u64,
    pub(super) arrivals: u64,
    pub(super) finished: u64,
    /// Finished messages of which it was seen how long they were in work.
    told: u64,
    /// The longest time from a message to a command of it, decaying, in 1/1024 of a microsecond.
    longest: u64,
    /// For each template, how many of the class did it, and whether one did it twice.
    flow: [u8; TemplateId::COUNT],
    pub(super) members: SlotSet,
    /// The messages in work, by age.
    pub(super) at_work: List,
    pub(super) beat: Beat,
    /// How the work on items of a queue ends, if the class is one of them.
    pub(super) ending: Ending,
    pub(super) holding: Holding,
}

impl Class {
    pub(super) fn new() -> Self {
        Self {
            last_seen: 0,
            arrivals: 0,
            finished: 0,
            told: 0,
            longest: 0,
            flow: [0; TemplateId::COUNT],
            members: SlotSet::EMPTY,
            at_work: List::default(),
            beat: Beat::default(),
            ending: Ending::default(),
            holding: Holding::default(),
        }
    }

    /// How long, in microseconds, a message of this class counts as in work.
    pub(super) fn window(&self) -> u64 {
        if self.finished >= KNOWN_WORK && 10 * self.told >= 9 * self.finished {
            ((self.longest + self.longest / 2) / 1024 + WORK_MARGIN).min(LONGEST_WORK)
        } else {
            LONGEST_WORK
        }
    }

    /// Learns that a message is still in work, so many microseconds after it came.
    pub(super) fn lasts(&mut self, work: u64) {
        self.longest = self.longest.max(work * 1024);
    }

    /// Learns from a message that its last command came `work` microseconds after it.
    pub(super) fn learn_work(&mut self, work: u64) {
        self.told += 1;
        self.longest = (self.longest - self.longest / 1000).max(work * 1024);
    }

    pub(super) fn learn_flow(&mut self, template: TemplateId, twice: bool) {
        if let Some(flow) = self.flow.get_mut(template.index()) {
            let times = (*flow & !TWICE).saturating_add(1).min(!TWICE);
            *flow = times | *flow & TWICE | if twice { TWICE } else { 0 };
        }
    }

    /// Learns that one of the class may have done this.
    pub(super) fn may_do(&mut self, template: TemplateId) {
        if let Some(flow) = self.flow.get_mut(template.index()) {
            *flow = (*flow).max(1);
        }
    }

    pub(super) fn forget_flow(&mut self, template: TemplateId) {
        if let Some(flow) = self.flow.get_mut(template.index()) {
            *flow = 0;
        }
    }

    /// Whether enough of the class are finished to tell what it does.
    pub(super) fn knows_its_flow(&self) -> bool {
        self.finished >= KNOWN_FLOW
    }

    /// Whether none of the class has done this.
    pub(super) fn never_does(&self, template: TemplateId) -> bool {
        self.flow.get(template.index()).is_none_or(|flow| *flow == 0)
    }

    /// Whether those of the class that do this do it once.
    pub(super) fn does_once(&self, template: TemplateId) -> bool {
        self.flow.get(template.index()).is_some_and(|flow| *flow & TWICE == 0 && *flow >= KNOWN_ONCE)
    }
}

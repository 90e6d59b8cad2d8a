//! The candidates: who is in work, who was joined to whom, and who is forgotten.

use core::num::NonZeroU32;

use super::owners::{Given, NodeId};
use super::slots::{Slot, SlotSet};
use super::steps::{ClassId, Step, TemplateId, TemplateSet};
use super::table::{Id, id};
use super::work_log::{BatchRef, Log};
use super::{Causes, GRACE, HEARD_WITHIN, KEPT, Rule};

/// Unattributed work is forgotten when so many others have come after it.
const MAX_UNATTRIBUTED: usize = 512;
const MAX_WORKS: u64 = 512;

/// The most tokens of one candidate, as they are counted and as an array is measured.
const MAX_TOKENS: u16 = 160;
const MAX_TOKENS_OF_ONE: usize = 160;

/// A message counts as finished after this time, in microseconds, as far as anything is learnt from it.
const FINISHED: u64 = 2_000_000;

/// Unattributed work of which nothing was heard for so long, in microseconds, is forgotten when there is no room. It will hardly be
/// joined to a cause any more, and without somebody who is in work only what names one thing could be believed.
const RESTED: u64 = 2_000_000;

/// Joined work is found again through so many others that it was joined to.
const MAX_JOINS: usize = 8;

id! {
    /// Unattributed work, by its number.
    WorkId < MAX_UNATTRIBUTED
}

id! {
    /// A place of the table that tells what became of joined work.
    Forward < 2048
}

/// A candidate, as long as it is known. It is kept by whoever will report what comes next of it: the response to a request,
/// the reply to a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    pub(super) slot: Slot,
    pub(super) generation: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Request,
    Message,
    /// Work that is of one cause, which is not known.
    Unattributed,
}

#[derive(Clone, Copy)]
pub(super) struct Candidate {
    pub(super) generation: u32,
    pub(super) alive: bool,
    pub(super) kind: Kind,
    /// Whether its class has learnt from it.
    learnt: bool,
    /// Whether its response has been seen.
    pub(super) closed: bool,
    /// Whether a request's response has begun.
    pub(super) responding: bool,
    /// How many messages in a row the service has published to itself before this one.
    pub(super) circle: u8,
    pub(super) class: Option<ClassId>,
    /// Which of its class it is, counted from the first.
    pub(super) arrival: u64,
    pub(super) id: u64,
    /// The trace that it belongs to, if any.
    pub(super) trace: Option<u64>,
    pub(super) began: u64,
    /// Its place in the order in which candidates came; of joined work, that of the first. Several can begin at the same time.
    order: u64,
    /// When it was heard of last, and what it did then.
    pub(super) heard: u64,
    pub(super) last: Step,
    closed_at: u64,
    /// The longest time from its beginning to a command of it that was told by what it names.
    pub(super) longest: u64,
    tokens: u16,
    pub(super) first_token: Option<NodeId>,
    /// Whether it is in the list of messages from which nothing was learnt yet.
    to_learn: bool,
    /// The number of unattributed work, counted from the first.
    pub(super) serial: u64,
    /// What it has done, and what of it twice.
    pub(super) did: TemplateSet,
    pub(super) did_twice: TemplateSet,
    /// Of an item of a queue: the read that has handed it over, and whether that connection has read again.
    pub(super) read: Option<NonZeroU32>,
    pub(super) has_read_again: bool,
    /// Of unattributed work: its commands, which may get an answer later, and the batch that it is of.
    pub(super) log: Log,
    pub(super) batch: Option<BatchRef>,
}

impl Candidate {
    pub(super) const NONE: Self = Self {
        generation: 0,
        alive: false,
        kind: Kind::Unattributed,
        learnt: false,
        closed: false,
        responding: false,
        circle: 0,
        class: None,
        arrival: 0,
        id: 0,
        trace: None,
        began: 0,
        order: 0,
        heard: 0,
        last: Step::Unknown,
        closed_at: 0,
        longest: 0,
        tokens: 0,
        first_token: None,
        to_learn: false,
        serial: 0,
        did: TemplateSet::EMPTY,
        did_twice: TemplateSet::EMPTY,
        read: None,
        has_read_again: false,
        log: Log::EMPTY,
        batch: None,
    };

    pub(super) fn is_unattributed(&self) -> bool {
        self.kind == Kind::Unattributed
    }

    pub(super) fn did(&mut self, template: TemplateId) {
        if self.did.contains(template) {
            self.did_twice.insert(template);
        }
        self.did.insert(template);
    }
}

/// How candidates come, grow old and are forgotten.
impl Causes {
    /// Gives a slot to a new candidate, which has done nothing yet.
    pub(super) fn admit(&mut self, kind: Kind, id: u64, class: Option<ClassId>, trace: Option<u64>) -> Slot {
        let now = self.now;
        if kind == Kind::Unattributed {
            self.make_room_for_work();
        }
        let slot = self.free_slot();
        let last = if kind == Kind::Unattributed { Step::Unknown } else { class.map_or(Step::Unknown, Step::Arrived) };
        let generation = self.candidates[slot].generation.wrapping_add(1);
        self.admitted += 1;
        self.candidates[slot] = Candidate {
            generation,
            alive: true,
            kind,
            class,
            id,
            trace,
            began: now,
            order: self.admitted,
            heard: now,
            last,
            serial: self.works,
            ..Candidate::NONE
        };
        match kind {
            Kind::Request => self.requests.insert(slot),
            Kind::Message => self.messages.insert(slot),
            Kind::Unattributed => {
                self.unattributed.insert(slot);
                self.works += 1;
                self.by_age.push(&mut self.oldest_work, slot);
                return slot;
            }
        }
        self.by_age.push(&mut self.oldest, slot);
        if kind == Kind::Message {
            self.candidates[slot].to_learn = true;
            self.to_learn.push(&mut self.oldest_to_learn, slot);
            if let Some(class) = class {
                self.by_phase.push(&mut self.classes[class].at_work, slot);
            }
        }
        slot
    }

    /// Forgets unattributed work when that much has come after it.
    fn make_room_for_work(&mut self) {
        while let Some(oldest) = self.oldest_work.first() {
            if self.works - self.candidates[oldest].serial < MAX_WORKS {
                break;
            }
            self.forget(oldest);
        }
    }

    /// A slot that is free, if need be because unattributed work is forgotten that has rested for long, or the oldest candidate that
    /// is not in work any more, or else the oldest of all.
    fn free_slot(&mut self) -> Slot {
        loop {
            if let Some(slot) = self.free.pop() {
                return slot;
            }
            if let Some(oldest) = self.oldest_work.first()
                && self.now - self.candidates[oldest].heard > RESTED
            {
                self.forget(oldest);
            } else if !self.forget_finished(None) {
                self.forgot_work_at = Some(self.now);
                match self.oldest.first().or(self.oldest_work.first()) {
                    Some(oldest) => self.forget(oldest),
                    // Every slot is free or in one of the lists.
                    None => return Slot::FIRST,
                }
            }
        }
    }

    /// Forgets the oldest candidate that is not in work any more, other than `spared`. Returns whether there was one.
    pub(super) fn forget_finished(&mut self, spared: Option<Slot>) -> bool {
        if self.finished.is_empty() {
            return false;
        }
        let mut oldest = self.oldest.first();
        while let Some(slot) = oldest {
            if self.finished.contains(slot) && Some(slot) != spared {
                self.forget(slot);
                return true;
            }
            oldest = self.by_age.next(slot);
        }
        false
    }

    pub(super) fn forget(&mut self, slot: Slot) {
        let Candidate { alive, kind, class, closed, responding, began, to_learn, .. } = self.candidates[slot];
        if !alive {
            return;
        }
        // Of one whose response has begun, as of a stream of events, the work is mostly done.
        if kind == Kind::Request && !closed && !responding {
            self.lose_request(began);
        }
        self.learn_flow(slot);
        let mut token = self.candidates[slot].first_token.take();
        while let Some(node) = token {
            token = self.owners.take(node);
        }
        match kind {
            Kind::Unattributed => {
                self.by_age.remove(&mut self.oldest_work, slot);
                let mut log = self.candidates[slot].log;
                while self.logs.pop(&mut log).is_some() {}
            }
            Kind::Request | Kind::Message => self.by_age.remove(&mut self.oldest, slot),
        }
        if kind == Kind::Request && closed && self.requests.contains(slot) {
            self.by_phase.remove(&mut self.closing, slot);
        }
        if to_learn {
            self.to_learn.remove(&mut self.oldest_to_learn, slot);
        }
        if let Some(class) = class {
            let class = &mut self.classes[class];
            class.members.remove(slot);
            if kind == Kind::Message && self.messages.contains(slot) {
                self.by_phase.remove(&mut class.at_work, slot);
            }
        }
        for set in [&mut self.requests, &mut self.messages, &mut self.unattributed, &mut self.finished, &mut self.items]
        {
            set.remove(slot);
        }
        self.done.remove_from_all(slot);
        self.may_be_of.remove_from_all(slot);
        self.candidates[slot].alive = false;
        self.free.push(slot);
    }

    /// Lets a candidate's class learn from what it has done.
    pub(super) fn learn_flow(&mut self, slot: Slot) {
        let candidate = &mut self.candidates[slot];
        let (Some(class), false) = (candidate.class, candidate.learnt || candidate.is_unattributed()) else { return };
        candidate.learnt = true;
        let class = &mut self.classes[class];
        class.finished += 1;
        for template in candidate.did.iter() {
            class.learn_flow(template, candidate.did_twice.contains(template));
        }
        if candidate.kind == Kind::Message && candidate.longest > 0 {
            class.learn_work(candidate.longest);
        }
    }

    /// Forgets what is too old, and ends requests that have been answered.
    pub(super) fn age(&mut self, now: u64) {
        self.now = self.now.max(now);
        let now = self.now;
        while let Some(oldest) = self.oldest.first().filter(|slot| now - self.candidates[*slot].began > KEPT) {
            self.forget(oldest);
        }
        while let Some(oldest) = self.oldest_work.first().filter(|slot| now - self.candidates[*slot].began > KEPT) {
            self.forget(oldest);
        }
        while self.heard.front().is_some_and(|(at, _)| now - at > HEARD_WITHIN) {
            self.heard.pop_front();
        }
        while let Some(slot) = self.closing.first().filter(|slot| now - self.candidates[*slot].closed_at > GRACE) {
            self.by_phase.remove(&mut self.closing, slot);
            self.requests.remove(slot);
            self.finished.insert(slot);
            self.learn_flow(slot);
        }
    }

    /// The requests and messages in work. A message leaves when the window of its class has passed.
    pub(super) fn in_work(&mut self) -> SlotSet {
        let now = self.now;
        while let Some(slot) = self.oldest_to_learn.first().filter(|slot| now - self.candidates[*slot].began > FINISHED)
        {
            self.to_learn.remove(&mut self.oldest_to_learn, slot);
            self.candidates[slot].to_learn = false;
            if self.messages.contains(slot) {
                self.learn_flow(slot);
            }
        }
        for class in self.classes.iter_mut().take(self.classes_used) {
            let window = class.window();
            while let Some(slot) = class.at_work.first().filter(|slot| now - self.candidates[*slot].began > window) {
                self.by_phase.remove(&mut class.at_work, slot);
                self.messages.remove(slot);
                self.finished.insert(slot);
            }
        }
        self.requests | self.messages
    }

    /// Notes that a request has been answered.
    pub(super) fn close(&mut self, slot: Slot) {
        let candidate = &mut self.candidates[slot];
        candidate.closed = true;
        candidate.closed_at = self.now;
        self.by_phase.push(&mut self.closing, slot);
    }
}

/// Whom unattributed work may be of.
impl Causes {
    /// The place of unattributed work. Two that are known at the same time are less than `MAX_UNATTRIBUTED` apart.
    fn work_id(&self, work: Slot) -> Option<WorkId> {
        let serial = usize::try_from(self.candidates[work].serial).unwrap_or_default();
        WorkId::at(serial % MAX_UNATTRIBUTED)
    }

    pub(super) fn may_be_of(&self, work: Slot) -> SlotSet {
        self.work_id(work).map_or(SlotSet::EMPTY, |work| self.may_be_of.get(work))
    }

    pub(super) fn can_be_of(&self, work: Slot, cause: Slot) -> bool {
        self.work_id(work).is_some_and(|work| self.may_be_of.contains(work, cause))
    }

    pub(super) fn set_may_be_of(&mut self, work: Slot, causes: &SlotSet) {
        if let Some(work) = self.work_id(work) {
            self.may_be_of.set(work, causes);
        }
    }
}

/// How a candidate gets its tokens.
impl Causes {
    /// Gives a token to a candidate. Without room for it, finished candidates lose theirs; if there are none, it cannot be told
    /// any more who else has a token, so nothing is answered until all is known again.
    pub(super) fn own(&mut self, slot: Slot, hash: u64) {
        if self.candidates[slot].tokens >= MAX_TOKENS {
            return;
        }
        loop {
            match self.owners.give(hash, slot, self.candidates[slot].first_token) {
                Given::Unchanged => return,
                Given::New(first) => {
                    let candidate = &mut self.candidates[slot];
                    candidate.first_token = Some(first);
                    candidate.tokens += 1;
                    return;
                }
                Given::NoRoom => {
                    if !self.forget_finished(Some(slot)) {
                        self.overloaded_until = self.now + KEPT;
                        return;
                    }
                }
            }
        }
    }
}

/// How unattributed work is joined to its cause, and is found again afterwards.
impl Causes {
    pub(super) fn ticket(&self, slot: Slot) -> Ticket {
        Ticket { slot, generation: self.candidates[slot].generation }
    }

    /// The slot of a candidate, or of what it has been joined to, if that is still known.
    pub(super) fn find(&self, mut ticket: Ticket) -> Option<Slot> {
        for _ in 0..MAX_JOINS {
            let candidate = &self.candidates[ticket.slot];
            if candidate.alive && candidate.generation == ticket.generation {
                return Some(ticket.slot);
            }
            ticket = self.joined[Self::forward(ticket)?].filter(|(from, _)| *from == ticket)?.1;
        }
        None
    }

    fn forward(ticket: Ticket) -> Option<Forward> {
        let generation = usize::try_from(ticket.generation).unwrap_or_default();
        Forward::at(generation.wrapping_mul(31).wrapping_add(ticket.slot.index()) % Forward::COUNT)
    }

    /// Joins unattributed work to a candidate that was there before it.
    pub(super) fn join(&mut self, work: Slot, to: Slot, rule: Rule) {
        let from = self.candidates[work];
        let target = &mut self.candidates[to];
        if work == to || !from.alive || !from.is_unattributed() {
            return;
        }
        if !target.is_unattributed() && target.order > from.order {
            return;
        }
        let mut log = core::mem::take(&mut self.candidates[work].log);
        let target = &mut self.candidates[to];
        if target.is_unattributed() {
            self.logs.move_all(&mut log, &mut target.log);
            target.order = target.order.min(from.order);
        } else {
            let cause = target.id;
            while let Some(command) = self.logs.pop(&mut log) {
                self.answer_late(command, cause, rule);
            }
        }
        let target = &mut self.candidates[to];
        if from.heard >= target.heard {
            target.last = from.last;
            target.heard = from.heard;
        }
        for template in from.did.iter::<TemplateId>() {
            if from.did_twice.contains(template) {
                target.did(template);
            }
            target.did(template);
            self.done.insert(template, to);
        }
        let mut tokens = [0; MAX_TOKENS_OF_ONE];
        let mut length = 0;
        for (place, token) in tokens.iter_mut().zip(self.owners.tokens(from.first_token)) {
            *place = token;
            length += 1;
        }
        let (left, to_ticket) = (self.ticket(work), self.ticket(to));
        if let Some(place) = Self::forward(left) {
            self.joined[place] = Some((left, to_ticket));
        }
        self.forget(work);
        for token in tokens.iter().take(length).rev() {
            self.own(to, *token);
        }
    }
}

//! Causes: which request or message in work made a service send a command, told from what is on the wire.
//!
//! The service says nothing. What is seen of it is that a request came, that a message was delivered, that commands were sent
//! and answered. From this the cause of a command follows sometimes with certainty and often not. An answer is given only in
//! the first case, at once, and never changed; what becomes certain later is a [`LateAnswer`].
//!
//! # How it works
//!
//! A *candidate* has a slot: a request in work, a message in work, or *unattributed work*, which is work that was seen to be
//! of one cause without knowing which. All that is known is a set of slots (`slots`): who is in work, who has a token
//! (`owners`), who has not done this yet, who was heard of a moment ago. Sets are intersected, and one that is left is the
//! answer. Which sets can be believed is learnt for each template of commands (`learned`, `evidence`, `succession`): from
//! the cases in which the cause was certain for another reason, or from how often the set is empty and how often it is not.
//!
//! * `inbound`: requests, messages and responses become candidates, with the `tokens` that they name.
//! * `queues`: items of lists, sorted sets and streams, which are candidates as messages are.
//! * `outbound`: a command. `votes`: whom do its tokens name? `settle`: who is it, all in all? `learn`: what follows
//!   from it for the commands to come.
//! * `candidates`: who is in work, who has been joined to whom, and who is forgotten.
//!
//! # What it does not do
//!
//! It does not guess: no nearest in time, no similarity, no first in, first out. It keeps no text; tokens are kept as hashes
//! (`hash`) for ten seconds at most. It takes no memory after it was made, and what an event costs has a bound.

mod answer;
mod bounded;
mod candidates;
mod circles;
mod evidence;
mod hash;
mod inbound;
mod learn;
mod learned;
mod lists;
mod names;
mod outbound;
mod owners;
mod question;
mod queues;
mod settle;
mod slots;
mod steps;
mod succession;
mod table;
mod tokens;
mod votes;
mod work_log;

pub use answer::{Answer, LateAnswer, Links, MAX_LINKS, Reason, Rule, Tally};
pub use candidates::Ticket;
pub use hash::HashKey;
pub use inbound::{Delivery, RequestHead, Text};
pub use outbound::{Command, Connection, Sent};
pub use queues::{QueueItem, QueueRead, Taking};
pub use tokens::SEARCHED;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use candidates::{Candidate, Forward, WorkId};
use circles::Circles;
use learned::{Class, LONGEST_WORK, Template};
use lists::{List, Lists};
use names::Names;
use owners::Owners;
use queues::Queues;
use slots::{SLOTS, SetTable, Slot, SlotSet};
use steps::{ClassId, TemplateId};
use table::{HashIndex, Table};
use work_log::{Batches, Logs};

use crate::trace::UnixNanos;

/// The longest time, in microseconds, for which a candidate and its tokens are kept.
const KEPT: u64 = 10_000_000;

/// A request counts as in work for this long, in microseconds, after its response.
const GRACE: u64 = 1_000;

/// The last signs of life that are remembered, and for how long, in microseconds.
const HEARD: usize = 64;
const HEARD_WITHIN: u64 = 50_000;

/// So many requests that are forgotten while they are in work, and one in so many of those in work, are too many to answer anything.
const MANY_LOST: usize = 8;
const LOST_SHARE: usize = 8;

/// The longest time, in microseconds, that a request without a response is taken to be in work.
const LONGEST_REQUEST: u64 = 30_000_000;

/// The most late answers that wait to be fetched. Further ones are lost and counted.
const MAX_LATE: usize = 1024;

/// What is known of one service: everybody in work, and what such services do.
///
/// All connections of the service report to one of these, in the order in which things happen. What comes in is reported
/// before it is passed on to the service. Times must not go back; one that does counts as the last one.
pub struct Causes {
    key: HashKey,
    /// The time of the last event, in microseconds.
    now: u64,
    candidates: Table<Slot, Candidate>,
    free: Vec<Slot>,
    /// Requests and messages, and unattributed work, by age.
    by_age: Lists,
    oldest: List,
    oldest_work: List,
    /// Candidates so far, and unattributed work among them.
    admitted: u64,
    works: u64,
    /// Answered requests that still count as in work, and of each class the messages in work.
    by_phase: Lists,
    closing: List,
    /// Messages from which nothing was learnt yet.
    to_learn: Lists,
    oldest_to_learn: List,
    requests: SlotSet,
    messages: SlotSet,
    unattributed: SlotSet,
    finished: SlotSet,
    /// The messages that are items of queues.
    items: SlotSet,
    /// Whom unattributed work may be of.
    may_be_of: SetTable<WorkId>,
    /// Who has done what.
    done: SetTable<TemplateId>,
    owners: Owners,
    /// What joined work was joined to.
    joined: Table<Forward, Option<(Ticket, Ticket)>>,
    logs: Logs,
    batches: Batches,
    circles: Circles,
    names: Names,
    queues: Queues,
    /// Reads so far that have handed items over.
    reads: u32,
    templates: Table<TemplateId, Template>,
    template_index: HashIndex<TemplateId>,
    /// The classes, of which the first so many are used.
    classes: Table<ClassId, Class>,
    classes_used: usize,
    class_index: HashIndex<ClassId>,
    /// When who was heard of, the last at the end.
    heard: VecDeque<(u64, Ticket)>,
    /// How often one of several that could be next had used the connection last, and how often another.
    same_connection: u32,
    other_connection: u32,
    /// When somebody was forgotten who may still be in work.
    forgot_work_at: Option<u64>,
    /// Requests that have been forgotten, and of which no response has been seen yet.
    lost: usize,
    /// Until when they may be in work.
    lost_until: u64,
    /// Until when nothing is answered, because events are missing, and because there was no room.
    quiet_until: u64,
    overloaded_until: u64,
    /// Commands whose cause was found at once, and those of them whose cause had been answered.
    attributed: u64,
    answered: u64,
    late: VecDeque<LateAnswer>,
    tally: Tally,
}

impl Causes {
    /// A service of which nothing is known yet. This takes all the memory that it will ever have, less than 2 MiB.
    pub fn new(key: HashKey) -> Self {
        let mut free = Vec::with_capacity(SLOTS);
        free.extend(Slot::all().rev());
        Self {
            key,
            now: 0,
            candidates: Table::new(Candidate::NONE),
            free,
            by_age: Lists::new(),
            oldest: List::default(),
            oldest_work: List::default(),
            admitted: 0,
            works: 0,
            by_phase: Lists::new(),
            closing: List::default(),
            to_learn: Lists::new(),
            oldest_to_learn: List::default(),
            requests: SlotSet::EMPTY,
            messages: SlotSet::EMPTY,
            unattributed: SlotSet::EMPTY,
            finished: SlotSet::EMPTY,
            items: SlotSet::EMPTY,
            may_be_of: SetTable::new(),
            done: SetTable::new(),
            owners: Owners::new(),
            joined: Table::new(None),
            logs: Logs::new(),
            batches: Batches::new(),
            circles: Circles::new(),
            names: Names::new(),
            queues: Queues::new(),
            reads: 0,
            templates: Table::new(Template::new()),
            template_index: HashIndex::new(),
            classes: Table::new(Class::new()),
            classes_used: 0,
            class_index: HashIndex::new(),
            heard: VecDeque::with_capacity(HEARD),
            same_connection: 0,
            other_connection: 0,
            forgot_work_at: None,
            lost: 0,
            lost_until: 0,
            quiet_until: 0,
            overloaded_until: 0,
            attributed: 0,
            answered: 0,
            late: VecDeque::with_capacity(MAX_LATE),
            tally: Tally::default(),
        }
    }

    /// Events are missing before this time: the service was at work already, or something was not reported. Nothing is answered
    /// for five seconds, because somebody unknown may be in work.
    pub fn warm_up(&mut self, now: UnixNanos) {
        self.age(now.0 / 1000);
        self.quiet_until = self.now + LONGEST_WORK;
    }

    /// Forgets what is ten seconds old. Every event does this; a service without events has to be told the time.
    pub fn forget_old(&mut self, now: UnixNanos) {
        self.age(now.0 / 1000);
    }

    /// Whether nothing is remembered that has to be forgotten in time: no request, message or work, and so no token.
    pub fn remembers_nothing(&self) -> bool {
        self.oldest.first().is_none() && self.oldest_work.first().is_none()
    }

    /// The next answer that became known after its command had passed. They are to be fetched after each event.
    pub fn next_late(&mut self) -> Option<LateAnswer> {
        self.late.pop_front()
    }

    /// How often each answer was given, from the beginning on.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The bytes that this takes. [`Causes::new`] has taken all of them.
    pub fn memory(&self) -> usize {
        let lists = self.by_age.memory() + self.by_phase.memory() + self.to_learn.memory();
        let learned = self.templates.memory() + self.classes.memory() + self.names.memory() + self.queues.memory();
        let hashes = self.template_index.memory() + self.class_index.memory();
        let sets = self.may_be_of.memory() + self.done.memory();
        let logs = self.logs.memory() + self.batches.memory() + self.circles.memory() + self.joined.memory();
        let queues =
            self.late.capacity() * size_of::<LateAnswer>() + self.heard.capacity() * size_of::<(u64, Ticket)>();
        let candidates = self.candidates.memory() + self.free.capacity() * size_of::<Slot>();
        size_of::<Self>() + lists + learned + hashes + sets + logs + queues + candidates + self.owners.memory()
    }

    fn known_classes(&self) -> impl Iterator<Item = &Class> {
        self.classes.iter().take(self.classes_used)
    }

    /// Why nothing at all is answered now, if that is so.
    fn is_blind(&self) -> Option<Reason> {
        if self.now < self.quiet_until {
            Some(Reason::WarmUp)
        } else if self.now < self.overloaded_until || self.has_lost_many() {
            Some(Reason::Overload)
        } else {
            None
        }
    }

    /// Whether the service is so slow that many of its requests are forgotten while they are in work. What they name is not known
    /// any more, so it may seem to be somebody else's.
    fn has_lost_many(&self) -> bool {
        self.now < self.lost_until
            && self.lost >= MANY_LOST
            && self.lost.saturating_mul(LOST_SHARE) >= self.requests.len()
    }

    /// A request is forgotten that came at this time and is in work.
    fn lose_request(&mut self, began: u64) {
        if self.now >= self.lost_until {
            self.lost = 0;
        }
        let until = began + LONGEST_REQUEST;
        if self.now < until {
            self.lost += 1;
            self.lost_until = self.lost_until.max(until);
        }
    }

    fn answer_late(&mut self, command: u64, cause: u64, rule: Rule) {
        if self.is_blind().is_some() {
            return;
        }
        if self.late.len() == MAX_LATE {
            self.tally.late_lost += 1;
            return;
        }
        self.tally.count_late(rule);
        self.late.push_back(LateAnswer { command, cause, rule });
    }
}

/// Shows how much is known, and nothing of what.
impl core::fmt::Debug for Causes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Causes")
            .field("requests", &self.requests.len())
            .field("messages", &self.messages.len())
            .field("unattributed", &self.unattributed.len())
            .field("finished", &self.finished.len())
            .field("tally", &self.tally)
            .finish_non_exhaustive()
    }
}

//! What goes out: commands and their replies.

use core::num::NonZeroU32;

use super::answer::{Answer, Links, Reason, Rule};
use super::candidates::{Kind, Ticket};
use super::learned::Template;
use super::question::{FORGETFUL, Question};
use super::settle::Settled;
use super::slots::{Slot, SlotSet};
use super::steps::{Step, TemplateId};
use super::tokens::{Token, Tokens};
use super::votes::Votes;
use super::{Causes, KEPT};
use crate::trace::UnixNanos;

/// The number of arguments of a command that are looked at, from the first on.
const ARGUMENTS: usize = 6;

/// The most tokens of a command.
const MAX_TOKENS: usize = 48;

/// The values of a reply that are looked at, and their tokens.
const REPLY_VALUES: usize = 16;
const MAX_REPLY_TOKENS: usize = 32;

/// The least commands like one before it is attributed to anybody.
const NEW: u64 = 8;

/// The most candidates that are named if one of them is the cause.
const ONE_OF: usize = 4;

/// Commands that connections need, sorted. They say nothing of anybody's work, so no cause is sought for them.
///
/// The table of commands (`commands`) answers other questions: how a command is replied to, and whether it has a span. `WATCH` and
/// `CONFIG` have a span there, and no cause.
const OF_CONNECTIONS: [&[u8]; 31] = [
    b"ASKING",
    b"AUTH",
    b"CLIENT",
    b"CLUSTER",
    b"COMMAND",
    b"CONFIG",
    b"DISCARD",
    b"EXEC",
    b"FUNCTION",
    b"HELLO",
    b"INFO",
    b"MONITOR",
    b"MULTI",
    b"PING",
    b"PSUBSCRIBE",
    b"PSYNC",
    b"PUNSUBSCRIBE",
    b"QUIT",
    b"READONLY",
    b"READWRITE",
    b"REPLCONF",
    b"RESET",
    b"SCRIPT",
    b"SELECT",
    b"SSUBSCRIBE",
    b"SUBSCRIBE",
    b"SUNSUBSCRIBE",
    b"SYNC",
    b"UNSUBSCRIBE",
    b"UNWATCH",
    b"WATCH",
];

/// The length of the longest name in [`OF_CONNECTIONS`].
const LONGEST_NAME: usize = 12;

/// A command that a service sends.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// The caller's id of the command, which late answers will name. A publish that may come back to the service has the id
    /// that [`Delivery::publish`](super::Delivery::publish) will have.
    pub id: u64,
    /// The command's name, in letters of either case.
    pub name: &'a [u8],
    /// Its arguments: the first six, and of each the first [`SEARCHED`](super::SEARCHED) bytes and one more, are enough.
    pub arguments: &'a [&'a [u8]],
}

/// What is known of a connection to Redis. The caller keeps it with the connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Connection {
    in_transaction: bool,
    /// Whose transaction it is.
    transaction: Option<Ticket>,
    /// Who has used the connection last.
    pub(super) last: Option<Ticket>,
    /// The read on it that has handed items over last.
    pub(super) read: Option<NonZeroU32>,
    /// What that read has handed over, if it is only one item.
    pub(super) item: Option<Ticket>,
}

/// What came of a command.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sent {
    /// What caused it; `None` if it is a command that connections need.
    pub answer: Option<Answer>,
    /// What the command's reply is to be reported with, if anything.
    pub ticket: Option<Ticket>,
}

impl Causes {
    /// A command is sent. The ticket of the result belongs to the command, for its reply.
    pub fn command(&mut self, now: UnixNanos, connection: &mut Connection, command: &Command<'_>) -> Sent {
        self.age(now.0 / 1000);
        if is_of_connections(command.name) {
            return Sent { answer: None, ticket: connection.transaction_command(command.name) };
        }
        let (answer, ticket) = match self.template(command) {
            Some(template) => {
                let (answer, slot) = self.attribute(template, connection, command);
                (answer, Some(self.ticket(slot)))
            }
            None => (Answer::Unknown(Reason::Overload), None),
        };
        self.tally.count(&answer);
        Sent { answer: Some(answer), ticket }
    }

    /// A command was answered with these values: the strings and numbers of the reply, from the first on.
    pub fn reply<'v>(&mut self, now: UnixNanos, command: Ticket, values: impl IntoIterator<Item = &'v [u8]>) {
        self.now = self.now.max(now.0 / 1000);
        let Some(slot) = self.find(command) else { return };
        self.candidates[slot].heard = self.now;
        self.hear(slot);
        let mut tokens = Tokens::<MAX_REPLY_TOKENS>::new();
        for value in values.into_iter().take(REPLY_VALUES) {
            tokens.add(self.key, 0, value);
        }
        tokens.as_slice().iter().for_each(|token| self.own(slot, token.hash));
    }

    /// Decides on the cause of a command, learns from it, and writes down who did it.
    fn attribute(
        &mut self,
        template: TemplateId,
        connection: &mut Connection,
        command: &Command<'_>,
    ) -> (Answer, Slot) {
        let mut tokens = Tokens::<MAX_TOKENS>::new();
        for (number, argument) in (1..).zip(command.arguments.iter().take(ARGUMENTS)) {
            tokens.add(self.key, number, argument);
        }
        let in_work = self.in_work();
        let question = self.question(template, tokens.as_slice(), in_work, connection);
        let votes = self.vote(&question);
        let transaction = connection.open_transaction().and_then(|ticket| self.find(ticket));
        let mut batch = votes.batch;
        let settled = if let Some(reason) = self.is_blind() {
            batch = None;
            Settled::unknown(reason)
        } else if let Some(slot) = transaction {
            Settled::by(slot, Rule::Transaction)
        } else if let Some(reason) = self.may_be_spontaneous(&question, &votes) {
            batch = None;
            Settled::unknown(reason)
        } else if votes.contradictory {
            Settled::unknown(Reason::Contradiction)
        } else {
            self.settle(&question, &votes)
        };
        self.learn(&question, &votes, &settled);
        if let (Some(taken), Some(slot), Some(Rule::Token)) = (question.taken, settled.slot, settled.rule)
            && let Some(class) = self.candidates[taken].class
        {
            self.classes[class].holding.see(slot == taken);
        }
        let (answer, slot) = match settled.slot {
            Some(slot) => (self.answer(slot, settled.rule), slot),
            None => self.begin_work(&question, &votes, &settled, batch),
        };
        let answer = self.cut_circle(answer, slot, command);
        self.write_down(&question, &settled, slot, command);
        if batch.is_none() && !settled.is_spontaneous() {
            self.adopt(slot, &question);
        }
        connection.last = Some(self.ticket(slot));
        if connection.in_transaction {
            connection.transaction = connection.last;
        }
        (answer, slot)
    }

    fn question<'a>(
        &self,
        template: TemplateId,
        tokens: &'a [Token],
        in_work: SlotSet,
        connection: &Connection,
    ) -> Question<'a> {
        let forgetful = self.forgot_work_at.is_some_and(|at| self.now - at < FORGETFUL);
        let after_answers = self.templates[template].comes_after_answers();
        Question {
            template,
            tokens,
            in_work,
            feasible: self.feasible(template, in_work),
            forgetful,
            after_answers,
            taken: self.taken_by(connection),
            last_user: connection.last.and_then(|last| self.find(last)),
            next: if after_answers || forgetful { None } else { self.next(template) },
        }
    }

    /// Why the command may have come by itself, or why that cannot be told yet.
    fn may_be_spontaneous(&mut self, question: &Question<'_>, votes: &Votes) -> Option<Reason> {
        let template = &self.templates[question.template];
        if template.commands < NEW {
            return Some(Reason::New);
        }
        if template.may_be_a_timers() {
            return Some(Reason::Periodic);
        }
        // It comes at regular times, and nothing comes in at the same ones.
        let period = template.beat.period().filter(|period| {
            let same = |other: u32| other.abs_diff(*period) <= period / 10;
            !self.known_classes().any(|class| class.beat.period().is_some_and(same))
        });
        let may_be_regular = self.templates[question.template].regularity.see(period.is_some());
        // What follows something does not come by itself, and what names several messages is not a timer that names the last.
        let follows = votes.batch.is_some() || question.next.is_some();
        if !may_be_regular || (period.is_none() && follows) {
            return None;
        }
        // Or it is what comes of one message after the other.
        let named = votes.named_by_id().or_else(|| self.finished_owner(question));
        let template = &self.templates[question.template];
        (!template.turns.is_turn_of(self.turn(named), template.commands)).then_some(Reason::Periodic)
    }

    /// Those in work that do such things and have not done this yet, as far as their class is known.
    fn feasible(&self, template: TemplateId, in_work: SlotSet) -> SlotSet {
        let known = self.templates[template].attributed >= 30;
        let mut done = None;
        let mut feasible = in_work;
        for class in self.known_classes().filter(|class| class.knows_its_flow()) {
            if class.never_does(template) {
                if known {
                    feasible = feasible.minus(&class.members);
                }
            } else if class.does_once(template) {
                feasible = feasible.minus(&(class.members & *done.get_or_insert_with(|| self.done.get(template))));
            }
        }
        feasible
    }

    /// The answer that names a candidate. Unattributed work has no name, but may be of a batch.
    fn answer(&self, slot: Slot, rule: Option<Rule>) -> Answer {
        let candidate = &self.candidates[slot];
        match rule {
            Some(rule) if !candidate.is_unattributed() => Answer::Cause { id: candidate.id, rule },
            _ => match candidate.batch.and_then(|batch| self.batches.get(batch)) {
                Some(links) => Answer::Batch(*links),
                None => Answer::Unknown(Reason::Work),
            },
        }
    }

    /// Begins unattributed work with a command whose cause is not known.
    fn begin_work(
        &mut self,
        question: &Question<'_>,
        votes: &Votes,
        settled: &Settled,
        batch: Option<SlotSet>,
    ) -> (Answer, Slot) {
        let named = votes.voted && !votes.named.is_empty();
        let candidates = votes.named & question.in_work;
        if named && batch.is_none() && candidates.meets(&self.items) {
            // Nothing but this command tells an item from the request that works on the same thing, so that what is left open must not
            // count as what such requests never do.
            for class in candidates.iter().filter_map(|slot| self.candidates[slot].class) {
                self.classes[class].may_do(question.template);
            }
        }
        let ids = |slots: SlotSet| Links::new(slots.iter().map(|slot| self.candidates[slot].id));
        let answer = match batch {
            Some(batch) => Answer::Batch(ids(batch)),
            None if named && !settled.is_spontaneous() && (2..=ONE_OF).contains(&candidates.len()) => {
                Answer::OneOf(ids(candidates))
            }
            None => Answer::Unknown(settled.reason),
        };
        let slot = self.admit(Kind::Unattributed, 0, None, None);
        let mut may_be_of = if named { votes.named } else { question.feasible };
        may_be_of.remove(slot);
        if let Answer::Batch(links) = answer {
            may_be_of = SlotSet::EMPTY;
            self.candidates[slot].batch = Some(self.batches.keep(links));
        }
        self.set_may_be_of(slot, &may_be_of);
        (answer, slot)
    }

    fn cut_circle(&mut self, answer: Answer, slot: Slot, command: &Command<'_>) -> Answer {
        let publishes = [b"PUBLISH".as_slice(), b"SPUBLISH"].iter().any(|name| name.eq_ignore_ascii_case(command.name));
        let turns = match answer {
            Answer::Cause { .. } => self.candidates[slot].circle,
            _ => 0,
        };
        if publishes && self.circles.publish(command.id, turns) { Answer::Unknown(Reason::Circle) } else { answer }
    }

    /// Writes down what a candidate has done.
    fn write_down(&mut self, question: &Question<'_>, settled: &Settled, slot: Slot, command: &Command<'_>) {
        let now = self.now;
        let candidate = &mut self.candidates[slot];
        candidate.did(question.template);
        candidate.heard = now;
        candidate.last = Step::Sent(question.template);
        if matches!(settled.rule, Some(Rule::Token | Rule::Work)) {
            candidate.longest = candidate.longest.max(now - candidate.began);
        }
        if candidate.is_unattributed() {
            if settled.reason != Reason::WarmUp && settled.reason != Reason::Overload {
                self.logs.push(&mut candidate.log, command.id);
            }
        } else {
            let template = &mut self.templates[question.template];
            template.attributed += 1;
            self.attributed += 1;
            if let Some(class) = candidate.class {
                template.classes.insert(class);
                if candidate.read.is_some() && matches!(settled.rule, Some(Rule::Token | Rule::Work | Rule::Answered)) {
                    self.classes[class].ending.see(candidate.has_read_again);
                }
            }
            match (settled.rule, candidate.kind, candidate.class) {
                // Such messages are in work for longer than any before.
                (Some(Rule::Answered), Kind::Message, Some(class)) => self.classes[class].lasts(now - candidate.began),
                (Some(Rule::Answered), _, _) => {
                    template.answered += 1;
                    self.answered += 1;
                }
                _ => {}
            }
        }
        self.done.insert(question.template, slot);
        self.hear(slot);
    }

    /// Gives a candidate the ids that nobody has: it has made them.
    fn adopt(&mut self, slot: Slot, question: &Question<'_>) {
        let alive = question.in_work | self.unattributed | self.finished;
        for token in question.tokens.iter().filter(|token| token.is_id) {
            if !self.owners.of(token.hash).meets(&alive) {
                self.own(slot, token.hash);
            }
        }
    }

    /// The template of a command, whose number of commands includes this one. Without room for it, the one that has not been
    /// seen for longest is forgotten, if everybody is forgotten that could have done it.
    fn template(&mut self, command: &Command<'_>) -> Option<TemplateId> {
        let name = command.arguments.first().copied().unwrap_or_default();
        let hash = self.names.template(self.key, command.name, name);
        let template = match self.template_index.find(hash) {
            Some(template) => template,
            None => self.new_template(hash)?,
        };
        let is_by_itself = self.oldest.first().is_none() && self.is_blind().is_none();
        let known = &mut self.templates[template];
        known.commands += 1;
        known.by_itself += u64::from(is_by_itself);
        known.last_seen = self.now;
        known.beat.see(self.now);
        Some(template)
    }

    fn new_template(&mut self, hash: u64) -> Option<TemplateId> {
        let now = self.now;
        let oldest = self.templates.ids().min_by_key(|template| self.templates[*template].last_seen)?;
        if !self.template_index.is_free(oldest) {
            if now - self.templates[oldest].last_seen <= KEPT {
                return None;
            }
            self.forget_step(Step::Sent(oldest));
            self.done.set(oldest, &SlotSet::EMPTY);
            self.classes.iter_mut().for_each(|class| class.forget_flow(oldest));
            for candidate in self.candidates.iter_mut() {
                candidate.did.remove(oldest);
                candidate.did_twice.remove(oldest);
            }
        }
        self.templates[oldest] = Template::new();
        self.template_index.set(oldest, hash);
        Some(oldest)
    }
}

impl Connection {
    /// Follows `MULTI`, and returns who the reply to `EXEC` belongs to.
    fn transaction_command(&mut self, name: &[u8]) -> Option<Ticket> {
        if name.eq_ignore_ascii_case(b"MULTI") {
            self.in_transaction = true;
            self.transaction = None;
        } else if name.eq_ignore_ascii_case(b"EXEC") || name.eq_ignore_ascii_case(b"DISCARD") {
            self.in_transaction = false;
            return self.transaction;
        }
        None
    }

    fn open_transaction(&self) -> Option<Ticket> {
        self.transaction.filter(|_| self.in_transaction)
    }
}

fn is_of_connections(name: &[u8]) -> bool {
    let mut upper = [0; LONGEST_NAME];
    let Some(upper) = upper.get_mut(..name.len()) else { return false };
    upper.copy_from_slice(name);
    upper.make_ascii_uppercase();
    OF_CONNECTIONS.binary_search(&&*upper).is_ok()
}

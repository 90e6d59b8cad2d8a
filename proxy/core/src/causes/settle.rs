//! Who the cause of a command is, all in all.

use super::Causes;
use super::answer::{Reason, Rule};
use super::candidates::Kind;
use super::question::{FORGETFUL, Next, Question};
use super::slots::{Slot, SlotSet};
use super::steps::{ClassSet, Step};
use super::votes::Votes;

/// Cases that show that a connection's last user goes on using it, and how many exceptions there may be in a thousand.
const CONNECTION_CASES: u32 = 20;
const CONNECTION_EXCEPTIONS: u32 = 3;

/// Messages that have done nothing, of which there are enough to tell that they wait.
const MANY_IDLE: usize = 8;

/// Commands of a template that were attributed before it is told which classes never do it.
const KNOWN_CLASSES: u64 = 20;

/// What was found out about a command.
pub(super) struct Settled {
    /// Whose command it is. If that is unattributed work, there is no cause yet.
    pub(super) slot: Option<Slot>,
    /// How that was told, if it was not told by belonging to unattributed work.
    pub(super) rule: Option<Rule>,
    /// Why it is not known.
    pub(super) reason: Reason,
}

impl Settled {
    pub(super) fn by(slot: Slot, rule: Rule) -> Self {
        Self { slot: Some(slot), rule: Some(rule), reason: Reason::Work }
    }

    pub(super) fn unknown(reason: Reason) -> Self {
        Self { slot: None, rule: None, reason }
    }

    /// Whether nobody was asked, because it may have come by itself.
    pub(super) fn is_spontaneous(&self) -> bool {
        self.slot.is_none() && matches!(self.reason, Reason::WarmUp | Reason::Overload | Reason::New | Reason::Periodic)
    }
}

impl Causes {
    /// Asks one rule after the other, and joins work to its cause where the command shows it.
    pub(super) fn settle(&mut self, question: &Question<'_>, votes: &Votes) -> Settled {
        if votes.is_of_finished && !votes.voted && votes.work.is_empty() {
            let finished = self.finished_owner(question);
            return finished.map_or(Settled::unknown(Reason::Several), |slot| Settled::by(slot, Rule::Answered));
        }
        let mut among = if votes.voted { votes.named } else { question.feasible };
        let mut rule = votes.voted.then_some(Rule::Token);
        let work = votes.work.single();
        if let Some(work) = work {
            let both = among & self.may_be_of(work);
            if !both.is_empty() {
                among = both;
            }
            rule = rule.or(Some(Rule::Work));
        }
        if votes.voted && among.is_several() {
            among = self.last_of_one_trace(among);
        }
        let mut found = match (among.single(), rule) {
            (Some(slot), Some(rule)) => {
                if let (Rule::Token, Some(next)) = (rule, question.next) {
                    self.confirm_next(question, slot, next);
                }
                Some((slot, rule))
            }
            _ => self.by_order(question, votes, among, work),
        };
        if question.in_work.is_empty() {
            self.templates[question.template].orphans += 1;
        }
        found = match (found, work) {
            (Some((slot, rule)), Some(work)) if slot != work => {
                self.join(work, slot, Rule::Joined);
                Some((slot, rule))
            }
            (None, Some(work)) => return self.narrow(work, among),
            (found, _) => found,
        };
        if found.is_none() && !votes.voted {
            found = self.finished_owner(question).map(|slot| (slot, Rule::Answered));
        }
        match found {
            Some((slot, rule)) => Settled::by(slot, rule),
            None if question.in_work.is_empty() => Settled::unknown(Reason::Nobody),
            None => Settled::unknown(Reason::Several),
        }
    }

    /// Attributes a command to work of which it is, and that work to its cause, if only one is left.
    fn narrow(&mut self, work: Slot, among: SlotSet) -> Settled {
        let may_be_of = self.may_be_of(work) & among;
        self.set_may_be_of(work, &may_be_of);
        match may_be_of.single() {
            Some(cause) => {
                self.join(work, cause, Rule::Work);
                Settled::by(cause, Rule::Work)
            }
            None => Settled { slot: Some(work), rule: None, reason: Reason::Work },
        }
    }

    /// If all are of one trace (a request, and the reply that it waits for), there is no doubt which transaction it is, and
    /// the last to come is taken.
    fn last_of_one_trace(&self, among: SlotSet) -> SlotSet {
        let mut candidates = among.iter().map(|slot| (slot, &self.candidates[slot]));
        let Some((first, candidate)) = candidates.next() else { return among };
        let Some(trace) = candidate.trace else { return among };
        let mut last = (candidate.began, candidate.id, first);
        let mut classes = ClassSet::EMPTY;
        if let Some(class) = candidate.class {
            classes.insert(class);
        }
        for (slot, candidate) in candidates {
            // Two of a class are not one that waits for the other, but the same message to two replicas, or two messages.
            if candidate.trace != Some(trace) || !candidate.class.is_some_and(|class| classes.insert(class)) {
                return among;
            }
            if (candidate.began, candidate.id) > (last.0, last.1) {
                last = (candidate.began, candidate.id, slot);
            }
        }
        SlotSet::one(last.2)
    }

    /// Learns from a cause that is known by what it names: unattributed work before it was its, and whether it has used the
    /// connection last, where several could have been next.
    fn confirm_next(&mut self, question: &Question<'_>, cause: Slot, next: Next) {
        if let Some(before) = next
            .slots
            .single()
            .filter(|before| next.only_one && self.unattributed.contains(*before) && self.can_be_of(*before, cause))
        {
            self.join(before, cause, Rule::Before);
        }
        if let Some(last) = question.last_user.filter(|last| next.slots.is_several() && next.slots.contains(*last)) {
            *(if last == cause { &mut self.same_connection } else { &mut self.other_connection }) += 1;
        }
    }

    /// The rules that do not need a token.
    fn by_order(
        &mut self,
        question: &Question<'_>,
        votes: &Votes,
        among: SlotSet,
        work: Option<Slot>,
    ) -> Option<(Slot, Rule)> {
        if let Some(taken) = question.taken.filter(|taken| among.contains(*taken) && self.keeps_connection(*taken))
            && !question.forgetful
            && self.is_caused(question)
            && work.is_none_or(|work| self.can_be_of(work, taken))
        {
            return Some((taken, Rule::Connection));
        }
        if let Some(next) = question.next
            && let Some(found) = self.succeeding(question, votes, among, work, next)
        {
            return Some(found);
        }
        if work.is_some() || question.after_answers || question.forgetful {
            return None;
        }
        if votes.voted {
            return self.due_of(question, among).map(|slot| (slot, Rule::Flow));
        }
        if let Some(slot) = self.due(question) {
            return Some((slot, Rule::Flow));
        }
        let only = question.feasible.single().filter(|_| question.feasible == question.in_work)?;
        if self.lags_behind(only) {
            return None;
        }
        (self.is_caused(question) && 200 * self.answered <= self.attributed).then_some((only, Rule::Alone))
    }

    /// Whether most messages of a class count as finished without having done anything: they wait within the service, which is slow.
    fn lags_behind(&self, message: Slot) -> bool {
        let Some(class) = self.candidates[message].class.filter(|_| self.messages.contains(message)) else {
            return false;
        };
        let finished = self.finished & self.classes[class].members;
        let idle = finished.iter().filter(|slot| self.candidates[*slot].did.is_empty()).count();
        idle >= MANY_IDLE && 4 * idle >= 3 * finished.len()
    }

    /// Whether there was mostly somebody in work when such a command came.
    fn is_caused(&self, question: &Question<'_>) -> bool {
        let template = &self.templates[question.template];
        100 * template.orphans <= template.commands
    }

    /// The one that has just done what such commands follow.
    fn succeeding(
        &mut self,
        question: &Question<'_>,
        votes: &Votes,
        among: SlotSet,
        work: Option<Slot>,
        next: Next,
    ) -> Option<(Slot, Rule)> {
        let candidates = if votes.voted { among } else { question.feasible };
        let mut slots = next.slots & (candidates | self.unattributed);
        let mut rule = next.only_one.then_some(Rule::Succession);
        if next.only_one
            && slots.single().is_some_and(|slot| !self.unattributed.contains(slot))
            && self.who_may_be_due(question, next.after, question.feasible).is_several()
        {
            // The count says that one is left, but not that it is the one that was heard of: an earlier such command may be its, and
            // this one somebody's who is late.
            return None;
        }
        if slots.is_several()
            && self.connections_are_kept()
            && let Some(last) = question.last_user.filter(|last| slots.contains(*last))
        {
            slots = SlotSet::one(last);
            rule = Some(Rule::Connection);
        }
        let (slot, rule) = slots.single().zip(rule)?;
        let unattributed = self.unattributed.contains(slot);
        if work.is_some_and(|work| work != slot && (unattributed || !self.can_be_of(work, slot))) {
            return None;
        }
        if unattributed && votes.voted {
            let may_be_of = self.may_be_of(slot) & among;
            self.set_may_be_of(slot, &may_be_of);
            if let Some(cause) = may_be_of.single() {
                self.join(slot, cause, Rule::Work);
                return Some((cause, Rule::Work));
            }
        }
        Some((slot, rule))
    }

    /// Whether a connection's last user goes on using it as long as it has something to send.
    fn connections_are_kept(&self) -> bool {
        self.same_connection >= CONNECTION_CASES
            && 1000 * u64::from(self.other_connection) <= u64::from(CONNECTION_EXCEPTIONS * self.same_connection)
    }

    /// The only one that has done X and not yet Y, if every X has exactly one Y, whenever.
    fn due(&self, question: &Question<'_>) -> Option<Slot> {
        let template = &self.templates[question.template];
        let among = (question.feasible | self.unattributed).minus(&self.done.get(question.template));
        let mut found = None;
        for succession in template.successions.iter() {
            if !succession.is_exact() || self.pending(question.template, succession.after) != succession.base {
                continue;
            }
            let due = self.who_did(succession.after) & among;
            match due.single() {
                Some(slot) if found.is_none_or(|found| found == slot) => found = Some(slot),
                None if due.is_empty() && !matches!(succession.after, Step::Arrived(_)) => {}
                _ => return None,
            }
        }
        found
    }

    /// The only one of those that the command names that has done X and not yet Y, if every X has exactly one Y, whenever. Others may
    /// be due, too, because the command does not name them.
    ///
    /// All that are named have to be of one class. The numbers of X and Y are also equal if every message is followed by one request,
    /// whose command it is.
    fn due_of(&self, question: &Question<'_>, named: SlotSet) -> Option<Slot> {
        if !self.are_of_one_class(named) {
            return None;
        }
        let is_itself = |step: Step| step == Step::Sent(question.template);
        let mut found = None;
        for succession in self.templates[question.template].successions.iter() {
            if !succession.is_exact() || is_itself(succession.after) {
                continue;
            }
            match self.who_may_be_due(question, succession.after, named).single() {
                Some(slot) if found.is_none_or(|found| found == slot) => found = Some(slot),
                _ => return None,
            }
        }
        found
    }

    fn are_of_one_class(&self, slots: SlotSet) -> bool {
        let mut classes = slots.iter().map(|slot| self.candidates[slot].class);
        let first = classes.next().flatten();
        first.is_some() && classes.all(|class| class == first)
    }

    /// Those of `among` that have done a step, and are not known to have done what the command does.
    fn who_may_be_due(&self, question: &Question<'_>, after: Step, among: SlotSet) -> SlotSet {
        self.who_did(after) & among.minus(&self.done.get(question.template))
    }

    /// The request that was answered, or the message that is not in work any more, which alone has the ids of a command.
    pub(super) fn finished_owner(&self, question: &Question<'_>) -> Option<Slot> {
        let known = question.in_work | self.unattributed;
        let template = &self.templates[question.template];
        let mut among = SlotSet::EMPTY;
        for token in question.tokens.iter().filter(|token| token.is_id) {
            let mut owners = self.owners.of(token.hash);
            if !owners.meets(&self.finished) || (!question.after_answers && owners.meets(&known)) {
                continue;
            }
            owners &= self.finished | known;
            if template.attributed >= KNOWN_CLASSES {
                let others =
                    self.classes.ids().take(self.classes_used).filter(|class| !template.classes.contains(*class));
                for class in others {
                    owners = owners.minus(&self.classes[class].members);
                }
            }
            among = if among.is_empty() { owners } else { among & owners };
        }
        among.single().filter(|slot| {
            let candidate = &self.candidates[*slot];
            let window = candidate.class.map_or(0, |class| self.classes[class].window());
            let limit = if candidate.kind == Kind::Message { window.max(FORGETFUL) } else { FORGETFUL };
            self.now - candidate.heard < limit
        })
    }
}

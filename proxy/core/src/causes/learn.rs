//! What follows from a command for those to come.

use super::bounded::Bounded;
use super::evidence::{Held, PlaceEvidence};
use super::learned::SUCCESSIONS;
use super::question::{Next, Question};
use super::settle::Settled;
use super::slots::{Slot, SlotSet};
use super::steps::{ClassId, ClassSet, Step, TemplateId, TemplateSet};
use super::succession::{HeardOf, Succession};
use super::votes::Votes;
use super::{Causes, HEARD, Rule};

/// Commands of a template after which only one in eight is learnt from.
const WELL_KNOWN: u64 = 1024;

/// Somebody who was heard of before a command.
#[derive(Clone, Copy, Default)]
struct Before {
    last: Step,
    slot: Option<Slot>,
    /// How long ago that was, in microseconds.
    age: u64,
}

impl Causes {
    pub(super) fn learn(&mut self, question: &Question<'_>, votes: &Votes, settled: &Settled) {
        let named = votes.named_by_id().or(settled.slot.filter(|_| settled.rule == Some(Rule::Answered)));
        let turn = self.turn(named);
        // A cause that is known for another reason than what the command names shows whether such commands name their causes.
        let known = settled.slot.filter(|slot| {
            let by_order = matches!(settled.rule, Some(Rule::Flow | Rule::Succession | Rule::Alone));
            by_order && !votes.voted && !self.unattributed.contains(*slot)
        });
        let template = &mut self.templates[question.template];
        template.turns.see(turn);
        for (token, (held, place)) in question.tokens.iter().zip(votes.asked) {
            // A place that was not known may have been met before among these tokens.
            let place = place.or_else(|| template.place(token.place));
            let place = place.or_else(|| template.places.push(PlaceEvidence::new(token.place)));
            if let Some(place) = place.and_then(|place| template.places.as_mut_slice().get_mut(place)) {
                place.see(token.hash, held);
                if let Some(cause) = known.filter(|_| !token.is_id && held != Held::Nobody) {
                    place.evidence.confirm(self.owners.of(token.hash).contains(cause));
                }
            }
        }
        let cause = settled.slot.filter(|slot| settled.rule == Some(Rule::Token) && !self.unattributed.contains(*slot));
        self.learn_successions(question.template, cause);
    }

    /// The class of a request or message, and its number in that class.
    pub(super) fn turn(&self, slot: Option<Slot>) -> Option<(ClassId, u64)> {
        let candidate = &self.candidates[slot?];
        candidate.class.map(|class| (class, candidate.arrival))
    }

    /// Learns what the command follows. `cause` is who sent it, if that is known by what it names.
    fn learn_successions(&mut self, template: TemplateId, cause: Option<Slot>) {
        let commands = self.templates[template].commands;
        if commands > WELL_KNOWN && !commands.is_multiple_of(8) {
            return self.count_pending(template);
        }
        let before = self.heard_before();
        let (mut arrived, mut sent) = (ClassSet::EMPTY, TemplateSet::EMPTY);
        for step in before.iter().map(|before| before.last) {
            let is_new = match step {
                Step::Unknown => false,
                Step::Arrived(class) => arrived.insert(class),
                Step::Sent(template) => sent.insert(template),
            };
            if is_new {
                self.notice(template, step);
            }
        }
        let mut counted = [HeardOf::default(); SUCCESSIONS];
        for before in before.iter() {
            let known = self.templates[template].successions.iter().position(|known| known.after == before.last);
            let (Some(counted), Some(slot)) = (known.and_then(|at| counted.get_mut(at)), before.slot) else { continue };
            if Some(slot) == cause {
                counted.age_of_cause = counted.age_of_cause.min(before.age);
            }
            let may_be = cause.is_some_and(|cause| self.unattributed.contains(slot) && self.can_be_of(slot, cause));
            counted.add(before.age, may_be);
        }
        for (succession, counted) in self.templates[template].successions.as_mut_slice().iter_mut().zip(&counted) {
            succession.see(counted, cause.is_some());
        }
        self.count_pending(template);
    }

    /// Begins to learn whether a template follows a step, if that is new.
    fn notice(&mut self, template: TemplateId, step: Step) {
        let template = &mut self.templates[template];
        if template.successions.iter().any(|known| known.after == step) {
            return;
        }
        if template.successions.is_full() {
            // One that is mostly not there makes room.
            let Some(stale) = template.successions.iter().position(Succession::is_stale) else { return };
            template.successions.remove(stale);
        }
        let before = u16::try_from(template.commands - 1).unwrap_or(u16::MAX);
        template.successions.push(Succession::new(step, f32::from(before)));
    }

    /// Everybody of whom the service was heard lately, the last first, each once.
    fn heard_before(&self) -> Bounded<Before, HEARD> {
        let mut all = Bounded::new();
        let mut known = SlotSet::EMPTY;
        for (_, ticket) in self.heard.iter().rev() {
            let Some(slot) = self.find(*ticket) else { continue };
            let candidate = &self.candidates[slot];
            if candidate.last != Step::Unknown && !known.contains(slot) {
                known.insert(slot);
                all.push(Before { last: candidate.last, slot: Some(slot), age: self.now - candidate.heard });
            }
        }
        all
    }

    /// Counts, for all that a template follows, who has done that and not yet this. When nobody has, all have done this.
    fn count_pending(&mut self, template: TemplateId) {
        for at in 0..self.templates[template].successions.as_slice().len() {
            let Some(after) = self.templates[template].successions.as_slice().get(at).map(|known| known.after) else {
                continue;
            };
            let pending = self.pending(template, after);
            let Some(succession) = self.templates[template].successions.as_mut_slice().get_mut(at) else { continue };
            succession.count(pending);
            if pending == succession.base && succession.is_exact() {
                self.done.insert_all(template, &self.who_did(after));
            }
        }
    }

    /// How many more there were of a step than of a template.
    pub(super) fn pending(&self, template: TemplateId, after: Step) -> i64 {
        let steps = match after {
            Step::Unknown => 0,
            Step::Arrived(class) => self.classes[class].arrivals,
            Step::Sent(other) => self.templates[other].commands,
        };
        steps.cast_signed().wrapping_sub(self.templates[template].commands.cast_signed())
    }

    /// Everybody who has done a step, as far as they are known.
    pub(super) fn who_did(&self, step: Step) -> SlotSet {
        match step {
            Step::Unknown => SlotSet::EMPTY,
            Step::Arrived(class) => self.classes[class].members,
            Step::Sent(template) => self.done.get(template),
        }
    }

    /// Those of whom the next command of a template is expected, if it is sure of whom: the ones that have done the right thing
    /// just before.
    pub(super) fn next(&self, template: TemplateId) -> Option<Next> {
        let successions = self.templates[template].successions.iter();
        let surest = successions.filter_map(|succession| Some((succession.sure_within()?, succession)));
        let (within, succession) = surest.min_by_key(|(within, _)| *within)?;
        let mut slots = SlotSet::EMPTY;
        for (_, ticket) in self.heard.iter().rev().take_while(|(at, _)| self.now - at <= within) {
            if let Some(slot) = self.find(*ticket).filter(|slot| self.candidates[*slot].last == succession.after) {
                slots.insert(slot);
            }
        }
        let only_one = succession.is_exact() && self.pending(template, succession.after) == succession.base;
        Some(Next { slots, after: succession.after, only_one })
    }

    /// Notes that a candidate was heard of.
    pub(super) fn hear(&mut self, slot: Slot) {
        if self.heard.len() == HEARD {
            self.heard.pop_front();
        }
        self.heard.push_back((self.now, self.ticket(slot)));
    }

    /// Forgets all that is known of a step, so that its number can be given to another.
    pub(super) fn forget_step(&mut self, step: Step) {
        for template in self.templates.iter_mut() {
            if let Some(at) = template.successions.iter().position(|known| known.after == step) {
                template.successions.remove(at);
            }
        }
        for candidate in self.candidates.iter_mut().filter(|candidate| candidate.last == step) {
            candidate.last = Step::Unknown;
        }
    }
}

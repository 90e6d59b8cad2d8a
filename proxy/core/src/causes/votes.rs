//! Whom the tokens of a command name.

use super::Causes;
use super::evidence::Held;
use super::question::Question;
use super::slots::{Slot, SlotSet};

/// The tokens of a command that are asked.
pub(super) const ASKED: usize = 24;

/// How sure a place must be: what stands there is named by the cause.
const SURE: f64 = 0.95;

/// What is believed of an id at a place: that it is not mostly somebody else's.
const ID_SURE: f64 = 0.97;
const ID_ESTIMATED: f64 = 0.5;

/// What the tokens of a command say.
pub(super) struct Votes {
    /// Those in work whom all tokens name that are believed. All feasible ones if none is.
    pub(super) named: SlotSet,
    /// Whether a token is believed.
    pub(super) voted: bool,
    /// Whether one of these tokens is an id.
    pub(super) by_id: bool,
    /// Whether an id stands where the cause's has always stood, and is only of somebody who is not in work any more.
    pub(super) is_of_finished: bool,
    /// Whether the tokens name different ones.
    pub(super) contradictory: bool,
    /// Messages each of which alone has an id of the command, if the tokens contradict each other.
    pub(super) batch: Option<SlotSet>,
    /// The unattributed work that has the command's ids.
    pub(super) work: SlotSet,
    /// For each token that was asked: how many have it, and where its place is among those of the template.
    pub(super) asked: [(Held, Option<usize>); ASKED],
}

impl Votes {
    /// The only one in work that has the ids of the command.
    pub(super) fn named_by_id(&self) -> Option<Slot> {
        self.named.single().filter(|_| self.by_id)
    }
}

impl Causes {
    pub(super) fn vote(&self, question: &Question<'_>) -> Votes {
        let template = &self.templates[question.template];
        let known = question.in_work | self.unattributed;
        let mut votes = Votes {
            named: question.feasible,
            voted: false,
            by_id: false,
            is_of_finished: false,
            contradictory: false,
            batch: None,
            work: SlotSet::EMPTY,
            asked: [(Held::Nobody, None); ASKED],
        };
        for (token, asked) in question.tokens.iter().zip(&mut votes.asked) {
            let place = template.place(token.place);
            asked.1 = place;
            if question.after_answers {
                continue;
            }
            let all = self.owners.of(token.hash);
            let owners = all & known;
            if owners.is_empty() {
                let known = place.and_then(|place| template.places.as_slice().get(place));
                let is_the_causes = known.and_then(|known| known.evidence.sure()).is_some_and(|sure| sure >= ID_SURE);
                votes.is_of_finished |= token.is_id && is_the_causes && all.meets(&self.finished);
                continue;
            }
            asked.0 = Held::number(owners.len());
            let place = place.and_then(|place| template.places.as_slice().get(place));
            let sure = place.and_then(|place| place.evidence.sure());
            let confirmed = place.is_some_and(|place| place.evidence.is_confirmed());
            let doubt = if confirmed { ID_SURE } else { ID_ESTIMATED };
            let is_believed_id = token.is_id && sure.is_none_or(|sure| sure >= doubt);
            let is_believed_place = !question.forgetful
                && sure.is_some_and(|sure| sure >= SURE)
                && place.is_some_and(|place| place.changes_often());
            if !is_believed_id && !is_believed_place {
                continue;
            }
            let mut named = owners & question.in_work;
            let work = owners & self.unattributed;
            if !named.is_empty() {
                // Work that has the token may be of these, too.
                work.iter().for_each(|work| named = named | self.may_be_of(work));
                votes.named &= named;
                votes.voted = true;
                votes.by_id |= is_believed_id;
            } else if is_believed_id && !work.is_empty() {
                let both = votes.work & work;
                votes.work = if !both.is_empty() {
                    both
                } else if votes.work.is_empty() {
                    work
                } else {
                    votes.work
                };
            }
        }
        if votes.is_of_finished && !votes.by_id {
            // What else the command names is less than the id of somebody.
            votes.voted = false;
            votes.named = question.feasible;
        }
        votes.contradictory = votes.voted && votes.named.is_empty();
        if votes.contradictory {
            votes.batch = self.batch_of(question);
        }
        votes
    }

    /// The messages each of which alone has an id of the command, if there are several.
    fn batch_of(&self, question: &Question<'_>) -> Option<SlotSet> {
        let mut batch = SlotSet::EMPTY;
        for token in question.tokens.iter().take(ASKED).filter(|token| token.is_id) {
            if let Some(slot) = (self.owners.of(token.hash) & self.messages).single() {
                batch.insert(slot);
            }
        }
        batch.is_several().then_some(batch)
    }
}

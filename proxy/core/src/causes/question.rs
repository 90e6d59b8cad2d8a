//! A command whose cause is asked for, with what the steps of the decision have to know.

use super::slots::{Slot, SlotSet};
use super::steps::{Step, TemplateId};
use super::tokens::Token;

/// After somebody who may be in work was forgotten, only what names one thing is believed for so long, in microseconds.
pub(super) const FORGETFUL: u64 = 2_000_000;

/// What the steps of a decision have to know.
pub(super) struct Question<'a> {
    pub(super) template: TemplateId,
    pub(super) tokens: &'a [Token],
    /// The requests and messages in work.
    pub(super) in_work: SlotSet,
    /// Those of them that may do such a thing now.
    pub(super) feasible: SlotSet,
    /// Whether somebody may be at work who has been forgotten. Then only what names one thing is believed.
    pub(super) forgetful: bool,
    /// Whether such commands come from requests that have been answered.
    pub(super) after_answers: bool,
    /// Who has used the connection last.
    pub(super) last_user: Option<Slot>,
    /// The item of a queue that the connection has taken.
    pub(super) taken: Option<Slot>,
    /// Those of whom the next such command is expected.
    pub(super) next: Option<Next>,
}

/// Those of whom the next command of a template is expected.
#[derive(Clone, Copy)]
pub(super) struct Next {
    pub(super) slots: SlotSet,
    /// What they have done.
    pub(super) after: Step,
    /// Whether only one is due.
    pub(super) only_one: bool,
}

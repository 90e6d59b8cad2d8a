//! The names that a client has asked for and that Redis has not confirmed yet.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use crate::commands::NameTicket;

/// Most names that wait. Of more, the oldest are forgotten, and the connection then keeps the name that it had.
const MAX_WAITING: usize = 4;

/// The names that wait for a reply, and whether the connection has one.
#[derive(Debug, Default)]
pub(super) struct ClientNames {
    waiting: VecDeque<(NameTicket, Option<Arc<str>>)>,
    last: u32,
    is_named: bool,
}

impl ClientNames {
    /// A name has been asked for; `None` takes the name away.
    pub(super) fn ask(&mut self, name: Option<Arc<str>>) -> NameTicket {
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.pop_front();
        }
        self.last = self.last.wrapping_add(1);
        let ticket = NameTicket(self.last);
        self.waiting.push_back((ticket, name));
        ticket
    }

    /// The request with this name has been executed, or refused. Returns the name that the connection has from now on if it is
    /// another one.
    pub(super) fn answered(&mut self, ticket: NameTicket, is_executed: bool) -> Option<Option<Arc<str>>> {
        let at = self.waiting.iter().position(|(waiting, _)| *waiting == ticket)?;
        let (_, name) = self.waiting.remove(at)?;
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        let is_another = is_executed && (name.is_some() || self.is_named);
        self.is_named = if is_executed { name.is_some() } else { self.is_named };
        is_another.then_some(name)
    }

    /// The connection has lost its name. Returns whether it had one.
    pub(super) fn take(&mut self) -> bool {
        core::mem::take(&mut self.is_named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_names_wait_and_only_what_is_executed_counts() {
        let mut names = ClientNames::default();
        let name = |text: &str| Some(Arc::<str>::from(text));
        let tickets: alloc::vec::Vec<_> = ["a", "b", "c", "d", "e"].map(|text| names.ask(name(text))).into();
        assert_eq!(names.answered(tickets[0], true), None, "it was forgotten");
        assert_eq!(names.answered(tickets[1], false), None, "it was refused");
        assert_eq!(names.answered(tickets[2], true), Some(name("c")));
        assert_eq!(names.answered(tickets[2], true), None, "once");
        let none = names.ask(None);
        assert_eq!(names.answered(none, true), Some(None));
        let none = names.ask(None);
        assert_eq!(names.answered(none, true), None, "it had none");
        assert!(!names.take());
    }
}

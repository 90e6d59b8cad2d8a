//! What a session asks of the service that its connection belongs to, and what it reports to it.
//!
//! A service has many connections, and a session knows only one. Everything that a call of the session needs from
//! outside comes in one [`Environment`]. Everything that it reports besides bytes and counts is one list of [`Event`]s.

mod audience;
mod entry;
mod environment;
mod event;
mod inference;

pub use audience::{Audience, ExpectedReceivers, NotProven};
pub use entry::{EntryId, ObservedAck, PendingEntry};
pub use environment::Environment;
pub use event::{Event, SubscriptionChange, SubscriptionKind};
pub use inference::{
    Attribution, Bulks, Inference, MAX_ARGUMENTS, MAX_VALUES, NamedItem, NamedMessage, ObservedCommand,
    ObservedDelivery, ObservedItem, ObservedRead, Passage, Reading, Told,
};

//! The plans: what is changed of a frame, and what has to be seen before that can be decided.
//!
//! Each kind of message that may be changed has a plan, in a file of its own, which alone holds the rules for it. A plan
//! is asked twice. `admit` decides by the frame's head, before the payload is read: pass it on as it is, or hold it back.
//! `decide` sees the payload and states what is changed as [`Edits`], an ordered list of replacements within the bytes that
//! were held. The readers of the session ask the same two questions, whether a frame came in one read or byte by byte.
//!
//! [`Hold`] keeps what waits and applies the edits. What waits is bounded by what `admit` lets in, and nothing else waits.
//! Plans hold no state of a message between the two questions; [`ChannelCache`] only saves work.

mod bulk;
mod channel_cache;
mod context;
mod deliver;
mod edits;
mod hold;
mod input;
mod publish;

pub(crate) use bulk::Bulk;
pub(crate) use context::command_span;
pub(crate) use deliver::{DeliverPlan, Message};
pub(crate) use edits::Edits;
pub(crate) use hold::Hold;
pub(crate) use input::Input;
pub(crate) use publish::{Admission, Decision, Publish, PublishPlan, Standing};

//! The plans, which decide how a frame is changed.
//!
//! Each kind of message that may be changed has a plan with all the rules for it, in a file of its own. A plan is asked
//! twice. `admit` sees the frame's head, before the payload is read, and decides whether the payload is passed on as it is
//! or held back. `decide` sees the payload, and returns the changes as [`Edits`], an ordered list of replacements within
//! the held bytes. The readers of the session ask the same two questions, whether a frame came in one read or byte by byte.
//!
//! [`Hold`] keeps the held bytes and applies the edits. `admit` bounds their number, and no other bytes are held. Plans
//! keep no state of a message between the two questions. The cache of the last channel only saves work.

mod beside;
mod bulk;
mod channel_cache;
mod context;
mod deliver;
mod edits;
pub(crate) mod entries;
pub(crate) mod envelopes;
mod hold;
mod input;
mod publish;

pub(crate) use bulk::Bulk;
pub(crate) use context::{Consumer, child_of, command_span, derived_context, push_span, untraced};
pub(crate) use deliver::{DeliverPlan, Message};
pub(crate) use edits::Edits;
pub(crate) use hold::Hold;
pub(crate) use input::Input;
pub(crate) use publish::{Admission, Decision, Publish, PublishPlan, Standing};

/// Whether `len` bytes are more than `limit`.
pub(crate) fn exceeds(len: u64, limit: usize) -> bool {
    usize::try_from(len).map_or(true, |len| len > limit)
}

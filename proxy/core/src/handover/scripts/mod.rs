//! The scripts by which well-known job libraries add jobs, take them and publish: a table of what tells each of them from others,
//! and of what its keys and arguments mean.
//!
//! A script is sent as its text (`EVAL`) or as the SHA-1 of it (`EVALSHA`). The hash changes with each release of a library, and
//! the text is never sent again once Redis has it. So neither can be relied on, and a script is told by what has to come with it
//! each time: the number of its keys, their names behind one common prefix, and arguments that say the same as the keys. Laravel's
//! scripts, which are always sent as text, also have to begin with the comment that they have there. What does not fit in each part
//! is like any other script.

mod call;
mod table;

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::Shape;
use call::Call;
use table::KNOWN;

/// Most channels of a script that publishes that are looked at.
pub(crate) const MAX_CHANNELS: usize = 16;

/// What a script does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Script<'a> {
    /// It adds a job whose id comes with the reply, as a string.
    AddsJob {
        /// The name of the queue: what the keys begin with, without the colon that follows.
        queue: &'a [u8],
        /// What the application has given the job, as the library has serialised it.
        data: &'a [u8],
        /// The texts of a context that the library's own instrumentation has given to the job, as a JSON object.
        context: Option<&'a [u8]>,
        /// The options in which that instrumentation has its context, in MessagePack. They are the last word of the call. `None` if
        /// the library, or the release of it that makes this call, has no such instrumentation.
        options: Option<&'a [u8]>,
    },
    /// It adds a job that is one argument as a whole, and that is handed over as it is.
    AddsElement {
        /// The key of the queue.
        queue: Cow<'a, [u8]>,
        /// The whole job, as it is added to the list and handed over later.
        element: &'a [u8],
    },
    /// It takes jobs out of a queue, if there are any.
    Takes {
        /// The queue, as of the script that adds to it.
        queue: Cow<'a, [u8]>,
        /// How the reply has the jobs.
        shape: Shape,
        /// Whether it ends the work on another job first. So it belongs to that, unlike one that only takes.
        finishes: bool,
    },
    /// It publishes the same payload on several channels.
    Publishes {
        /// The payload.
        payload: &'a [u8],
        /// The channels, [`MAX_CHANNELS`] at most.
        channels: Vec<&'a [u8]>,
    },
}

impl<'a> Script<'a> {
    /// Reads an `EVAL` or an `EVALSHA` in RESP. `None` if the script is none of the table, or if the request is cut off.
    pub(crate) fn of_request(request: &'a [u8]) -> Option<Self> {
        let call = Call::of_request(request)?;
        KNOWN.iter().find_map(|known| known.read(&call))
    }
}

/// The queue of which this is the list that jobs wait in, if they are moved from it to the list of those in work: Bull and BullMQ 4
/// have `wait` and `active`, Bee-Queue has `waiting` and `active`. The elements are ids of jobs.
pub(crate) fn queue_of_move<'a>(from: &'a [u8], to: &[u8]) -> Option<&'a [u8]> {
    let queue = to.strip_suffix(b":active")?;
    let name = from.strip_prefix(queue)?;
    (name == b":wait" || name == b":waiting").then(|| from.get(..queue.len())).flatten()
}

/// Whether this element is no job, but only tells a worker that there may be one: in the sorted set `marker` of BullMQ from version
/// 5 on, among the ids of BullMQ 4 (`is_id`), and in Laravel's `queues:*:notify`.
pub(crate) fn is_marker(key: &[u8], is_id: bool, element: &[u8]) -> bool {
    let is_notify = || key.ends_with(b":notify") && memchr::memmem::find(key, b"queues:").is_some();
    match element {
        b"0" => key.ends_with(b":marker"),
        b"1" => key.ends_with(b":marker") || is_notify(),
        _ => is_id && element.starts_with(b"0:"),
    }
}

#[cfg(test)]
mod tests;

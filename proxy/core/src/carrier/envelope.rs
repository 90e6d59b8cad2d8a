//! A context in the envelope of a job library, for workers without a proxy that have the library's own instrumentation
//! (`--envelope`).
//!
//! These members are added to an object of the envelope, directly before its closing brace and without white space:
//!
//! ```text
//! ,"traceparent":"00-<trace id>-<span id>-<flags>","tracestate":"<entries>"
//! ```
//!
//! The leading comma is absent if the object had no members, and `tracestate` if the context has none. No other byte changes.
//! Nobody removes the members again: whoever takes the element, puts it back or removes it by its bytes has it as it is in
//! Redis. They have no mark of a proxy and no MAC, because they are what the library's own instrumentation would have written.
//!
//! Jobs of BullMQ have theirs in their [`options`].
//!
//! An element is an envelope only if it has exactly the shape that the library gives it. What differs in anything, or may be
//! read in two ways, is none. An element that names a context anywhere in that object is none either.

use alloc::vec::Vec;

use super::json::{self, Member};
use super::texts;
use crate::choice;
use crate::trace::Context;

pub(crate) mod options;

/// The object of an item that stands for the item itself.
pub(crate) const ITEM: &str = "";
/// The object in which the instrumentation of Celery has its context.
pub(crate) const HEADERS: &str = "headers";
/// The object in which the instrumentation of taskiq has its context.
pub(crate) const LABELS: &str = "labels";

/// Most members of an object that is read as a part of an envelope.
const MAX_MEMBERS: usize = 64;

choice! {
    /// A library whose envelopes get contexts (`--envelope`).
    pub enum Envelope, default Celery {
        /// The headers of Celery's messages, as kombu writes them in JSON.
        Celery = "celery",
        /// The labels of taskiq's messages in JSON.
        Taskiq = "taskiq",
        /// The members of Sidekiq's jobs.
        Sidekiq = "sidekiq",
        /// The options of BullMQ's jobs.
        BullMq = "bullmq",
    }
}

/// What a value in JSON is, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Array,
    Object,
    /// An object, or null.
    Nullable,
}

/// The shape of an envelope.
struct Shape {
    /// The members that it has.
    required: &'static [(&'static str, Kind)],
    /// Those that it may have. `None` if it may have any.
    optional: Option<&'static [(&'static str, Kind)]>,
    /// The members that objects of it have.
    inner: &'static [(&'static str, &'static str, Kind)],
}

/// A message of task protocol 2, by `prepare_message` in `kombu/transport/virtual/base.py` and `as_task_v2` in
/// `celery/app/amqp.py`.
const CELERY: Shape = Shape {
    required: &[
        ("body", Kind::Text),
        ("content-encoding", Kind::Text),
        ("content-type", Kind::Text),
        ("headers", Kind::Object),
        ("properties", Kind::Object),
    ],
    optional: Some(&[]),
    inner: &[
        ("headers", "task", Kind::Text),
        ("headers", "id", Kind::Text),
        ("properties", "delivery_tag", Kind::Text),
    ],
};

/// `TaskiqMessage` in `taskiq/message.py`. Older versions write no `labels_types`.
const TASKIQ: Shape = Shape {
    required: &[
        ("task_id", Kind::Text),
        ("task_name", Kind::Text),
        ("labels", Kind::Object),
        ("args", Kind::Array),
        ("kwargs", Kind::Object),
    ],
    optional: Some(&[("labels_types", Kind::Nullable)]),
    inner: &[],
};

/// A job by `normalize_item` in `lib/sidekiq/job_util.rb`. Middleware of the application may add any members.
const SIDEKIQ: Shape = Shape {
    required: &[("class", Kind::Text), ("args", Kind::Array), ("jid", Kind::Text), ("queue", Kind::Text)],
    optional: None,
    inner: &[],
};

/// The beginning of the keys of Sidekiq's queues, before the queue's name.
const SIDEKIQ_KEY: &[u8] = b"queue:";

impl Envelope {
    /// The name of the object in which the library's instrumentation has its context, and the shape of an element that has it.
    /// `None` if the library adds no elements.
    const fn object_and_shape(self) -> Option<(&'static str, &'static Shape)> {
        match self {
            Self::Celery => Some((HEADERS, &CELERY)),
            Self::Taskiq => Some((LABELS, &TASKIQ)),
            Self::Sidekiq => Some((ITEM, &SIDEKIQ)),
            Self::BullMq => None,
        }
    }

    /// Where a context goes in this element of the list `key`, if it is an envelope of the library without one.
    fn gap(self, key: &[u8], element: &str, members: &[Member<'_>]) -> Option<Gap> {
        let (object, shape) = self.object_and_shape()?;
        let find = |name: &str| members.iter().find(|member| member.name == name);
        if !shape.required.iter().all(|(name, kind)| find(name).is_some_and(|member| kind.is_of(member))) {
            return None;
        }
        if let Some(optional) = shape.optional {
            let is_required = |member: &Member<'_>| shape.required.iter().any(|(name, _)| *name == member.name);
            let is_known = |member: &Member<'_>| {
                is_required(member) || optional.iter().any(|(name, kind)| *name == member.name && kind.is_of(member))
            };
            members.iter().all(is_known).then_some(())?;
        }
        for (object, name, kind) in shape.inner {
            let inner = json::members(find(object)?.value, MAX_MEMBERS)?;
            inner.iter().any(|member| member.name == *name && kind.is_of(member)).then_some(())?;
        }
        if self == Self::Sidekiq {
            let queue = find("queue")?.value.as_bytes();
            let name = queue.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
            (key.strip_prefix(SIDEKIQ_KEY) == Some(name)).then_some(())?;
        }
        match object {
            ITEM => Gap::at_end_of(element, 0),
            name => {
                let object = find(name)?;
                Gap::at_end_of(object.value, object.value_at)
            }
        }
    }
}

impl Kind {
    fn is_of(self, member: &Member<'_>) -> bool {
        match member.value.as_bytes().first() {
            Some(b'"') => self == Self::Text,
            Some(b'[') => self == Self::Array,
            Some(b'{') => matches!(self, Self::Object | Self::Nullable),
            Some(b'n') => self == Self::Nullable,
            _ => false,
        }
    }
}

/// Where a context goes in an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The position in the element.
    pub(crate) at: usize,
    follows_a_member: bool,
}

impl Gap {
    /// The end of this object, which begins at `start` of the element. `None` if it names a context.
    fn at_end_of(object: &str, start: usize) -> Option<Self> {
        let members = json::members(object, MAX_MEMBERS)?;
        let names_context = |member: &Member<'_>| {
            texts::names().any(|name| name != texts::BAGGAGE && member.name.eq_ignore_ascii_case(name))
        };
        let end = object.trim_ascii_end().len().checked_sub(1)?;
        let is_free = !members.iter().any(names_context);
        is_free.then_some(Self { at: start + end, follows_a_member: !members.is_empty() })
    }

    /// Appends the members for `context` to `out`.
    pub(crate) fn write(self, context: &Context, out: &mut Vec<u8>) {
        if self.follows_a_member {
            out.push(b',');
        }
        json::write_plain(context, out);
    }
}

/// Where a context goes in this element of the list `key`, if it is an envelope of one of these libraries and names none.
pub(crate) fn gap(key: &[u8], element: &[u8], envelopes: &[Envelope]) -> Option<Gap> {
    // Nearly every element that is no object ends here.
    (element.first() == Some(&b'{')).then_some(())?;
    let element = core::str::from_utf8(element).ok()?;
    let members = json::members(element, MAX_MEMBERS)?;
    envelopes.iter().find_map(|envelope| envelope.gap(key, element, &members))
}

#[cfg(test)]
mod tests;

//! What the requests of a connection add to queues and streams (`--follow`): one PRODUCER span for each such command, and the context
//! that follows from what names an item.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Parts;
use super::items::{carried, entry_id, is_first};
use crate::carrier::derived::{Identity, MAX_ELEMENT_LEN};
use crate::commands;
use crate::handover::{Awaited, Push, Pushes};
use crate::policy::{Mode, Policy};
use crate::resp::Values;
use crate::rewrite::{derived_context, push_span};
use crate::service::{Attribution, Event, NamedItem, Passage};
use crate::trace::{Change, Operation, Sent, SpanContext, SpanRecord, TraceId, UnixNanos};

/// Most entries of streams and jobs whose ids are waited for. The oldest makes room for further ones, and stays without its id.
const MAX_ENTRIES: usize = 1024;

/// The longest key of a stream or name of a queue, in bytes, that is kept until the reply comes.
const MAX_KEY_LEN: usize = 1024;

/// Most bytes that are kept of a request that does not come at once.
pub(super) const MAX_KEPT: usize = 2 * MAX_ELEMENT_LEN;

/// Most items of a command that its span tells the contexts of.
const MAX_LINKS: usize = 16;

/// The streams and queues to which entries and jobs were added whose ids have not come yet, in the order of the commands.
#[derive(Debug, Default)]
pub(super) struct Entries {
    last: u32,
    waiting: VecDeque<(u32, Waiting)>,
}

/// A stream or a queue whose next id is waited for.
#[derive(Debug)]
struct Waiting {
    awaits: Awaited,
    key: Box<[u8]>,
}

impl Entries {
    fn push(&mut self, awaits: Awaited, key: &[u8]) -> u32 {
        if self.waiting.len() >= MAX_ENTRIES {
            self.waiting.pop_front();
        }
        self.last = self.last.wrapping_add(1);
        self.waiting.push_back((self.last, Waiting { awaits, key: key.into() }));
        self.last
    }

    /// The stream or the queue of this entry. Those before it will not be answered any more.
    fn take(&mut self, number: u32) -> Option<Waiting> {
        let at = self.waiting.iter().position(|(waiting, _)| *waiting == number)?;
        let found = self.waiting.drain(..=at).next_back();
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        found.map(|(_, waiting)| waiting)
    }

    /// The bytes of memory that are taken. It is asked after each call, mostly of nobody who adds to streams.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        if self.waiting.capacity() == 0 {
            return 0;
        }
        self.waiting.capacity() * size_of::<(u32, Waiting)>()
            + self.waiting.iter().map(|(_, waiting)| waiting.key.len()).sum::<usize>()
    }
}

/// The span of the command `name`, if it adds items to a stream or to a key that is a queue, or is a script that adds a job, and the
/// span is recorded. `None` if it adds none. `frame` is the request in RESP.
pub(super) fn span_of(
    name: &[u8],
    frame: &[u8],
    start: UnixNanos,
    attribution: Option<&Attribution>,
    parts: &mut Parts<'_>,
) -> Option<Option<SpanRecord>> {
    let pushes = commands::find(name)?.pushes?;
    let policy = Arc::clone(parts.call.env.policy);
    if parts.call.env.inference.is_none() || !policy.enabled || policy.mode == Mode::Observe {
        return None;
    }
    let push = Push::of_request(pushes, frame)?;
    let is_certain = push.awaits.is_some() || pushes == Pushes::Script;
    if push.key.len() > MAX_KEY_LEN
        || !(is_certain || policy.is_queue(&push.key) || is_waited_for(&push.key, start, parts))
    {
        return None;
    }
    let carried = push.only().and_then(|item| carried(&item, &policy));
    let database = parts.pairing.asked_database();
    let (items, repeated) = named(push.elements.iter().copied().filter(|_| carried.is_none()), &policy, parts);
    let ids = if carried.is_none() { ids_of(pushes, &push, parts) } else { Vec::new() };
    // A span of its own can have the context of an item that nobody has added before.
    let is_named_by_item = push.count == 1 && items.len() == 1 && repeated.is_empty();
    let has_names = push.awaits.is_some() || !items.is_empty() || !ids.is_empty();
    let is_told = policy.tells_contexts() && has_names && carried.is_none();
    let companion = if is_told { parts.companions.of(database, &push.key, &policy) } else { None };
    let sent = Sent {
        queue: policy.key_template(&push.key).map(Arc::from),
        id: None,
        count: push.count,
        body_size: push.size,
        items,
        carries_context: carried.is_some(),
        is_named_by_item,
        entry: None,
        companion,
        ids,
        repeated,
        is_told: false,
    };
    let mut span = push_span(sent, push.awaits.is_some(), start, carried.as_ref(), attribution, &mut parts.call);
    if let Some(SpanRecord { operation: Operation::Send(sent), .. }) = &mut span {
        sent.entry = push.awaits.map(|awaits| parts.entries.push(awaits, &push.key));
    }
    add_ids(name, &mut span, parts);
    Some(span)
}

/// The names of the elements of a list that are nothing but an id, of which other proxies are told.
///
/// There are none of a sorted set, because it is not known whether `ZADD` has added a member that may have been there already.
fn ids_of(pushes: Pushes, push: &Push<'_>, parts: &Parts<'_>) -> Vec<TraceId> {
    let policy = &**parts.call.env.policy;
    if !matches!(pushes, Pushes::Elements | Pushes::Inserted) || !policy.tells_contexts() {
        return Vec::new();
    }
    let database = parts.pairing.asked_database();
    let ids = push.elements.iter().take(MAX_LINKS).filter_map(|id| Identity::of_id(database, &push.key, id));
    ids.filter_map(|id| derived_context(id, policy)).map(|id| id.trace_id).collect()
}

/// Tells the inference of the ids that the command `name` adds by this span, and notes which of them may be in the queue already.
/// Those are told as such. So are those of a command that may add nothing, such as `LPUSHX` to a list that is not there.
fn add_ids(name: &[u8], span: &mut Option<SpanRecord>, parts: &mut Parts<'_>) {
    let Some(SpanRecord { operation: Operation::Send(sent), context, .. }) = span else { return };
    let (now, by) = (parts.call.env.now, context.span_id);
    let adds_all = [&b"LPUSH"[..], b"RPUSH"].iter().any(|push| name.eq_ignore_ascii_case(push));
    if let (Some(companion), Some(inference)) = (sent.companion, parts.call.env.inference.as_deref_mut()) {
        for &name in &sent.ids {
            let item = NamedItem { name, companion, is_shared: false, is_id: true };
            let is_clear = inference.adds_id(now, &item, by);
            if !(is_clear && adds_all) {
                sent.repeated.push(name);
            }
        }
    }
}

/// The contexts that follow from what names these elements of one command, as Redis gets them, and those of them that were added
/// before.
pub(super) fn named<'a>(
    elements: impl Iterator<Item = &'a [u8]>,
    policy: &Policy,
    parts: &mut Parts<'_>,
) -> (Vec<SpanContext>, Vec<TraceId>) {
    let database = parts.pairing.asked_database();
    let (mut items, mut repeated) = (Vec::new(), Vec::new());
    for element in elements.take(MAX_LINKS) {
        let item = Identity::of_element(database, element).and_then(|item| derived_context(item, policy));
        repeated.extend(item.filter(|item| !is_first(item, Passage::Added, parts)).map(|item| item.trace_id));
        items.extend(item);
    }
    (items, repeated)
}

/// Whether the service itself has waited for items at this key, so that what it adds there is work.
pub(super) fn is_waited_for(key: &[u8], now: UnixNanos, parts: &mut Parts<'_>) -> bool {
    let database = parts.pairing.asked_database();
    let inference = parts.call.env.inference.as_deref_mut();
    inference.is_some_and(|inference| inference.is_waited_for(now, database, key))
}

/// The span of a command that adds an entry to this stream or a job to this queue, whose id comes with the reply.
pub(super) fn awaits_id(mut span: SpanRecord, awaits: Awaited, key: &[u8], parts: &mut Parts<'_>) -> SpanRecord {
    if let Operation::Send(sent) = &mut span.operation {
        sent.entry = parts.call.env.inference.is_some().then(|| parts.entries.push(awaits, key));
    }
    span
}

/// Takes the reply to a command that has added an entry to a stream or a job to a queue, if the last reply was one. It has the id.
pub(super) fn added(frame: &[u8], parts: &mut Parts<'_>) {
    let Some(event) = parts.pairing.take_sent() else { return };
    let waiting = match parts.call.out.events.get_mut(event) {
        Some(Event::SpanEnded(SpanRecord { operation: Operation::Send(sent), .. })) => sent.entry.take(),
        _ => None,
    };
    let Some(Waiting { awaits, key }) = waiting.and_then(|entry| parts.entries.take(entry)) else { return };
    // A script that has not added a job answers with a number, or with nothing.
    let id = Values::new(frame).next().filter(|_| frame.starts_with(b"$")).unwrap_or_default();
    let database = parts.pairing.database();
    let (identity, shown) = match awaits {
        Awaited::Entry => match entry_id(id) {
            Some(shown) => (Identity::Entry { database, key: &key, id }, Some(shown)),
            None => return,
        },
        Awaited::Job if id.is_empty() => return,
        Awaited::Job => (Identity::Job { database, queue: &key, id }, None),
    };
    let context = derived_context(identity, parts.call.env.policy);
    // An id that the application chooses may come again, and those of streams do not.
    let is_first = awaits == Awaited::Entry || context.is_some_and(|context| is_first(&context, Passage::Added, parts));
    let Some(Event::SpanEnded(span)) = parts.call.out.events.get_mut(event) else { return };
    // The context of a span that is in the entry cannot change any more.
    let has_left = span.handling.payload == Change::Injected;
    let is_root = span.parent.is_none() && span.link.is_none() && !has_left;
    let Operation::Send(sent) = &mut span.operation else { return };
    sent.id = shown;
    sent.repeated.extend(context.filter(|_| !is_first).map(|context| context.trace_id));
    match context {
        Some(context) if is_root && is_first => {
            sent.is_named_by_item = true;
            span.context = context;
        }
        context if !sent.carries_context => sent.items.extend(context),
        _ => {}
    }
}

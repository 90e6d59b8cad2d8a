//! What is told of an item at both of its ends, where it is added and where it is handed over.

use alloc::sync::Arc;

use super::Parts;
use crate::carrier::derived::Identity;
use crate::handover::{self, Item};
use crate::policy::{Policy, Trust};
use crate::rewrite::derived_context;
use crate::service::{EntryId, NamedItem, Passage};
use crate::trace::{Context, SpanContext};

/// Whether no other item with this context has passed.
pub(super) fn is_first(item: &SpanContext, passage: Passage, parts: &mut Parts<'_>) -> bool {
    let inference = parts.call.env.inference.as_deref_mut();
    inference.is_some_and(|inference| inference.is_first(item.span_id, passage))
}

/// The context that an item carries, if it is believed.
pub(super) fn carried(item: &Item<'_>, policy: &Policy) -> Option<Context> {
    if !policy.enabled || policy.trust == Trust::None {
        return None;
    }
    match &item.added {
        Some(added) => added.context.clone().filter(|_| policy.propagators.carries_traces()),
        None => handover::context(item, policy.propagators),
    }
}

/// The context that follows from what names an item, if something does. Whoever has added the item has a span with this context, or
/// one with a link to it.
pub(super) fn derived(key: &[u8], item: &Item<'_>, parts: &Parts<'_>) -> Option<SpanContext> {
    let database = parts.pairing.database();
    let identity = match (item.id, item.values.as_slice()) {
        _ if item.job.is_some() => item.job.map(|id| Identity::Job { database, queue: key, id }),
        (Some(id), _) => EntryId::parse(id).map(|_| Identity::Entry { database, key, id }),
        // It is there as a whole, because a length of its own is known of it.
        (None, [element]) if u64::try_from(element.len()) == Ok(item.size) => Identity::of_element(database, element),
        (None, _) => None,
    };
    derived_context(identity?, parts.call.env.policy)
}

/// What names an item of this key to other proxies, if one of them may tell its context. `derived` is the context that follows from it.
pub(super) fn named(derived: SpanContext, key: &[u8], item: &Item<'_>, parts: &mut Parts<'_>) -> Option<NamedItem> {
    let policy = &**parts.call.env.policy;
    if !policy.hears_contexts() {
        return None;
    }
    let companion = parts.companions.of(parts.pairing.database(), key, policy)?;
    Some(NamedItem { name: derived.trace_id, companion, is_shared: item.id.is_some(), is_id: false })
}

/// What names an element of this list to other proxies if it is nothing but an id, of which one of them may tell the context.
pub(super) fn named_id(key: &[u8], item: &Item<'_>, parts: &mut Parts<'_>) -> Option<NamedItem> {
    let policy = &**parts.call.env.policy;
    let [element] = item.values.as_slice() else { return None };
    let is_whole = u64::try_from(element.len()) == Ok(item.size);
    if !policy.hears_contexts() || item.job.is_some() || item.id.is_some() || !is_whole {
        return None;
    }
    let database = parts.pairing.database();
    let name = derived_context(Identity::of_id(database, key, element)?, policy)?.trace_id;
    let companion = parts.companions.of(database, key, policy)?;
    Some(NamedItem { name, companion, is_shared: false, is_id: true })
}

/// The id of an entry as spans show it, if it is one: a stream can only have ids of two numbers.
pub(super) fn entry_id(id: &[u8]) -> Option<Arc<str>> {
    EntryId::parse(id)?;
    core::str::from_utf8(id).ok().map(Arc::from)
}

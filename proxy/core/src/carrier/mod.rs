//! How a context is added to a payload, and how it is found there and removed again.
//!
//! There are three forms in a payload: [`trailer`] (a binary suffix, the default), [`json`] (members of a JSON object) and
//! [`opencensus`] (a binary prefix). Entries of streams have a form of their own (`field`). Each of these can be told from a context
//! that the application supplies itself. Only a context that a proxy added is removed, or replaced when a message is published again.
//! With [`keys`], only a context whose MAC is right counts as added by a proxy. The envelopes of job libraries get a context as
//! the library's own instrumentation writes it, and keep it (`envelope`). What nothing can be added to may have a context that
//! follows from what names it (`derived`), and one that proxies tell each other ([`out_of_band`]). All readers are total: no
//! bytes make them panic.

pub(crate) mod derived;
pub(crate) mod envelope;
pub(crate) mod faststream;
pub mod field;
pub mod json;
pub mod keys;
mod mark;
pub(crate) mod msgpack;
pub mod opencensus;
pub mod out_of_band;
pub(crate) mod texts;
pub mod trailer;

use alloc::vec::Vec;
use core::iter;
use core::ops::Range;

pub use envelope::Envelope;
pub use field::StreamCarrier;
use json::JsonPath;
pub use keys::ContextKeys;
use keys::Covered;

use crate::choice;
use crate::trace::{Context, Propagators, SpanContext};

choice! {
    /// The form of the contexts that are added on a channel (`--carrier`).
    pub enum Carrier, default Trailer {
        /// A binary suffix of the payload.
        Trailer = "trailer",
        /// Members of the payload's JSON object.
        Json = "json",
        /// The 29-byte binary context of OpenCensus in front of the payload.
        OpenCensus = "opencensus",
        /// Nothing is added to the payload: other proxies are told the context in messages of their own.
        Beside = "beside",
    }
}

/// What matters to a context of where its message is published or delivered.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The name of the channel, as the command or the message has it.
    pub channel: &'a [u8],
    /// The form in which contexts are added on that channel.
    pub carrier: Carrier,
    /// The keys that contexts are signed and checked with; none if contexts need no proof.
    pub keys: &'a ContextKeys,
}

/// A context that a proxy added to a payload, or that somebody made look so.
#[derive(Clone, Debug, PartialEq)]
pub struct Added {
    /// The form of the context.
    pub form: Carrier,
    /// The position of its bytes in the payload, to remove them or to replace them by those of another context.
    pub range: Range<usize>,
    /// The context; `None` if it is forged.
    pub context: Option<Context>,
    /// Whether the context has a MAC, right or not.
    pub has_mac: bool,
    /// Whether there are keys, and by none of them the context has a right MAC.
    pub is_forged: bool,
}

impl Added {
    fn new(form: Carrier, range: Range<usize>, context: Context) -> Self {
        Self { form, range, context: Some(context), has_mac: false, is_forged: false }
    }
}

/// Looks for a context that a proxy added. A trailer cannot be mistaken for payload, so it is looked for everywhere. The other
/// forms are looked for on the channels whose carrier they are, because only there a service can expect that they vanish. Where
/// a MAC is right, JSON members are found on every channel.
pub fn find_added(payload: &[u8], place: &Place<'_>) -> Option<Added> {
    // What is found is returned as it is, because to move it costs more than to look for it.
    let mut found = trailer::find(payload);
    if found.is_none() {
        found = match place.carrier {
            Carrier::Trailer | Carrier::Beside if place.keys.is_empty() => return None,
            Carrier::Json | Carrier::Trailer | Carrier::Beside => json::find(payload),
            Carrier::OpenCensus => opencensus::find_added(payload),
        };
    }
    if !place.keys.is_empty() {
        found = proven(payload, place, found?);
    }
    found
}

/// The context with what its MAC says of it.
#[cold]
fn proven(payload: &[u8], place: &Place<'_>, added: Added) -> Option<Added> {
    if has_right_mac(payload, place, &added) {
        return Some(added);
    }
    let is_expected = added.form == Carrier::Trailer || added.form == place.carrier;
    is_expected.then_some(Added { context: None, is_forged: true, ..added })
}

fn has_right_mac(payload: &[u8], place: &Place<'_>, added: &Added) -> bool {
    let bytes = payload.get(added.range.clone()).unwrap_or_default();
    let (context, mac) = match added.form {
        _ if !added.has_mac => return false,
        Carrier::Trailer => match trailer::mac(bytes) {
            Some((covered, mac)) => ([covered, &[][..]], *mac),
            None => return false,
        },
        Carrier::Json => match json::mac(bytes) {
            Some(found) => found,
            None => return false,
        },
        // One of them has no room for it, and the other is not in the payload.
        Carrier::OpenCensus | Carrier::Beside => return false,
    };
    let covered = Covered { channel: place.channel, payload: without(payload, &added.range), context };
    place.keys.verify(&covered, &mac)
}

/// The payload before and behind `range`.
fn without<'a>(payload: &'a [u8], range: &Range<usize>) -> [&'a [u8]; 2] {
    [payload.get(..range.start).unwrap_or_default(), payload.get(range.end..).unwrap_or_default()]
}

/// Reads a context that the application itself put into the payload: a prefix where OpenCensus is the channel's carrier, JSON
/// members elsewhere if `path` says where, or then the headers of FastStream's envelope, which have no path. The proxy never changes such a context unless it is told to remove it.
pub fn find_supplied(
    payload: &[u8],
    carrier: Carrier,
    path: Option<&JsonPath>,
    formats: Propagators,
) -> Option<Context> {
    if carrier == Carrier::OpenCensus {
        return opencensus::find(payload).filter(|prefix| !prefix.is_added()).map(|prefix| prefix.context.into());
    }
    let path = path?;
    if faststream::is_envelope(payload) {
        return faststream::find(payload, false, formats);
    }
    json::Object::parse(payload, formats, path)?.supplied
}

/// Finds a context of the application in any form, to remove it: the context, and the ranges of the payload that hold it, in
/// order.
pub fn find_removable(payload: &[u8], formats: Propagators) -> Option<(Context, Vec<Range<usize>>)> {
    match opencensus::find(payload) {
        Some(prefix) => Some((prefix.context.into(), iter::once(0..opencensus::LEN).collect())),
        None => json::supplied_members(payload, formats),
    }
}

/// The identity of a span as its context will carry it in the form `form`, in a payload that may have `added` one already.
/// OpenCensus's form has the payload in the span id.
#[inline]
pub fn carried_span(span: SpanContext, form: Carrier, payload: &[u8], added: Option<&Added>) -> SpanContext {
    if form == Carrier::OpenCensus { sealed_span(span, payload, added) } else { span }
}

#[cold]
fn sealed_span(span: SpanContext, payload: &[u8], added: Option<&Added>) -> SpanContext {
    if added.is_none() && opencensus::find(payload).is_some() {
        return span;
    }
    let range = added.map_or(0..0, |added| added.range.clone());
    opencensus::sealed(span, without(payload, &range))
}

/// Replaces `added` by `context` in the same form: appends the new bytes for `added.range` to `out`.
pub fn replace(payload: &[u8], added: &Added, place: &Place<'_>, context: &Context, out: &mut Vec<u8>) {
    let without = without(payload, &added.range);
    match added.form {
        Carrier::Trailer => write_trailer(without, place, context, out),
        Carrier::Json => {
            let follows_a_member = payload.get(added.range.start) == Some(&b',');
            json::write(context, follows_a_member, without, place, out);
        }
        Carrier::OpenCensus => opencensus::write(context.span, out),
        Carrier::Beside => {}
    }
}

/// Adds `context` to a payload that has none: appends the bytes to `out` and returns the position in the payload where they
/// belong. Returns `None` and writes nothing if the payload does not fit the carrier.
pub fn add(
    payload: &[u8],
    place: &Place<'_>,
    context: &Context,
    formats: Propagators,
    out: &mut Vec<u8>,
) -> Option<usize> {
    match place.carrier {
        Carrier::Trailer => {
            write_trailer([payload, &[]], place, context, out);
            Some(payload.len())
        }
        Carrier::Json => {
            let object = json::Object::parse(payload, formats, &JsonPath::default())?;
            if object.names_context {
                return None;
            }
            let (before, behind) = payload.split_at_checked(object.end)?;
            json::write(context, !object.is_empty, [before, behind], place, out);
            Some(object.end)
        }
        Carrier::OpenCensus => {
            if opencensus::find(payload).is_some() {
                return None;
            }
            opencensus::write(context.span, out);
            Some(0)
        }
        Carrier::Beside => None,
    }
}

#[inline]
fn write_trailer(payload: [&[u8]; 2], place: &Place<'_>, context: &Context, out: &mut Vec<u8>) {
    if place.keys.is_empty() {
        return trailer::write(context, out);
    }
    let mac = |covered: &[u8]| place.keys.sign(&Covered { channel: place.channel, payload, context: [covered, &[]] });
    trailer::write_with_mac(context, mac, out);
}

/// Writes the context of `span` in the place of `added`, in the same length and without what marks it as added by a proxy, so
/// that the service takes it for one that a peer supplied. A trailer is not handed on, because no service reads it.
pub fn hand_on(payload: &[u8], added: &Added, span: SpanContext, out: &mut Vec<u8>) {
    let bytes = payload.get(added.range.clone()).unwrap_or_default();
    match added.form {
        Carrier::Trailer | Carrier::Beside => out.extend_from_slice(bytes),
        Carrier::Json => json::hand_on(bytes, span, out),
        Carrier::OpenCensus => opencensus::write_supplied(span, out),
    }
}

//! How a context is added to a payload, and how it is found there and removed again.
//!
//! There are three forms: [`trailer`] (a binary suffix, the default), [`json`] (members of a JSON object) and
//! [`opencensus`] (a binary prefix). Each can be told from a context that the application supplies itself. Only a
//! context that a proxy added is removed, or replaced when a message is published again. All readers are total: no
//! bytes make them panic.

pub mod json;
pub mod opencensus;
pub mod trailer;

use alloc::vec::Vec;
use core::ops::Range;

use crate::choice;
use crate::trace::{Context, Propagators};

choice! {
    /// The form of the contexts that are added on a channel (`--carrier`).
    pub enum Carrier, default Trailer {
        /// A binary suffix of the payload.
        Trailer = "trailer",
        /// Members of the payload's JSON object.
        Json = "json",
        /// The 29-byte binary context of OpenCensus in front of the payload.
        OpenCensus = "opencensus",
    }
}

/// A context that a proxy added to a payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Added {
    /// The form of the context.
    pub form: Carrier,
    /// The position of its bytes in the payload, to remove them or to replace them by those of another context.
    pub range: Range<usize>,
    /// The context; `None` if its version is not known or its content is not valid. Its bytes are removed all the same.
    pub context: Option<Context>,
}

/// Looks for a context that a proxy added. Trailers and JSON members cannot be mistaken for payload, so every payload is
/// searched for them, whatever carrier the publisher's proxy uses. Only 33 bits tell a prefix from payload, so it is looked
/// for only where the channel's own carrier is [`Carrier::OpenCensus`].
pub fn find_added(payload: &[u8], carrier: Carrier) -> Option<Added> {
    // What is found is returned as it is, because to move it costs more than to look for it.
    if let found @ Some(_) = trailer::find(payload) {
        return found;
    }
    if let found @ Some(_) = json::find(payload) {
        return found;
    }
    if carrier != Carrier::OpenCensus {
        return None;
    }
    let prefix = opencensus::find(payload).filter(opencensus::Prefix::is_added)?;
    Some(Added { form: Carrier::OpenCensus, range: 0..opencensus::LEN, context: Some(prefix.context.into()) })
}

/// Reads a context that the application itself put into the payload. The proxy never changes such a context.
pub fn find_supplied(payload: &[u8], carrier: Carrier, read_json: bool, formats: Propagators) -> Option<Context> {
    if carrier == Carrier::OpenCensus {
        return opencensus::find(payload).filter(|prefix| !prefix.is_added()).map(|prefix| prefix.context.into());
    }
    if read_json { json::Object::parse(payload, formats)?.supplied } else { None }
}

/// Replaces `added` by `context` in the same form: appends the new bytes for `added.range` to `out`.
pub fn replace(payload: &[u8], added: &Added, context: &Context, out: &mut Vec<u8>) {
    match added.form {
        Carrier::Trailer => trailer::write(context, out),
        Carrier::Json => {
            let follows_a_member = payload.get(added.range.start) == Some(&b',');
            json::write(context, follows_a_member, out);
        }
        Carrier::OpenCensus => opencensus::write(context.span, out),
    }
}

/// Adds `context` to a payload that has none: appends the bytes to `out` and returns the position in the payload where they
/// belong. Returns `None` and writes nothing if the payload does not fit the carrier.
pub fn add(
    payload: &[u8],
    carrier: Carrier,
    context: &Context,
    formats: Propagators,
    out: &mut Vec<u8>,
) -> Option<usize> {
    match carrier {
        Carrier::Trailer => {
            trailer::write(context, out);
            Some(payload.len())
        }
        Carrier::Json => {
            let object = json::Object::parse(payload, formats)?;
            if object.names_context {
                return None;
            }
            json::write(context, !object.is_empty, out);
            Some(object.end)
        }
        Carrier::OpenCensus => {
            if opencensus::find(payload).is_some() {
                return None;
            }
            opencensus::write(context.span, out);
            Some(0)
        }
    }
}

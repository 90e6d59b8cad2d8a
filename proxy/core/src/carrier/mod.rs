//! How a context travels in a payload, and how it leaves it again without a trace.
//!
//! Three forms: [`trailer`] (a binary suffix, the default), [`json`] (members of a JSON object) and [`opencensus`] (a
//! binary prefix). Each can be told from what an application supplies itself: only what a proxy added is removed, and
//! only that is replaced when a message is published again. All readers are total: any bytes, no panic.

pub mod json;
pub mod opencensus;
pub mod trailer;

use alloc::vec::Vec;
use core::ops::Range;

use crate::choice;
use crate::trace::{Context, Propagators};

choice! {
    /// `--carrier`
    pub enum Carrier, default Trailer {
        /// A binary suffix of the payload.
        Trailer = "trailer",
        /// Members of the payload's JSON object.
        Json = "json",
        /// The 29-byte binary context of OpenCensus in front of the payload.
        OpenCensus = "opencensus",
    }
}

/// What a proxy added to a payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Added {
    /// The form it has.
    pub form: Carrier,
    /// The bytes to remove, or to replace by those of another context.
    pub range: Range<usize>,
    /// The context; `None` if it is of a version that is removed but not understood.
    pub context: Option<Context>,
}

/// Looks for a context that a proxy added. Trailers and JSON members are certain and are looked for in every payload,
/// whatever carrier the publisher's proxy was told to use. A prefix is only 40 bits of certainty, so it counts only where
/// the channel's own carrier is [`Carrier::OpenCensus`].
pub fn find_added(payload: &[u8], carrier: Carrier) -> Option<Added> {
    // Returned as they are, because to move what was found costs more than to look for it.
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

/// Reads a context that the application itself put into the payload. It is never altered.
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

/// Adds `context` to a payload that holds none: appends the bytes to `out` and says where in the payload they belong.
/// `None`, with nothing written, if the payload does not fit the carrier.
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

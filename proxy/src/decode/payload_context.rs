//! The context in one payload.

use redistributed_core::carrier::{self, Added, Carrier, json, opencensus, trailer};
use redistributed_core::trace::{Context, Propagators};

use super::args::CarrierFilter;

/// The context that a payload carries.
#[derive(Clone, Debug, PartialEq)]
pub enum PayloadContext {
    /// The payload carries no context.
    None,
    /// A proxy added the context, and a proxy removes it.
    Added {
        /// Its bytes, and the context in them if this version understands it.
        added: Added,
        /// The version of a trailer; 0 for the other carriers, which have none.
        version: u8,
    },
    /// The application put the context there. Proxies never remove it.
    Supplied {
        /// The carrier that it has the form of.
        form: Carrier,
        /// The context.
        context: Context,
    },
}

/// Every propagation format that the context of an application may have.
pub(super) const ALL_FORMATS: Propagators = Propagators { trace_context: true, baggage: true, b3: true, jaeger: true };

impl PayloadContext {
    /// Looks for a context in `payload`. One that a proxy added goes before one that the application supplied.
    pub fn find(payload: &[u8], filter: CarrierFilter) -> Self {
        let wanted = |form| filter == CarrierFilter::Auto || filter == form;
        let trailer = || trailer::find(payload).filter(|_| wanted(CarrierFilter::Trailer));
        let members = || json::find(payload).filter(|_| wanted(CarrierFilter::Json));
        let prefix = || opencensus::find(payload).filter(|_| wanted(CarrierFilter::Opencensus));
        if let Some(added) = trailer().or_else(members) {
            let version = if added.form == Carrier::Trailer { trailer_version(payload) } else { 0 };
            return Self::Added { added, version };
        }
        if let Some(prefix) = prefix() {
            let context = Context::from(prefix.context);
            return if prefix.is_added() {
                let added = Added { form: Carrier::OpenCensus, range: 0..opencensus::LEN, context: Some(context) };
                Self::Added { added, version: 0 }
            } else {
                Self::Supplied { form: Carrier::OpenCensus, context }
            };
        }
        let supplied = || carrier::find_supplied(payload, Carrier::Json, true, ALL_FORMATS);
        match wanted(CarrierFilter::Json).then(supplied).flatten() {
            Some(context) => Self::Supplied { form: Carrier::Json, context },
            None => Self::None,
        }
    }

    /// Whether there is no context.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// Returns `payload` without what a proxy added to it. The context must have been found in the same payload.
    pub fn strip_from(&self, payload: &[u8]) -> Vec<u8> {
        match self {
            Self::Added { added, .. } => [&payload[..added.range.start], &payload[added.range.end..]].concat(),
            Self::Supplied { .. } | Self::None => payload.to_vec(),
        }
    }
}

/// The version byte of a trailer: the one in front of the checksum (4 bytes) and the magic (8 bytes).
fn trailer_version(payload: &[u8]) -> u8 {
    payload.len().checked_sub(13).and_then(|at| payload.get(at)).copied().unwrap_or_default()
}

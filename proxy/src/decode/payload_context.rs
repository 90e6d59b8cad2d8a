//! The context in one payload.

use redistributed_core::carrier::field::AddedFields;
use redistributed_core::carrier::json::JsonPath;
use redistributed_core::carrier::{self, Added, Carrier, ContextKeys, Place, json, opencensus, trailer};
use redistributed_core::trace::{Context, Propagators};

use super::args::CarrierFilter;

/// The context that a payload carries.
#[derive(Clone, Debug, PartialEq)]
pub enum PayloadContext {
    /// The payload carries no context.
    None,
    /// A proxy added the context, and a proxy removes it.
    Added(Added),
    /// A proxy added the context as the last two fields of an entry of a stream. The payload are its fields in RESP.
    Fields(AddedFields),
    /// The application put the context there. Only `--strip-supplied` removes it.
    Supplied {
        /// The carrier that it has the form of.
        form: Carrier,
        /// The context.
        context: Context,
    },
}

/// Every propagation format that the context of an application may have.
pub(super) const ALL_FORMATS: Propagators =
    Propagators { trace_context: true, baggage: true, b3: true, b3_multi: false, jaeger: true };

impl PayloadContext {
    /// Looks for a context in `payload`. One that a proxy added goes before one that the application supplied.
    pub fn find(payload: &[u8], filter: CarrierFilter) -> Self {
        let wanted = |form| filter == CarrierFilter::Auto || filter == form;
        let trailer = || trailer::find(payload).filter(|_| wanted(CarrierFilter::Trailer));
        let members = || json::find(payload).filter(|_| wanted(CarrierFilter::Json));
        if let Some(added) = trailer().or_else(members) {
            return Self::Added(added);
        }
        if wanted(CarrierFilter::Opencensus) {
            let place = Place { channel: b"", carrier: Carrier::OpenCensus, keys: &ContextKeys::default() };
            if let Some(added) = carrier::find_added(payload, &place) {
                return Self::Added(added);
            }
            if let Some(prefix) = opencensus::find(payload) {
                return Self::Supplied { form: Carrier::OpenCensus, context: prefix.context.into() };
            }
        }
        let supplied = || json::Object::parse(payload, ALL_FORMATS, &JsonPath::default())?.supplied;
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
            Self::Added(added) => [&payload[..added.range.start], &payload[added.range.end..]].concat(),
            Self::Fields(added) => payload[..added.start].to_vec(),
            Self::Supplied { .. } | Self::None => payload.to_vec(),
        }
    }
}

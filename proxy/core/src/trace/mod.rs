//! Trace identity and finished spans, free of any OpenTelemetry crate.
//!
//! [`context`] holds what travels with a message, [`record`] what is told about it afterwards, [`sampler`] the
//! decision between the two, and [`ids`] the one place where new identity comes from.

pub mod context;
pub mod ids;
pub mod propagators;
pub mod record;
pub mod sampler;

pub use context::{Context, SpanContext, SpanId, TraceFlags, TraceId};
pub use ids::Ids;
pub use propagators::Propagators;
pub use record::{Change, ErrorType, Handling, Operation, SpanRecord, UNKNOWN_COMMAND, UnixNanos};
pub use sampler::Sampler;

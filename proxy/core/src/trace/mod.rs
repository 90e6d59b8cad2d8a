//! Trace identity and finished spans, without any OpenTelemetry crate.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cause`] | what is inferred about the cause of a span |
//! | [`context`] | the context that travels with a message |
//! | [`propagators`] | the context formats that are read and passed on |
//! | [`ids`] | the source of new ids |
//! | [`destination`] | a channel as spans name it |
//! | [`sampler`] | the decision whether a new span is recorded |
//! | [`request`] | what a span tells of an HTTP request |
//! | [`record`] | a finished span |

pub mod cause;
pub mod companion;
pub mod context;
pub mod destination;
pub mod ids;
pub mod propagators;
pub mod record;
pub mod request;
pub mod sampler;
pub mod time;

pub use cause::{CommandId, Inferred, PublishNumber, ToldMessage};
pub use companion::Companion;
pub use context::{Context, SpanContext, SpanId, TraceFlags, TraceId};
pub use destination::Destination;
pub use ids::Ids;
pub use propagators::Propagators;
pub use record::{Change, ConsumerGroup, ErrorType, Handling, Operation, Sent, SpanRecord, UNKNOWN_COMMAND};
pub use request::Request;
pub use sampler::Sampler;
pub use time::UnixNanos;

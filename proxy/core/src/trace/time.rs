//! Times as plain numbers: the core reads no clock.

/// Nanoseconds since the Unix epoch, as OTLP counts them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct UnixNanos(pub u64);

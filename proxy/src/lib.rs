//! The tokio shell of redistributed.

pub mod telemetry;

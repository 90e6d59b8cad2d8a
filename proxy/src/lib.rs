//! The tokio shell of redistributed.

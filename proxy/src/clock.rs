//! The only wall-clock read. Everything else is given a time, so that it can be tested with one of its own.

use std::time::{SystemTime, UNIX_EPOCH};

use redistributed_core::trace::UnixNanos;

/// The time now. A clock before 1970 reads as 1970, one after 2554 as 2554.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn now() -> UnixNanos {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixNanos(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))
}

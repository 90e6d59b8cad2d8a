//! RESP2 and RESP3, as far as a proxy has to read them.
//!
//! RESP3 is a superset of RESP2 and an RESP2 server never sends a RESP3 type, so one scanner serves both. Only
//! lengths and counts are understood here; what a value says is read by the session, and only where it matters.
//! Nothing here keeps a stack: nesting of any depth is one number, the count of values still owed.
//!
//! Streamed strings and aggregates (`$?`, `*?`) are refused: no server sends them (Redis 7.0 to 8.2, Valkey 9.1).

pub(crate) mod complete;
mod number;
mod scan;

pub use number::{MAX_DECIMAL_LEN, NumberLine, write_decimal};
pub(crate) use number::{MAX_HEADER_LEN, write_header};
pub use scan::Scan;
pub(crate) use scan::end_of_line;

/// How far a resumable reader came with the bytes it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<T> {
    /// All bytes were taken; more are needed.
    More,
    /// Finished, with the position behind the last byte that belongs to it.
    Done(T),
    /// These bytes can never become valid.
    Invalid,
}

/// Longest bulk string that is believed, in bytes. Redis's `proto-max-bulk-len` is 512 MiB unless raised; the
/// protocol has no limit of its own, so this one only keeps the arithmetic safe.
pub const MAX_BULK_LEN: u64 = 1 << 60;

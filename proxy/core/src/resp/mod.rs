//! RESP2 and RESP3, as far as a proxy has to read them.
//!
//! RESP3 is a superset of RESP2, and a server never sends a RESP3 type over RESP2, so one scanner reads both. This module
//! understands only lengths and counts. The session reads what a value says, and only where it matters.
//! Nothing here keeps a stack: nesting of any depth is one number, the count of values still owed.
//!
//! Streamed strings and aggregates (`$?`, `*?`) are refused: no server sends them (Redis 7.0 to 8.2, Valkey 9.1).

pub(crate) mod complete;
mod number;
mod scan;
mod values;

pub use number::{MAX_DECIMAL_LEN, NumberLine, write_decimal};
pub(crate) use number::{MAX_HEADER_LEN, write_header};
pub use scan::Scan;
pub(crate) use scan::end_of_line;
pub use values::Values;
pub(crate) use values::take_line;

/// How far a resumable reader has come with the bytes that it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<T> {
    /// All bytes were taken, and more are needed.
    More,
    /// The reader has finished, and its position is after the last byte that it needed.
    Done(T),
    /// These bytes can never become valid.
    Invalid,
}

/// Longest bulk string that is accepted, in bytes. Redis's `proto-max-bulk-len` is 512 MiB unless an operator raises it,
/// and the protocol itself has no limit. So this one only keeps sums of lengths from overflowing.
pub const MAX_BULK_LEN: u64 = 1 << 60;

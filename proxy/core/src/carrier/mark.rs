//! The entry of `tracestate` by which proxies tell a context that one of them has added from one of the application.
//!
//! ```text
//! redistributed=<span id>-<checksum>[-<MAC>][,<other entries>]
//! ```
//!
//! The entry repeats the span id of `traceparent`, as W3C Trace Context lets a tracing system do. The checksum, 8 hexadecimal
//! digits, and the MAC, 32 digits, bind it to what carries it. The carriers say what these two cover.

use alloc::vec::Vec;

use super::keys::{MAC_LEN, Mac};
use super::trailer::is_carried;
use crate::trace::Context;
use crate::trace::context::{MAX_TRACE_STATE, MAX_TRACE_STATE_MEMBERS, hex_array, write_hex};

const ENTRY: &[u8] = b"redistributed=";
const SPAN_ID_LEN: usize = 16;
const CHECKSUM_LEN: usize = 8;
const MAC_DIGITS: usize = 2 * MAC_LEN;

/// Length, in bytes, of a MAC with the hyphen before it.
pub(super) const MAC_PART_LEN: usize = 1 + MAC_DIGITS;

/// Longest value of `tracestate` that is written, in bytes.
pub(super) const MAX_LEN: usize = ENTRY.len() + SPAN_ID_LEN + 1 + CHECKSUM_LEN + MAC_PART_LEN + 1 + MAX_TRACE_STATE;

/// Appends the value of `tracestate` for `context` to `out`. Returns where in `out` a MAC belongs.
pub(super) fn write(context: &Context, checksum: u32, out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(ENTRY);
    push_hex::<SPAN_ID_LEN>(&context.span.span_id.to_bytes(), out);
    out.push(b'-');
    push_hex::<CHECKSUM_LEN>(&checksum.to_be_bytes(), out);
    let mac_at = out.len();
    push_entries(context.trace_state.as_deref().unwrap_or_default(), out);
    mac_at
}

/// Inserts a MAC into `out`, where [`write`] has said that it belongs.
pub(super) fn insert_mac(mac: &Mac, at: usize, out: &mut Vec<u8>) {
    let mut digits = [b'-'; MAC_PART_LEN];
    write_hex(mac, &mut digits[1..]);
    out.splice(at..at, digits);
}

/// Appends the entries of another `tracestate` that fit, each behind a comma.
fn push_entries(trace_state: &str, out: &mut Vec<u8>) {
    let entries = trace_state.split(',').map(str::trim);
    let mut budget = MAX_TRACE_STATE;
    // One member is the proxy's own.
    let others = entries.filter(|entry| !entry.as_bytes().starts_with(ENTRY) && needs_no_escape(entry));
    for entry in others.take(MAX_TRACE_STATE_MEMBERS - 1) {
        let Some(left) = budget.checked_sub(entry.len() + 1) else { break };
        budget = left;
        out.push(b',');
        out.extend_from_slice(entry.as_bytes());
    }
}

fn needs_no_escape(entry: &str) -> bool {
    is_carried(entry.as_bytes(), MAX_TRACE_STATE) && !entry.contains(['"', '\\'])
}

fn push_hex<const DIGITS: usize>(bytes: &[u8], out: &mut Vec<u8>) {
    let mut digits = [0; DIGITS];
    write_hex(bytes, &mut digits);
    out.extend_from_slice(&digits);
}

/// The parts of a value that [`write`] has written.
pub(super) struct Mark<'a> {
    /// The digits of the span id.
    pub(super) span_id: &'a [u8; SPAN_ID_LEN],
    pub(super) checksum: u32,
    pub(super) mac: Option<Mac>,
    /// The other entries of `tracestate`, each with the comma before it.
    pub(super) entries: &'a [u8],
}

impl<'a> Mark<'a> {
    /// Reads the value of a `tracestate`. `None` if it does not begin with such an entry.
    pub(super) fn read(value: &'a [u8]) -> Option<Self> {
        let (span_id, rest) = value.strip_prefix(ENTRY)?.split_first_chunk::<SPAN_ID_LEN>()?;
        let (checksum, rest) = rest.strip_prefix(b"-")?.split_first_chunk::<CHECKSUM_LEN>()?;
        let (mac, entries) = match rest.strip_prefix(b"-") {
            Some(rest) => {
                let (digits, rest) = rest.split_first_chunk::<MAC_DIGITS>()?;
                (Some(hex_array(digits)?), rest)
            }
            None => (None, rest),
        };
        Some(Self { span_id, checksum: u32::from_be_bytes(hex_array(checksum)?), mac, entries })
    }

    /// The other entries without the comma before the first one. `None` if what follows the mark is no further entry.
    pub(super) fn others(&self) -> Option<&'a [u8]> {
        match self.entries.split_first() {
            None => Some(&[]),
            Some((b',', others)) if !others.is_empty() => Some(others),
            Some(_) => None,
        }
    }
}

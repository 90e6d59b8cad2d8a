//! The job in the reply of a script of Bull or BullMQ: the fields of its hash, and its id behind them.
//!
//! ```text
//! *4 *16 $4 name $4 mail $4 data $12 {"text":"x"} $4 opts … $1 7 :0 :0
//! ```
//!
//! Without a job there are only numbers, or nothing. Lua gives fields as an array in RESP3, too.

use super::items::{Handed, Item};
use crate::resp::complete::decimal;
use crate::resp::take_line;

/// The fields that are told: what the job says, and the options in which a context may be.
const FIELDS: [&[u8]; 2] = [b"data", b"opts"];

/// A field of a hash, or the id of the job.
struct Text<'a> {
    bytes: &'a [u8],
    /// The length that the whole text has, in bytes.
    len: u64,
    is_cut_off: bool,
}

/// The job in `frame`, the beginning of the reply.
pub(super) fn job(frame: &[u8]) -> Handed<'_> {
    let mut handed = Handed::default();
    let mut rest = frame;
    let Some(fields) = begin(&mut rest) else { return handed };
    let mut item = Item::begin(None, None);
    // Of a job that is cut off before its id nobody knows which one it is.
    item.job = read(&mut rest, fields, &mut item);
    handed.is_incomplete = item.job.is_none() && item.values.as_slice().is_empty();
    handed.items.extend((!handed.is_incomplete).then_some(item));
    handed
}

/// Reads the fields, and returns the id behind them.
fn read<'a>(rest: &mut &'a [u8], fields: u64, item: &mut Item<'a>) -> Option<&'a [u8]> {
    for _ in 0..fields / 2 {
        let name = take(rest)?.bytes;
        let value = take(rest)?;
        if FIELDS.contains(&name) {
            if name == FIELDS[0] {
                item.size = value.len;
            }
            item.add_field(name, value.bytes, value.is_cut_off);
        }
        if value.is_cut_off {
            return None;
        }
    }
    take(rest).filter(|id| !id.is_cut_off).map(|id| id.bytes)
}

/// Takes what stands before the first field, and returns the number of names and values.
fn begin(rest: &mut &[u8]) -> Option<u64> {
    let (b'*', _) = take_line(rest)? else { return None };
    let (b'*', values) = take_line(rest)? else { return None };
    decimal(values).filter(|values| *values > 0)
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<Text<'a>> {
    let (b'$', len) = take_line(rest)? else { return None };
    let len = decimal(len)?;
    let size = usize::try_from(len).ok()?;
    let bytes = rest.get(..size).unwrap_or(rest);
    let is_cut_off = bytes.len() < size;
    *rest = rest.get(size.checked_add(2)?..).unwrap_or_default();
    Some(Text { bytes, len, is_cut_off })
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::{String, ToString};

    use super::*;

    const BULLMQ: &str = "*4\r\n*8\r\n$4\r\nname\r\n$4\r\nmail\r\n\
        $4\r\ndata\r\n$7\r\n{\"n\":1}\r\n$4\r\nopts\r\n$2\r\n{}\r\n$3\r\natm\r\n$1\r\n0\r\n$2\r\n17\r\n:0\r\n:0\r\n";

    fn found(frame: &[u8]) -> String {
        let handed = job(frame);
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let line = |item: &Item<'_>| {
            let values: alloc::vec::Vec<_> = item.values.as_slice().iter().map(|value| text(value)).collect();
            format!("{} {} {}", item.job.map_or("-".into(), text), values.join("+"), item.size)
        };
        let more = if handed.is_incomplete { "..." } else { "" };
        handed.items.first().map(line).unwrap_or_default() + more
    }

    #[test]
    fn a_reply_has_the_id_and_the_data_of_one_job_or_none() {
        assert_eq!(found(BULLMQ.as_bytes()), "17 {\\\"n\\\":1}+{} 7");
        assert_eq!(found(b"*2\r\n*2\r\n$4\r\ndata\r\n$2\r\n{}\r\n$1\r\na\r\n"), "a {} 2");
        // The hash of a job has gone, and its id is still in the list.
        assert_eq!(found(b"*4\r\n*0\r\n$1\r\n9\r\n:0\r\n:0\r\n"), "");
        for none in
            ["*4\r\n:0\r\n:0\r\n:0\r\n:0\r\n", ":0\r\n", ":-1\r\n", "$-1\r\n", "_\r\n", "*0\r\n", "-ERR x\r\n", ""]
        {
            assert_eq!(found(none.as_bytes()), "", "{none}");
        }
    }

    #[test]
    fn of_a_reply_that_is_cut_off_the_data_is_told_and_no_wrong_id() {
        for cut in 0..BULLMQ.len() {
            let found = found(&BULLMQ.as_bytes()[..cut]);
            assert!(
                ["", "..."].contains(&&*found) || found.starts_with("- ") || found.starts_with("17 "),
                "{cut} {found}"
            );
        }
        let data_at = BULLMQ.find("{\"n\"").unwrap();
        assert_eq!(found(&BULLMQ.as_bytes()[..data_at + 3]), "- {\\\"n 7");
    }

    #[test]
    fn no_bytes_make_it_fail() {
        let deep = "*1\r\n".repeat(10_000);
        for frame in [
            deep.as_str(),
            "*2\r\n*18446744073709551615\r\n$1\r\n",
            "*2\r\n*2\r\n$18446744073709551615\r\nx",
            "*2\r\n*2\r\n:1\r\n",
        ] {
            assert!(job(frame.as_bytes()).items.is_empty(), "{frame}");
        }
    }
}

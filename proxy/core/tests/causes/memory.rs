//! No text stays in memory: the whole process is searched for it.

use std::fmt::Debug;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use redistributed_core::causes::{Causes, Command, Connection, Delivery, HashKey, RequestHead};
use redistributed_core::trace::UnixNanos;

/// The length of a canary, which is a token that looks like an id.
const LENGTH: usize = 24;

/// What the canaries are written with here, so that this program does not contain them.
const MASK: u8 = 0x55;

/// A canary, with `MASK` on every byte.
fn masked(number: u8) -> [u8; LENGTH] {
    let mut canary = *b"canary0a1b2c3d4e5f6g7h8i";
    canary[6] = b'a' + number;
    canary.map(|byte| byte ^ MASK)
}

/// Writes a canary into a buffer, hands it on, and wipes the buffer.
fn with_canary(number: u8, mut use_it: impl FnMut(&[u8])) {
    let mut buffer = masked(number);
    buffer.iter_mut().for_each(|byte| *byte ^= MASK);
    use_it(&buffer);
    std::hint::black_box(&mut buffer).fill(0);
}

/// How often each of the first five canaries is anywhere in the memory of this process.
fn found() -> [usize; 5] {
    let mut memory = File::open("/proc/self/mem").unwrap();
    let mut found = [0; 5];
    let mut buffer = vec![0; 1 << 20];
    for line in BufReader::new(File::open("/proc/self/maps").unwrap()).lines() {
        let line = line.unwrap();
        let Some((range, _)) = line.split_once(' ').filter(|(_, rest)| rest.starts_with("rw")) else { continue };
        let (start, end) = range.split_once('-').unwrap();
        let (mut start, end) = (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
        while start < end {
            let length = usize::try_from(end - start).unwrap().min(buffer.len());
            let piece = &mut buffer[..length];
            // Other tests may have given this memory back meanwhile.
            if memory.seek(SeekFrom::Start(start)).is_err() || memory.read_exact(piece).is_err() {
                break;
            }
            let (beginning, length) = (b"canary", LENGTH.min(length));
            for at in memchr::memmem::find_iter(piece, beginning) {
                for (number, found) in (0..).zip(&mut found) {
                    let here = piece[at..].iter().take(LENGTH);
                    *found += usize::from(here.map(|byte| byte ^ MASK).eq(masked(number)));
                }
            }
            // The pieces overlap, so that nothing is missed between them, except at the end.
            let step = if start + (piece.len() as u64) < end { piece.len() - length } else { piece.len() };
            start += u64::try_from(step).unwrap();
            // What was read is not to be found in turn.
            piece.fill(0);
        }
    }
    found
}

fn shown(value: &impl Debug) -> String {
    format!("{value:?}").to_lowercase()
}

#[test]
fn no_token_is_kept_as_text() {
    let mut causes = Causes::new(HashKey::new([3; 16]));
    let mut connection = Connection::default();
    let mut ids = 0;
    let mut shown_texts = String::new();
    for round in 0..20u64 {
        let now = UnixNanos((1000 + round * 70) * 1_000_000);
        ids += 10;
        with_canary(0, |canary| {
            causes.message(now, &Delivery { id: ids, trace: None, publish: None, channel: canary, payload: canary });
        });
        with_canary(1, |canary| {
            let head = RequestHead { id: ids + 1, trace: None, method: b"POST", target: canary };
            let ticket = causes.request(now, &head, [(&b"cookie"[..], canary)]);
            let mut text = causes.text();
            causes.request_body(ticket, &mut text, canary, true);
            let mut text = causes.text();
            // The token is not complete, so the reader has read the most that it can.
            causes.response_body(now, ticket, &mut text, canary, false);
            shown_texts.push_str(&shown(&text));
            causes.response_body(now, ticket, &mut text, b"", true);
            causes.response_end(now, ticket);
        });
        with_canary(2, |canary| {
            let arguments = [canary; 6];
            let sent =
                causes.command(now, &mut connection, &Command { id: ids + 2, name: b"SET", arguments: &arguments });
            shown_texts.push_str(&shown(&sent));
            if let Some(ticket) = sent.ticket {
                causes.reply(now, ticket, [canary]);
            }
        });
        with_canary(3, |canary| {
            causes.command(now, &mut connection, &Command { id: ids + 3, name: canary, arguments: &[] });
        });
        shown_texts.push_str(&shown(&causes));
        shown_texts.push_str(&shown(&connection));
    }
    assert_eq!(found(), [0; 5]);
    assert!(!shown_texts.contains("canary"), "{shown_texts}");
    // The search finds what is there.
    with_canary(4, |canary| {
        let kept = std::hint::black_box(canary.to_vec());
        let [others @ .., this] = found();
        assert!(others == [0; 4] && this >= 1, "{others:?}, {this}");
        drop(kept);
    });
}

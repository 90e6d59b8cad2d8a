//! The property that the fuzz target `causes` checks.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::causes::{Answer, Causes, Command, Connection, Delivery, HashKey, LateAnswer, RequestHead, Text, Ticket};
use crate::trace::UnixNanos;

/// Whatever is reported in whatever order, only what came before a command is named as its cause, late answers come once, the
/// same events have the same answers, and no memory is taken after the beginning. Four bytes are an event: what it is, how long
/// after the last one, its text, and which request, command or connection it is about.
pub fn causes(data: &[u8]) {
    let (first, second) = (play(data), play(data));
    assert!(first.answers == second.answers && first.late == second.late, "the same events have the same answers");
    for answer in &first.answers {
        let named: &[u64] = match answer {
            Answer::Cause { id, .. } => core::slice::from_ref(id),
            Answer::Batch(links) => {
                assert!(links.as_slice().len() >= 2);
                links.as_slice()
            }
            Answer::OneOf(links) => {
                assert!((2..=4).contains(&links.as_slice().len()));
                links.as_slice()
            }
            Answer::Unknown(_) => &[],
        };
        assert!(named.iter().all(|id| first.causes.contains(id)), "{answer:?}");
    }
    let mut answered = Vec::new();
    for late in &first.late {
        assert!(first.causes.contains(&late.cause) && first.commands.contains(&late.command), "{late:?}");
        assert!(late.cause < late.command, "{late:?}");
        assert!(!answered.contains(&late.command), "{late:?} comes once");
        answered.push(late.command);
    }
}

const NAMES: [&[u8]; 10] =
    [b"GET", b"SET", b"PUBLISH", b"INCR", b"GET", b"SET", b"MULTI", b"EXEC", b"DISCARD", b"PING"];

/// A text with tokens that others have too.
fn text(byte: u8) -> String {
    let number = byte / 8;
    match byte % 8 {
        0 => format!("word{number}"),
        1 => format!("item:{}", 10_000 + u32::from(number)),
        2 => format!("{{\"name\": \"{:08x}\", \"n\": {}}}", 0x0101_0101 * u32::from(number), number % 3),
        3 => "plain".to_owned(),
        4 => format!("{:08x} {:08x}", 0x0101_0101 * u32::from(number), 0x0101_0101 * u32::from(number / 2)),
        5 => format!("user:u{}:items", number % 4),
        6 => (0..48).map(|more| format!("{:05}-", 48 * u32::from(number) + more)).collect(),
        _ => format!("job:{:08x}", 0x0101_0101 * u32::from(number)),
    }
}

/// What came of a sequence of events.
#[derive(Default)]
struct Seen {
    /// The ids of requests and messages, and of commands.
    causes: Vec<u64>,
    commands: Vec<u64>,
    answers: Vec<Answer>,
    late: Vec<LateAnswer>,
}

struct Player {
    causes: Causes,
    connections: [Connection; 4],
    requests: Vec<(Ticket, Text, Text)>,
    sent: Vec<Ticket>,
    seen: Seen,
    micros: u64,
}

fn play(data: &[u8]) -> Seen {
    let mut player = Player {
        causes: Causes::new(HashKey::new([5; 16])),
        connections: [Connection::default(); 4],
        requests: Vec::new(),
        sent: Vec::new(),
        seen: Seen::default(),
        micros: 0,
    };
    let memory = player.causes.memory();
    for (id, event) in (1..).zip(data.chunks_exact(4)) {
        if let [kind, wait, words, which] = event {
            let unit = [0, 10, 100, 1_000, 10_000, 100_000, 300_000, 1_000_000][usize::from(wait % 8)];
            player.micros += unit * u64::from(wait / 8);
            player.event(id, *kind, &text(*words), usize::from(*which));
        }
        player.seen.late.extend(core::iter::from_fn(|| player.causes.next_late()));
    }
    assert_eq!(player.causes.memory(), memory, "no memory is taken after the beginning");
    player.seen
}

impl Player {
    fn event(&mut self, id: u64, kind: u8, text: &str, which: usize) {
        let (now, bytes) = (UnixNanos(self.micros * 1000), text.as_bytes());
        let count = self.requests.len().max(1);
        let request = self.requests.get_mut(which % count);
        match (kind % 16, request) {
            (0 | 1, _) => {
                let head = RequestHead { id, trace: Some(id), method: b"POST", target: bytes };
                let ticket = self.causes.request(now, &head, [(&b"cookie"[..], bytes)]);
                self.requests.push((ticket, self.causes.text(), self.causes.text()));
                self.seen.causes.push(id);
            }
            (2, Some((ticket, body, _))) => self.causes.request_body(*ticket, body, bytes, kind < 128),
            (3, Some((ticket, _, body))) => self.causes.response_body(now, *ticket, body, bytes, kind < 128),
            (4, Some((ticket, _, _))) => self.causes.response_end(now, *ticket),
            (5..=7, _) => {
                let publish = self.seen.commands.get(which).copied();
                let trace = which.is_multiple_of(2).then_some(which as u64 % 5);
                self.causes.message(now, &Delivery { id, trace, publish, channel: b"jobs", payload: bytes });
                self.seen.causes.push(id);
            }
            (8..=11, _) => {
                let arguments: Vec<_> = text.split(' ').map(str::as_bytes).collect();
                let command = Command { id, name: NAMES[which / 4 % NAMES.len()], arguments: &arguments };
                let what = self.causes.command(now, &mut self.connections[which % 4], &command);
                self.seen.commands.push(id);
                self.seen.answers.extend(what.answer);
                self.sent.extend(what.ticket);
            }
            (12..=14, _) => {
                let count = self.sent.len().max(1);
                if let Some(ticket) = self.sent.get(which % count) {
                    self.causes.reply(now, *ticket, [bytes]);
                }
            }
            (15, _) if kind > 240 => self.causes.warm_up(now),
            _ => self.causes.forget_old(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

        #[test]
        fn any_events_have_answers_that_can_be_true(data in proptest::collection::vec(any::<u8>(), 0..4000)) {
            super::causes(&data);
        }
    }
}

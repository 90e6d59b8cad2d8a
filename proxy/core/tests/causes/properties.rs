//! What holds for any events in any order.

use proptest::collection::vec;
use proptest::prelude::*;
use redistributed_core::causes::{
    Answer, Causes, Command, Connection, Delivery, HashKey, LateAnswer, RequestHead, Ticket,
};
use redistributed_core::trace::UnixNanos;

/// An event, in numbers that become texts, tickets and times.
#[derive(Clone, Debug)]
enum Event {
    Request { words: u16, wait: u32 },
    Body { request: usize, words: u16, ended: bool },
    ResponseBody { request: usize, words: u16, wait: u32 },
    ResponseEnd { request: usize, wait: u32 },
    Message { words: u16, wait: u32 },
    Command { connection: usize, name: usize, words: u16, wait: u32 },
    Reply { command: usize, words: u16, wait: u32 },
    WarmUp,
}

const NAMES: [&[u8]; 8] = [b"GET", b"SET", b"PUBLISH", b"INCR", b"MULTI", b"EXEC", b"DISCARD", b"PING"];

fn wait() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0..2000u32, 2 => 0..100_000u32, 1 => 0..3_000_000u32]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (any::<u16>(), wait()).prop_map(|(words, wait)| Event::Request { words, wait }),
        1 => (any::<usize>(), any::<u16>(), any::<bool>())
            .prop_map(|(request, words, ended)| Event::Body { request, words, ended }),
        1 => (any::<usize>(), any::<u16>(), wait())
            .prop_map(|(request, words, wait)| Event::ResponseBody { request, words, wait }),
        3 => (any::<usize>(), wait()).prop_map(|(request, wait)| Event::ResponseEnd { request, wait }),
        4 => (any::<u16>(), wait()).prop_map(|(words, wait)| Event::Message { words, wait }),
        10 => (0..3usize, 0..NAMES.len(), any::<u16>(), wait())
            .prop_map(|(connection, name, words, wait)| Event::Command { connection, name, words, wait }),
        8 => (any::<usize>(), any::<u16>(), wait())
            .prop_map(|(command, words, wait)| Event::Reply { command, words, wait }),
        1 => Just(Event::WarmUp),
    ]
}

/// A text with one to three tokens of few, so that events have much in common.
fn text(words: u16) -> String {
    let word = |number: u16| match number % 5 {
        0 => format!("word{}", number % 3),
        1 => format!("{}", 10_000 + number % 40),
        2 => format!("\"name\": \"{:08x}\"", u32::from(number % 30) * 0x0101_0101),
        3 => "plain".to_owned(),
        _ => format!("item:{}", number % 7),
    };
    format!("{} {} {}", word(words % 37), word(words / 37 % 41), word(words / 1517))
}

#[derive(Default)]
struct Seen {
    /// The ids of what came in, and of the commands, with their number in order.
    causes: Vec<u64>,
    commands: Vec<u64>,
    answers: Vec<Answer>,
    late: Vec<LateAnswer>,
}

fn play(events: &[Event]) -> Seen {
    let mut causes = Causes::new(HashKey::new([5; 16]));
    let mut connections = [Connection::default(); 3];
    let (mut requests, mut sent): (Vec<Ticket>, Vec<Ticket>) = (Vec::new(), Vec::new());
    let mut texts = Vec::new();
    let mut seen = Seen::default();
    let mut micros = 0u64;
    let memory = causes.memory();
    for (id, event) in (1u64..).zip(events) {
        let pass = |micros: &mut u64, wait: u32| {
            *micros += u64::from(wait);
            UnixNanos(*micros * 1000)
        };
        match *event {
            Event::Request { words, wait } => {
                let target = format!("/{}", text(words));
                let head = RequestHead { id, trace: Some(id), method: b"GET", target: target.as_bytes() };
                requests.push(causes.request(pass(&mut micros, wait), &head, []));
                texts.push((causes.text(), causes.text()));
                seen.causes.push(id);
            }
            Event::Body { request, words, ended } if !requests.is_empty() => {
                let at = request % requests.len();
                causes.request_body(requests[at], &mut texts[at].0, text(words).as_bytes(), ended);
            }
            Event::ResponseBody { request, words, wait } if !requests.is_empty() => {
                let at = request % requests.len();
                let now = pass(&mut micros, wait);
                causes.response_body(now, requests[at], &mut texts[at].1, text(words).as_bytes(), false);
            }
            Event::ResponseEnd { request, wait } if !requests.is_empty() => {
                causes.response_end(pass(&mut micros, wait), requests[request % requests.len()]);
            }
            Event::Message { words, wait } => {
                let payload = text(words);
                let publish = seen.commands.get(usize::from(words) % 64).copied();
                let trace = Some(u64::from(words % 5));
                let message = Delivery { id, trace, publish, channel: b"jobs", payload: payload.as_bytes() };
                causes.message(pass(&mut micros, wait), &message);
                seen.causes.push(id);
            }
            Event::Command { connection, name, words, wait } => {
                let argument = text(words);
                let arguments: Vec<_> = argument.split(' ').map(str::as_bytes).collect();
                let command = Command { id, name: NAMES[name], arguments: &arguments };
                let what = causes.command(pass(&mut micros, wait), &mut connections[connection], &command);
                seen.commands.push(id);
                seen.answers.extend(what.answer);
                sent.extend(what.ticket);
            }
            Event::Reply { command, words, wait } if !sent.is_empty() => {
                let value = text(words);
                causes.reply(pass(&mut micros, wait), sent[command % sent.len()], [value.as_bytes()]);
            }
            Event::WarmUp if id % 64 == 0 => causes.warm_up(UnixNanos(micros * 1000)),
            _ => {}
        }
        seen.late.extend(std::iter::from_fn(|| causes.next_late()));
    }
    assert_eq!(causes.memory(), memory, "no memory is taken after the beginning");
    seen
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn only_what_came_before_is_named(events in vec(event(), 0..600)) {
        let seen = play(&events);
        for answer in &seen.answers {
            let named: &[u64] = match answer {
                Answer::Cause { id, .. } => std::slice::from_ref(id),
                Answer::Batch(links) => {
                    prop_assert!(links.as_slice().len() >= 2);
                    links.as_slice()
                }
                Answer::OneOf(links) => {
                    prop_assert!((2..=4).contains(&links.as_slice().len()));
                    links.as_slice()
                }
                Answer::Unknown(_) => &[],
            };
            prop_assert!(named.iter().all(|id| seen.causes.contains(id)), "{answer:?}");
        }
        let mut answered = Vec::new();
        for late in &seen.late {
            prop_assert!(seen.causes.contains(&late.cause) && seen.commands.contains(&late.command), "{late:?}");
            prop_assert!(late.cause < late.command, "{late:?}");
            prop_assert!(!answered.contains(&late.command), "{late:?} comes once");
            answered.push(late.command);
        }
    }

    #[test]
    fn the_same_events_have_the_same_answers(events in vec(event(), 0..600)) {
        let (one, other) = (play(&events), play(&events));
        prop_assert_eq!(one.answers, other.answers);
        prop_assert_eq!(one.late, other.late);
    }
}

//! What the session costs, without sockets: `cargo bench -p redistributed-core --bench session`.
//!
//! Prints nanoseconds an operation. For figures that do not depend on the machine's load, count instructions:
//! `session count WORKLOAD N` runs one workload N times and nothing else, to be run under `valgrind --tool=callgrind`
//! with two values of N; the difference is the cost. `make bench-core` does so for every workload of `session list`.
#![allow(clippy::print_stdout, reason = "a bench reports on standard output")]

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use redistributed_core::carrier::{self, Carrier, ContextKeys, Place};
use redistributed_core::policy::{Follow, Mode};
use redistributed_core::service::{
    Attribution, Bulks, Environment, Inference, MAX_VALUES, ObservedAck, ObservedCommand, ObservedDelivery,
    ObservedItem, ObservedRead, Reading,
};
use redistributed_core::trace::ids::CountingIds;
use redistributed_core::trace::{CommandId, Propagators, Sampler, SpanContext, SpanId, UnixNanos, sampler::Root};
use redistributed_core::{Output, Policy, Session, Side};

/// Commands in one read, as with `redis-benchmark -P 16`.
const PIPELINE: usize = 16;

struct Workload {
    name: &'static str,
    sampled: bool,
    /// Whether contexts have a MAC.
    keyed: bool,
    /// Whether causes are followed, by an inference that knows none. The bench `causes` has the cost of one that does.
    followed: bool,
    /// Sent once before the measurement.
    setup: Vec<(Side, Vec<u8>)>,
    /// One round: operations for the side, each round `PIPELINE` of them.
    round: Vec<(Side, Vec<u8>)>,
}

fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    words.iter().for_each(|word| bulk(word, &mut out));
    out
}

fn bulk(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn keys(keyed: bool) -> ContextKeys {
    if keyed { ContextKeys::new(["0123456789abcdef0123456789abcdef"]) } else { ContextKeys::default() }
}

fn with_trailer(payload: &[u8], keyed: bool) -> Vec<u8> {
    let parent = redistributed_core::trace::SpanContext::parse_traceparent(
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    );
    let mut out = payload.to_vec();
    let place = Place { channel: b"orders", carrier: Carrier::Trailer, keys: &keys(keyed) };
    let context = parent.expect("a valid traceparent").into();
    carrier::add(payload, &place, &context, Propagators::default(), &mut out);
    out
}

/// Entries of 96 bytes that are added to a stream, and taken out of it one by one: the commands and the replies of both.
fn queue() -> (Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>) {
    let job = [b'x'; 96];
    let ids: Vec<String> = (0..PIPELINE).map(|number| format!("1764547200000-{number}")).collect();
    let mut replies = Vec::new();
    ids.iter().for_each(|id| bulk(id.as_bytes(), &mut replies));
    let mut entries = Vec::new();
    for id in &ids {
        entries.extend_from_slice(b"*1\r\n*2\r\n$6\r\norders\r\n*1\r\n*2\r\n");
        bulk(id.as_bytes(), &mut entries);
        entries.extend_from_slice(&command(&[b"job", &job]));
    }
    let add = command(&[b"XADD", b"orders", b"*", b"job", &job]);
    #[rustfmt::skip]
    let read = command(&[
        b"XREADGROUP", b"GROUP", b"workers", b"first", b"COUNT", b"1", b"BLOCK", b"0", b"STREAMS", b"orders", b">",
    ]);
    (add.repeat(PIPELINE), replies, read.repeat(PIPELINE), entries)
}

fn workloads() -> Vec<Workload> {
    let get = command(&[b"GET", b"key:000000000000"]).repeat(PIPELINE);
    let value = |len| {
        let mut out = Vec::new();
        bulk(&vec![b'x'; len], &mut out);
        out.repeat(PIPELINE)
    };
    let publish = |len| command(&[b"PUBLISH", b"orders", &vec![b'x'; len]]).repeat(PIPELINE);
    let set = command(&[b"SET", b"key:000000000000", &[b'x'; 64]]).repeat(PIPELINE);
    let message = |len, trailer: bool, keyed: bool| {
        let payload = vec![b'x'; len];
        let payload = if trailer { with_trailer(&payload, keyed) } else { payload };
        let mut out = b"*3\r\n$7\r\nmessage\r\n$6\r\norders\r\n".to_vec();
        bulk(&payload, &mut out);
        out.repeat(PIPELINE)
    };
    let subscribed = vec![
        (Side::Client, command(&[b"SUBSCRIBE", b"orders"])),
        (Side::Server, b"*3\r\n$9\r\nsubscribe\r\n$6\r\norders\r\n:1\r\n".to_vec()),
    ];
    let (add, ids, read, entries) = queue();
    let integers = b":1\r\n".repeat(PIPELINE);
    let ok = b"+OK\r\n".repeat(PIPELINE);
    let plain = |name, round| Workload { name, sampled: true, keyed: false, followed: false, setup: Vec::new(), round };
    vec![
        plain("get-64", vec![(Side::Client, get.clone()), (Side::Server, value(64))]),
        Workload {
            followed: true,
            ..plain("followed-get-64", vec![(Side::Client, get.clone()), (Side::Server, value(64))])
        },
        plain("get-16k", vec![(Side::Client, get), (Side::Server, value(16 * 1024))]),
        plain("set-64", vec![(Side::Client, set), (Side::Server, ok)]),
        plain("publish-64", vec![(Side::Client, publish(64)), (Side::Server, integers.clone())]),
        Workload {
            followed: true,
            ..plain("followed-publish-64", vec![(Side::Client, publish(64)), (Side::Server, integers.clone())])
        },
        plain("publish-4k", vec![(Side::Client, publish(4096)), (Side::Server, integers.clone())]),
        Workload {
            name: "publish-64-unsampled",
            sampled: false,
            keyed: false,
            followed: false,
            setup: Vec::new(),
            round: vec![(Side::Client, publish(64)), (Side::Server, integers.clone())],
        },
        Workload {
            name: "deliver-64",
            sampled: true,
            keyed: false,
            followed: false,
            setup: subscribed.clone(),
            round: vec![(Side::Server, message(64, true, false))],
        },
        Workload {
            name: "followed-deliver-64",
            sampled: true,
            keyed: false,
            followed: true,
            setup: subscribed.clone(),
            round: vec![(Side::Server, message(64, true, false))],
        },
        Workload {
            name: "deliver-64-plain-unsampled",
            sampled: false,
            keyed: false,
            followed: false,
            setup: subscribed.clone(),
            round: vec![(Side::Server, message(64, false, false))],
        },
        Workload {
            keyed: true,
            ..plain("publish-64-keyed", vec![(Side::Client, publish(64)), (Side::Server, integers)])
        },
        Workload {
            name: "deliver-64-keyed",
            sampled: true,
            keyed: true,
            followed: false,
            setup: subscribed,
            round: vec![(Side::Server, message(64, true, true))],
        },
        Workload { followed: true, ..plain("queue-add-96", vec![(Side::Client, add), (Side::Server, ids)]) },
        Workload { followed: true, ..plain("queue-take-96", vec![(Side::Client, read), (Side::Server, entries)]) },
        plain(
            "array-1000",
            vec![
                (Side::Client, command(&[b"LRANGE", b"list", b"0", b"-1"]).repeat(PIPELINE)),
                (
                    Side::Server,
                    [b"*1000\r\n".to_vec(), b"$10\r\n0123456789\r\n".repeat(1000)].concat().repeat(PIPELINE),
                ),
            ],
        ),
    ]
}

/// Wants to know of every reply, takes all that is read from a queue for work, and knows no cause.
#[derive(Debug)]
struct Unknowing {
    last: NonZeroU32,
}

impl Inference for Unknowing {
    fn command(&mut self, _: UnixNanos, command: &ObservedCommand<'_>) -> Attribution {
        black_box(command);
        self.last = self.last.checked_add(1).unwrap_or(NonZeroU32::MIN);
        Attribution { command: Some(CommandId(self.last)), ..Attribution::default() }
    }

    fn reads(&mut self, _: UnixNanos, read: &ObservedRead<'_>) -> Reading {
        black_box(read);
        self.last = self.last.checked_add(1).unwrap_or(NonZeroU32::MIN);
        Reading::Work(CommandId(self.last))
    }

    fn handed_over(&mut self, _: UnixNanos, item: &ObservedItem<'_>) -> Option<SpanContext> {
        black_box(item);
        None
    }

    fn acknowledged(&mut self, _: UnixNanos, ack: &ObservedAck<'_>) {
        black_box(ack);
    }

    fn missed(&mut self, _: UnixNanos) {}

    fn injected(&mut self, publish: CommandId, span: SpanId) {
        black_box((publish, span));
    }

    fn replied(&mut self, _: UnixNanos, command: CommandId, values: Bulks<'_, MAX_VALUES>) -> Vec<SpanContext> {
        black_box((command, values));
        Vec::new()
    }

    fn delivered(&mut self, _: UnixNanos, delivery: &ObservedDelivery<'_>) {
        black_box(delivery);
    }
}

fn run(workload: &Workload, rounds: usize) {
    let root = if workload.sampled { Root::AlwaysOn } else { Root::AlwaysOff };
    let sampler = Sampler { parent_based: false, root };
    let follow = if workload.followed { Follow::Parent } else { Follow::Off };
    let keys = keys(workload.keyed);
    let policy = Arc::new(Policy { mode: Mode::Inject, sampler, keys, follow, ..Policy::default() });
    let mut inference = workload.followed.then_some(Unknowing { last: NonZeroU32::MIN });
    let mut session = Session::new();
    let mut ids = CountingIds::default();
    let mut out = Output::default();
    let mut feed = |side, bytes: &[u8]| {
        // As they come from a socket: in pieces of at most 64 KiB.
        for piece in bytes.chunks(64 * 1024) {
            out.clear();
            let mut env = Environment::new(UnixNanos(1), &policy, &mut ids);
            env.inference = inference.as_mut().map(|inference| inference as &mut dyn Inference);
            session.receive(side, piece, env, &mut out);
            black_box(out.chunks(piece).map(<[u8]>::len).sum::<usize>());
        }
    };
    workload.setup.iter().for_each(|(side, bytes)| feed(*side, bytes));
    for _ in 0..rounds {
        workload.round.iter().for_each(|(side, bytes)| feed(*side, bytes));
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let all = workloads();
    if let [mode] = &arguments[..]
        && mode == "list"
    {
        all.iter().for_each(|workload| println!("{}", workload.name));
        return;
    }
    if let [mode, name, count] = &arguments[..]
        && mode == "count"
    {
        let workload = all.iter().find(|workload| workload.name == name).expect("a workload's name");
        return run(workload, count.parse().expect("a number of rounds"));
    }
    for workload in &all {
        let rounds = if workload.name == "array-1000" { 50 } else { 20_000 };
        run(workload, rounds / 10);
        let best = (0..5)
            .map(|_| {
                let start = Instant::now();
                run(workload, rounds);
                start.elapsed().as_nanos() as f64 / (rounds * PIPELINE) as f64
            })
            .fold(f64::INFINITY, f64::min);
        println!("{:<28} {best:>8.1} ns/op", workload.name);
    }
}

//! What the inference of causes costs: `cargo bench -p redistributed-core --bench causes`.
//!
//! Prints nanoseconds an event, with the slots full of candidates, most of them in work. For figures that do not depend on the
//! machine's load, `causes count WORKLOAD N` plays one workload for N rounds of 16 events after its set-up, to be run under
//! `valgrind --tool=callgrind` with two values of N. `make bench-core` does so for every workload of `causes list`.
#![allow(clippy::print_stdout, reason = "a bench reports on standard output")]

use std::hint::black_box;
use std::time::Instant;

use redistributed_core::causes::{Causes, Command, Connection, Delivery, HashKey, RequestHead, Ticket};
use redistributed_core::trace::UnixNanos;

/// The number of events of a round.
const ROUND: usize = 16;

/// Transactions that are prepared; then they begin again, when their ids are forgotten.
const PREPARED: usize = 4096;

/// How long a transaction is in work.
const WORK_NANOS: u64 = 3_000_000_000;

/// Events before anything is measured: enough that all slots are taken and all templates are known.
const SET_UP: usize = 40_000;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Messages with an id that is handed on.
    Worker,
    /// Requests with a few common values, whose ids come from `INCR`.
    Orders,
    /// Messages of which nothing is handed on.
    Opaque,
}

struct Workload {
    name: &'static str,
    kind: Kind,
    /// Transactions in work at once.
    at_once: usize,
}

const WORKLOADS: [Workload; 6] = [
    Workload { name: "causes-worker-900", kind: Kind::Worker, at_once: 900 },
    Workload { name: "causes-orders-900", kind: Kind::Orders, at_once: 900 },
    Workload { name: "causes-opaque-900", kind: Kind::Opaque, at_once: 900 },
    Workload { name: "causes-worker-100", kind: Kind::Worker, at_once: 100 },
    Workload { name: "causes-orders-100", kind: Kind::Orders, at_once: 100 },
    Workload { name: "causes-worker-10", kind: Kind::Worker, at_once: 10 },
];

/// The texts of a transaction.
struct Script {
    inbound: Vec<u8>,
    commands: Vec<ScriptedCommand>,
    response: Vec<u8>,
}

/// Name, arguments and reply of a command.
type ScriptedCommand = (&'static [u8], Vec<Vec<u8>>, Vec<u8>);

/// A number that looks random.
fn scatter(number: u64) -> u64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn script(kind: Kind, number: u64) -> Script {
    let (one, two) = (scatter(number), scatter(number + 1_000_000));
    let id = format!("{:08x}-{:04x}-4000-8000-{:012x}", one >> 32, one & 0xffff, two >> 16);
    let text = |text: &str| text.as_bytes().to_vec();
    match kind {
        Kind::Worker => Script {
            inbound: format!(r#"{{"id": "{id}", "title": "Sales", "value": {}}}"#, one % 1000).into_bytes(),
            commands: vec![
                (b"GET", vec![text(&format!("job:{id}"))], text("waiting")),
                (b"SET", vec![text(&format!("job:{id}")), text("done"), text("EX"), text("600")], text("OK")),
                (b"PUBLISH", vec![text("jobs.done"), text(&format!(r#"{{"id": "{id}", "ok": true}}"#))], text("1")),
            ],
            response: Vec::new(),
        },
        Kind::Orders => Script {
            inbound: format!(
                r#"{{"user": "u{}", "items": [{{"sku": "sku-{}", "qty": {}}}, {{"sku": "sku-{}", "qty": 1}}]}}"#,
                one % 200,
                two % 50,
                one % 4,
                one % 50
            )
            .into_bytes(),
            commands: vec![
                (b"INCR", vec![text("order:next")], text(&(100_000 + number).to_string())),
                (b"GET", vec![text(&format!("user:u{}", one % 200))], text(&format!("User {}", one % 200))),
                (
                    b"SET",
                    vec![
                        text(&format!("order:{}", 100_000 + number)),
                        text(&format!(r#"{{"user": "u{}"}}"#, one % 200)),
                    ],
                    text("OK"),
                ),
                (b"PUBLISH", vec![text("orders"), text(&format!(r#"{{"order": {}}}"#, 100_000 + number))], text("2")),
            ],
            response: format!(r#"{{"order": {}}}"#, 100_000 + number).into_bytes(),
        },
        Kind::Opaque => Script {
            inbound: format!("{one:016x}{two:016x}").into_bytes(),
            commands: vec![
                (b"INCR", vec![text("seen")], text(&number.to_string())),
                (b"SET", vec![text("last"), text(&format!("{:016x}", scatter(two)))], text("OK")),
                (b"PUBLISH", vec![text("out"), text(&format!("{:016x}", scatter(one + 7)))], text("1")),
            ],
            response: Vec::new(),
        },
    }
}

/// A transaction in work: which it is, and what it has done.
struct Running {
    number: u64,
    step: usize,
    request: Option<Ticket>,
    command: Option<Ticket>,
}

/// A service that works on many transactions at once.
struct Simulation {
    kind: Kind,
    causes: Causes,
    connections: Vec<Connection>,
    scripts: Vec<Script>,
    running: Vec<Running>,
    next: u64,
    turn: usize,
    now: u64,
    tick: u64,
    ids: u64,
}

impl Simulation {
    fn new(workload: &Workload) -> Self {
        let steps = steps(workload.kind);
        let running =
            |number: usize| Running { number: number as u64, step: number % steps, request: None, command: None };
        let mut simulation = Self {
            kind: workload.kind,
            causes: Causes::new(HashKey::new([7; 16])),
            connections: vec![Connection::default(); 32],
            scripts: (0..PREPARED as u64).map(|number| script(workload.kind, number)).collect(),
            running: (0..workload.at_once).map(running).collect(),
            next: workload.at_once as u64,
            turn: 0,
            now: 0,
            tick: WORK_NANOS / (workload.at_once * steps) as u64,
            ids: 0,
        };
        (0..SET_UP).for_each(|_| simulation.event());
        simulation
    }

    /// One event of a transaction, as if at random.
    fn event(&mut self) {
        self.now += self.tick / 2 + scatter(self.ids + 7) % self.tick;
        self.ids += 1;
        self.turn = scatter(self.ids) as usize % self.running.len();
        let running = &mut self.running[self.turn];
        let script = &self.scripts[running.number as usize % PREPARED];
        let connection = running.number as usize % self.connections.len();
        let connection = &mut self.connections[connection];
        let (now, id) = (UnixNanos(self.now), self.ids);
        let last = steps(self.kind) - 1;
        if running.step == 0 {
            match self.kind {
                Kind::Orders => {
                    let head = RequestHead { id, trace: Some(id), method: b"POST", target: b"/orders" };
                    let headers: [(&[u8], &[u8]); 2] =
                        [(b"host", b"localhost"), (b"content-type", b"application/json")];
                    let ticket = self.causes.request(now, &head, headers);
                    let mut text = self.causes.text();
                    self.causes.request_body(ticket, &mut text, &script.inbound, true);
                    running.request = Some(ticket);
                }
                Kind::Worker | Kind::Opaque => self.causes.message(
                    now,
                    &Delivery { id, trace: Some(id), publish: None, channel: b"jobs", payload: &script.inbound },
                ),
            }
        } else if running.step == last && self.kind == Kind::Orders {
            if let Some(ticket) = running.request.take() {
                let mut text = self.causes.text();
                self.causes.response_body(now, ticket, &mut text, &script.response, true);
                self.causes.response_end(now, ticket);
            }
        } else {
            let (name, arguments, reply) = &script.commands[(running.step - 1) / 2];
            if let Some(ticket) = running.command.take() {
                self.causes.reply(now, ticket, [reply.as_slice()]);
            } else {
                let mut slices: [&[u8]; 6] = [b""; 6];
                slices.iter_mut().zip(arguments).for_each(|(slice, argument)| *slice = argument);
                let command = Command { id, name, arguments: &slices[..arguments.len()] };
                let sent = self.causes.command(now, connection, &command);
                running.command = sent.ticket;
                black_box(sent.answer);
            }
        }
        while let Some(late) = self.causes.next_late() {
            black_box(late);
        }
        running.step += 1;
        if running.step > last {
            *running = Running { number: self.next, step: 0, request: None, command: None };
            self.next += 1;
        }
    }
}

/// The number of events that a transaction has.
fn steps(kind: Kind) -> usize {
    match kind {
        Kind::Worker | Kind::Opaque => 1 + 2 * 3,
        Kind::Orders => 1 + 2 * 4 + 1,
    }
}

/// The time that this thread has had a processor, in nanoseconds, so that others on the machine count less. Where the kernel does
/// not tell it, the time that has passed.
fn processor_time(begun: Instant) -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let told = told.split(' ').next().and_then(|nanos| nanos.parse().ok());
    told.unwrap_or_else(|| begun.elapsed().as_nanos() as u64)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode] = &arguments[..]
        && mode == "list"
    {
        WORKLOADS.iter().for_each(|workload| println!("{}", workload.name));
        return;
    }
    if let [mode, name, count] = &arguments[..]
        && mode == "count"
    {
        let workload = WORKLOADS.iter().find(|workload| workload.name == name).expect("a workload's name");
        let mut simulation = Simulation::new(workload);
        let rounds: usize = count.parse().expect("a number of rounds");
        (0..rounds * ROUND).for_each(|_| simulation.event());
        return;
    }
    let begun = Instant::now();
    for workload in &WORKLOADS {
        let mut simulation = Simulation::new(workload);
        let events = 50_000;
        let best = (0..5)
            .map(|_| {
                let start = processor_time(begun);
                (0..events).for_each(|_| simulation.event());
                (processor_time(begun) - start) as f64 / f64::from(events)
            })
            .fold(f64::INFINITY, f64::min);
        println!("{:<28} {best:>8.1} ns/event   {:?}", workload.name, simulation.causes);
    }
    println!("memory of a service: {} bytes", Causes::new(HashKey::new([7; 16])).memory());
}

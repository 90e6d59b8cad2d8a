//! What is measured: the workloads by name, and which of them make up a run.

use std::fmt;
use std::rc::Rc;

use crate::load::closed_loop::Exchange;
use crate::load::fixed_rate::Rate;
use crate::load::http::Direction;
use crate::load::jobs::Queue;
use crate::load::resp::{bulk, command};
use crate::options::Run;
use crate::targets::{Seat, Target};
use crate::web::Version;

/// Something to measure on several targets.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) kind: Kind,
    pub(crate) targets: Vec<Target>,
}

/// Two workloads are the same if their kinds are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A closed loop of commands.
    Commands { verb: Verb, size: usize, pipeline: usize, connections: usize },
    /// One publisher to all subscribers of all channels, as fast as they take it.
    FanOut { subscribers: usize, channels: usize, size: usize },
    /// Messages that are sent when they are due, through a publishers' sidecar and a subscriber's.
    FixedRate(Rate),
    /// Messages to workers, each of which makes its worker store a value and publish.
    Work { workers: usize },
    /// Jobs from producers to as many workers, through a sidecar of each.
    Jobs { queue: Queue, workers: usize },
    /// Requests to a service, so many at a time on each connection.
    Http { version: Version, direction: Direction, streams: usize, connections: usize },
}

/// How the cost of a unit changes with one measure of the load.
#[derive(Clone, Debug)]
pub(crate) struct Growth {
    pub(crate) name: &'static str,
    /// The measure, and the workload that has it.
    pub(crate) steps: Vec<(usize, Kind)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Set,
    Publish,
    /// Eight GET, one SET, one PUBLISH.
    Mixed,
    /// LRANGE of `size` elements of 10 bytes.
    List,
}

/// Pipelines and connections of the full matrix.
const PIPELINES: [usize; 3] = [1, 16, 64];
const CONNECTIONS: [usize; 3] = [1, 50, 1000];

const SMALL: usize = 64;
const LARGE: usize = 16 * 1024;
const MEDIUM: usize = 4 * 1024;

/// The content of large requests and responses.
const BODY: usize = 256 * 1024;

/// Messages with work behind them.
pub(crate) const WORK: Kind = Kind::Work { workers: 10 };

/// Jobs in a list, and in a stream.
const JOBS: [Kind; 2] =
    [Kind::Jobs { queue: Queue::List, workers: 10 }, Kind::Jobs { queue: Queue::Stream, workers: 10 }];

/// The rate of the targets: four publishers, 10,000 messages a second together.
pub(crate) const FIXED_RATE: Kind = Kind::FixedRate(Rate { messages_per_second: 10_000, publishers: 4, size: SMALL });

/// What `options` ask for, in the order in which it is measured.
pub(crate) fn chosen(options: &Run) -> Vec<Workload> {
    let kinds = if options.quick {
        quick()
    } else if options.full {
        full()
    } else {
        usual()
    };
    let workloads = kinds.into_iter().map(|kind| Workload { kind, targets: targets(kind, options) });
    workloads.filter(|workload| options.wants(&workload.kind.to_string())).collect()
}

/// The growth series that `options` ask for.
pub(crate) fn growth(options: &Run) -> Vec<Growth> {
    if options.quick {
        return Vec::new();
    }
    let series = [
        ("elements", &[125, 250, 500, 1000, 2000, 4000][..], (|n| commands(Verb::List, n, 1, 10)) as fn(usize) -> Kind),
        ("connections", &[62, 125, 250, 500, 1000, 2000], |n| commands(Verb::Get, SMALL, 1, n)),
        ("subscribers", &[62, 125, 250, 500, 1000, 2000], |n| fan_out(n, 1)),
        ("channels", &[62, 125, 250, 500, 1000, 2000], |n| fan_out(1, n)),
    ];
    let series =
        series.map(|(name, steps, kind)| Growth { name, steps: steps.iter().map(|&n| (n, kind(n))).collect() });
    series.into_iter().filter(|growth| options.wants(&format!("growth {}", growth.name))).collect()
}

/// Whether `options` ask for the memory of idle processes and connections. Thousands of connections take a while; who is in a hurry
/// asks for them by name.
pub(crate) fn measures_memory(options: &Run) -> bool {
    options.wants("memory") && !(options.quick && options.only.is_empty())
}

/// The names of all that `options` ask for.
pub(crate) fn names(options: &Run) -> Vec<String> {
    let workloads = chosen(options).into_iter().map(|workload| workload.kind.to_string());
    let growth = growth(options).into_iter().map(|growth| format!("growth {}", growth.name));
    workloads.chain(growth).chain(measures_memory(options).then(|| "memory".to_owned())).collect()
}

/// A command workload.
pub(crate) fn commands(verb: Verb, size: usize, pipeline: usize, connections: usize) -> Kind {
    Kind::Commands { verb, size, pipeline, connections }
}

/// Small messages from one publisher to all.
pub(crate) fn fan_out(subscribers: usize, channels: usize) -> Kind {
    Kind::FanOut { subscribers, channels, size: SMALL }
}

fn quick() -> Vec<Kind> {
    let verbs = [Verb::Get, Verb::Publish].into_iter();
    let mut kinds: Vec<_> = verbs.flat_map(|verb| [1, 16].map(|p| commands(verb, SMALL, p, 50))).collect();
    kinds.extend([fan_out(1000, 1), FIXED_RATE, WORK]);
    kinds.extend(JOBS);
    kinds.extend([http1(Direction::Down(SMALL), 100), http2(SMALL, 10, 10)]);
    kinds
}

fn usual() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (verb, large) in [(Verb::Get, LARGE), (Verb::Set, LARGE), (Verb::Publish, MEDIUM)] {
        kinds.extend(PIPELINES.map(|pipeline| commands(verb, SMALL, pipeline, 50)));
        kinds.extend([1, 1000].map(|connections| commands(verb, SMALL, 1, connections)));
        kinds.extend([1, 16].map(|pipeline| commands(verb, large, pipeline, 50)));
    }
    kinds.extend([1, 16].map(|pipeline| commands(Verb::Mixed, SMALL, pipeline, 50)));
    kinds.extend(messages());
    kinds.extend(requests());
    kinds
}

fn full() -> Vec<Kind> {
    let sizes = [
        (Verb::Get, SMALL),
        (Verb::Get, LARGE),
        (Verb::Set, SMALL),
        (Verb::Set, LARGE),
        (Verb::Publish, SMALL),
        (Verb::Publish, MEDIUM),
        (Verb::Mixed, SMALL),
    ];
    let mut kinds = Vec::new();
    for (verb, size) in sizes {
        for connections in CONNECTIONS {
            kinds.extend(PIPELINES.map(|pipeline| commands(verb, size, pipeline, connections)));
        }
    }
    kinds.extend(messages());
    kinds.push(Kind::FanOut { subscribers: 100, channels: 1, size: MEDIUM });
    kinds.extend(requests());
    kinds
}

fn messages() -> [Kind; 7] {
    let [list, stream] = JOBS;
    [fan_out(1, 1), fan_out(100, 1), fan_out(1000, 1), FIXED_RATE, WORK, list, stream]
}

/// Ten requests and a hundred at a time for small bodies, and ten for large ones.
fn requests() -> [Kind; 7] {
    [
        http1(Direction::Down(SMALL), 10),
        http1(Direction::Down(SMALL), 100),
        http1(Direction::Down(BODY), 10),
        http1(Direction::Up(BODY), 10),
        http2(SMALL, 1, 10),
        http2(SMALL, 10, 10),
        http2(BODY, 1, 10),
    ]
}

fn http1(direction: Direction, connections: usize) -> Kind {
    Kind::Http { version: Version::One, direction, streams: 1, connections }
}

fn http2(size: usize, streams: usize, connections: usize) -> Kind {
    Kind::Http { version: Version::Two, direction: Direction::Down(size), streams, connections }
}

/// Connections of the workloads of commands that are measured with causes followed too, and with and without metrics.
const FOLLOWED: usize = 50;

/// What a workload is measured on. Where messages are traced the sampling decides the cost; elsewhere it only matters
/// that tracing is on, and whether causes are followed.
fn targets(kind: Kind, options: &Run) -> Vec<Target> {
    let mut targets = vec![Target::Direct, Target::HaProxy];
    // Envoy's Redis proxy has no subscriptions.
    let envoy = options.programs.envoy.is_some() && matches!(kind, Kind::Commands { .. });
    targets.extend(envoy.then_some(Target::Envoy));
    match kind {
        Kind::Commands { verb: Verb::Publish, .. } if !options.quick => targets.extend([Target::Off, Target::Sampled]),
        Kind::Commands { .. } if options.full => targets.push(Target::Off),
        Kind::Commands { .. } => {}
        _ if options.quick => {}
        _ => targets.push(Target::Off),
    }
    targets.push(Target::Traced);
    let is_followed = match kind {
        Kind::Commands { verb, connections, .. } => {
            matches!(verb, Verb::Get | Verb::Publish) && connections == FOLLOWED
        }
        Kind::FanOut { .. } => false,
        Kind::FixedRate(_) | Kind::Work { .. } | Kind::Jobs { .. } | Kind::Http { .. } => true,
    };
    targets.extend(matches!(kind, Kind::Jobs { .. }).then_some(Target::Untold));
    targets.extend(is_followed.then_some(Target::Follow));
    targets.extend(matches!(kind, Kind::FixedRate(_)).then_some(Target::Beside));
    if is_followed && matches!(kind, Kind::Commands { .. }) {
        targets.extend([Target::Unsampled, Target::Measured]);
    }
    targets
}

impl Kind {
    /// Where its clients connect.
    pub(crate) fn seats(self) -> &'static [Seat] {
        match self {
            Self::Commands { .. } => &[Seat::First],
            Self::FanOut { .. } | Self::FixedRate(_) | Self::Work { .. } | Self::Jobs { .. } => {
                &[Seat::First, Seat::Second]
            }
            Self::Http { version: Version::One, .. } => &[Seat::Http1],
            Self::Http { version: Version::Two, .. } => &[Seat::Http2],
        }
    }

    /// The exchanges that each connection goes round.
    pub(crate) fn script(verb: Verb, size: usize, pipeline: usize) -> Rc<[Exchange]> {
        let steps: &[Verb] = match verb {
            Verb::Mixed => {
                use Verb::{Get, Publish, Set};
                &[Get, Get, Set, Get, Get, Publish, Get, Get, Get, Get]
            }
            _ => &[verb],
        };
        // So many exchanges that every connection meets every step, and a pipeline mixes them.
        let mut verbs = steps.iter().cycle();
        let exchanges = steps.iter().map(|_| {
            let mut exchange = Exchange::default();
            for &step in verbs.by_ref().take(pipeline) {
                let (request, reply) = step.once(size);
                exchange.push(&request, &reply);
            }
            exchange
        });
        exchanges.collect()
    }
}

impl Verb {
    /// What Redis must hold before: commands, and what it answers.
    pub(crate) fn preparation(self, size: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        match self {
            Self::Get | Self::Mixed => vec![Self::Set.once(size)],
            Self::Set | Self::Publish => Vec::new(),
            Self::List => {
                let mut push: Vec<&[u8]> = vec![b"RPUSH", b"bench:list"];
                push.resize(size + 2, ELEMENT);
                vec![
                    (command(&[b"SET", b"bench:list", b""]), b"+OK\r\n".to_vec()),
                    (command(&[b"DEL", b"bench:list"]), b":1\r\n".to_vec()),
                    (command(&push), format!(":{size}\r\n").into_bytes()),
                ]
            }
        }
    }

    /// One command and its reply.
    fn once(self, size: usize) -> (Vec<u8>, Vec<u8>) {
        let value: Vec<u8> = (b'a'..=b'z').cycle().take(size).collect();
        let mut reply = Vec::new();
        match self {
            Self::Get | Self::Mixed => {
                bulk(&value, &mut reply);
                (command(&[b"GET", b"bench:value"]), reply)
            }
            Self::Set => (command(&[b"SET", b"bench:value", &value]), b"+OK\r\n".to_vec()),
            Self::Publish => (command(&[b"PUBLISH", b"bench:channel", &value]), b":0\r\n".to_vec()),
            Self::List => {
                reply = format!("*{size}\r\n").into_bytes();
                (0..size).for_each(|_| bulk(ELEMENT, &mut reply));
                (command(&[b"LRANGE", b"bench:list", b"0", b"-1"]), reply)
            }
        }
    }

    /// What the cost of one command is divided by.
    pub(crate) fn units(self, size: usize) -> f64 {
        if self == Self::List { size as f64 } else { 1.0 }
    }

    /// The share of commands that are messages, and so may become spans.
    pub(crate) fn messages(self) -> f64 {
        match self {
            Self::Publish => 1.0,
            Self::Mixed => 0.1,
            Self::Get | Self::Set | Self::List => 0.0,
        }
    }
}

const ELEMENT: &[u8] = b"0123456789";

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Commands { verb: Verb::List, size, pipeline, connections } => {
                write!(f, "LRANGE {size} elements P{pipeline} c{connections}")
            }
            Self::Commands { verb, size, pipeline, connections } => {
                write!(f, "{verb} {} P{pipeline} c{connections}", Bytes(size))
            }
            Self::FanOut { subscribers, channels: 1, size } => {
                write!(f, "FAN-OUT {} 1 to {subscribers}, per delivery", Bytes(size))
            }
            Self::FanOut { subscribers, channels, size } => {
                write!(f, "FAN-OUT {} 1 to {subscribers} over {channels} channels, per delivery", Bytes(size))
            }
            Self::FixedRate(Rate { messages_per_second, publishers, size }) => {
                write!(f, "RATE {} {messages_per_second}/s, {publishers} to 1 through two sidecars", Bytes(size))
            }
            Self::Work { workers } => write!(f, "WORK message, SET and PUBLISH, {workers} workers, per message"),
            Self::Jobs { queue: Queue::List, workers } => {
                write!(f, "JOBS LPUSH, BRPOP, {workers} workers, through two sidecars, per job")
            }
            Self::Jobs { queue: Queue::Stream, workers } => {
                write!(f, "JOBS XADD, XREADGROUP, XACK, {workers} workers, through two sidecars, per job")
            }
            Self::Http { version, direction, streams, connections } => {
                let version = if version == Version::One { 1 } else { 2 };
                let (method, size) = match direction {
                    Direction::Down(size) => ("GET", size),
                    Direction::Up(size) => ("POST", size),
                };
                write!(f, "HTTP/{version} {method} {} s{streams} c{connections}", Bytes(size))
            }
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Set => "SET",
            Self::Publish => "PUBLISH",
            Self::Mixed => "MIXED",
            Self::List => "LRANGE",
        })
    }
}

/// `64B`, `16K`
struct Bytes(usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1024 { write!(f, "{}B", self.0) } else { write!(f, "{}K", self.0 / 1024) }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::options::{Command, Options};

    /// The names that `proxy/bench/names.txt` has of the runs that `--only` can choose from, for [`run.sh`](../run.sh), which has
    /// to know them before anything is built.
    fn all_names() -> String {
        let mut lines = String::from(
            "# What ONLY can choose from, by the run. Written by `UPDATE_DOCS=1 cargo test -p redistributed-bench`.\n",
        );
        for (run, arguments) in [("usual", &[][..]), ("quick", &["--quick"]), ("full", &["--full"])] {
            let options = Options::parse_from([&["bench", "run"][..], arguments].concat());
            let Command::Run(options) = options.command else { panic!("a run") };
            let mut names = names(&options);
            // Asked for by name.
            names.extend(options.quick.then(|| "memory".to_owned()));
            names.iter().for_each(|name| lines += &format!("{run}\t{name}\n"));
        }
        lines
    }

    #[test]
    fn the_script_knows_the_names_of_all_workloads() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/names.txt");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, all_names()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), all_names(), "see its first line");
    }

    #[test]
    fn every_pipeline_of_a_mix_is_full_and_all_of_them_have_the_proportions() {
        let script = Kind::script(Verb::Mixed, 64, 16);
        assert!(script.iter().all(|exchange| exchange.operations == 16));
        let all: Vec<u8> = script.iter().flat_map(|exchange| exchange.request.clone()).collect();
        let count = |word: &[u8]| all.windows(word.len()).filter(|window| *window == word).count();
        assert_eq!((count(b"\r\nGET\r\n"), count(b"\r\nSET\r\n"), count(b"\r\nPUBLISH\r\n")), (128, 16, 16));
    }
}

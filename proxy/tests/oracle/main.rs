//! The oracle: clients cannot tell the proxy from Redis.
//!
//! The same bytes are sent to a server directly and through the proxy, and what comes back must be the same bytes. The
//! proxy runs as operators run it: contexts are added to and removed from messages, and spans go to a collector.
//!
//! | module | what it is |
//! |---|---|
//! | [`conversation`] | protocol cases, each named after its promise: `conversations/*.txt` |
//! | [`random`] | random conversations that change what replies mean |
//! | [`commands`] | every command of the server's own table, called rightly and wrongly, in several contexts |
//! | [`further`] | the same in further settings: contexts beside messages, and in entries of streams |
//! | [`rules`] | what must differ, and why |
//! | [`probe`] | whether the proxy can still tell which reply answers which command |
//! | [`testbed`] | a server with a proxy in front of it |
//! | [`cut`] | how the bytes are cut into writes |
//! | [`notation`] | how bytes are spelt in the text files |
//!
//! All tests run on each server of [`support::servers`]. By default some of the cuts and contexts are left out, and
//! servers share the protocols, so that the run takes about a minute; `REDISTRIBUTED_ORACLE=full` includes all of them. The
//! arguments are the usual ones of a test: `cargo test --workspace --test oracle -- redis-8.2/transactions`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "a test without libtest's own harness reports by itself")]

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod conversation;
mod cut;
mod further;
mod notation;
mod probe;
mod random;
mod rules;
mod testbed;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use otlp_receiver::Receiver;
use tokio::runtime::{Handle, Runtime};

use commands::Documented;
use conversation::Conversation;
use cut::Cut;
use probe::Probes;
use rules::{CONVERSATIONS, Rules};
use support::servers::{self, Server};
use testbed::{Kind, Pool, Setting, Testbed};

/// The resources that all comparisons share.
struct Oracle {
    runtime: Handle,
    collector: Receiver,
    pool: Pool,
    probes: Probes,
    rules: Rules,
    full: bool,
}

/// The part of a list that belongs to one server, when the servers share it.
#[derive(Clone, Copy, Debug)]
struct Share {
    server: usize,
    servers: usize,
}

impl Share {
    fn has(self, number: usize) -> bool {
        number % self.servers == self.server
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let runtime = Runtime::new().expect("a runtime");
    let collector = runtime.block_on(Receiver::start()).expect("two free ports");
    let oracle = Arc::new(Oracle {
        runtime: runtime.handle().clone(),
        collector,
        pool: Pool::default(),
        probes: Probes::default(),
        rules: Rules::default(),
        full: std::env::var("REDISTRIBUTED_ORACLE").is_ok_and(|part| part == "full"),
    });
    let mut trials = Vec::new();
    for server in servers::all() {
        trials.extend(conversations(&oracle, server));
        trials.extend(commands_of(&oracle, server));
        trials.extend(random::trials(&oracle, server));
        trials.extend(further::trials(&oracle, server));
    }
    let partly = arguments.filter.is_some() || !arguments.skip.is_empty();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if arguments.list {
        return ExitCode::SUCCESS;
    }
    let names: Vec<&str> = servers::all().iter().map(|server| server.name.as_str()).collect();
    eprintln!("servers: {}", names.join(", "));
    let complaints = oracle.problems(partly || conclusion.has_failed());
    for complaint in &complaints {
        eprintln!("error: {complaint}");
    }
    if conclusion.has_failed() || !complaints.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Makes a test for each conversation and protocol.
fn conversations(oracle: &Arc<Oracle>, server: &Server) -> Vec<Trial> {
    let mut trials = Vec::new();
    for conversation in conversation::all() {
        if !conversation.servers.is_empty() && !conversation.servers.contains(&server.name) {
            continue;
        }
        let protocols: &[bool] = if conversation.both_protocols { &[false, true] } else { &[false] };
        for &resp3 in protocols {
            let suffix = if resp3 { " (RESP3)" } else { "" };
            let name = format!("{}/{}{suffix}", server.name, conversation.name);
            let (oracle, server, conversation) = (Arc::clone(oracle), server.clone(), conversation.clone());
            trials.push(Trial::test(name, move || oracle.hold(&server, &conversation, resp3)));
        }
    }
    trials
}

/// Makes a test for each command.
fn commands_of(oracle: &Arc<Oracle>, server: &Server) -> Vec<Trial> {
    let table = oracle.runtime.block_on(commands::table_of(oracle, server));
    assert!(table.len() > 200, "{} has a table of commands", server.name);
    let trial = |command: Documented| {
        let (oracle, server) = (Arc::clone(oracle), server.clone());
        let name = format!("{}/command {}", server.name, command.name);
        Trial::test(name, move || {
            oracle.runtime.block_on(commands::compare(&oracle, &server, Setting::Inject, &command))
        })
    };
    table.into_iter().map(trial).collect()
}

impl Oracle {
    /// By default, servers share the work that is alike on all of them.
    fn share_of(&self, server: &Server) -> Share {
        let all = servers::all();
        if self.full {
            return Share { server: 0, servers: 1 };
        }
        Share { server: all.iter().position(|one| one == server).unwrap_or(0), servers: all.len() }
    }

    /// Holds a conversation without the proxy, and with the proxy in several cuts and settings.
    fn hold(&self, server: &Server, conversation: &Conversation, resp3: bool) -> Result<(), Failed> {
        let share = self.share_of(server);
        for (number, setting) in Setting::ALL.into_iter().enumerate() {
            // The other settings differ in what is done with a message, and not in how bytes are read.
            let cuts: &[Cut] = match setting {
                Setting::Inject if conversation.slow && !self.full => &[Cut::Random(1)],
                Setting::Inject => &[Cut::Whole, Cut::Random(1), Cut::Bytes],
                _ if self.full => &[Cut::Whole, Cut::Random(2)],
                _ if conversation.slow || !conversation.arguments.is_empty() || !share.has(number) => continue,
                _ => &[Cut::Random(3)],
            };
            let kind =
                Kind { server: server.clone(), setting, arguments: conversation.arguments.clone(), cluster: false };
            self.runtime.block_on(self.hold_on(&kind, conversation, resp3, cuts))?;
        }
        Ok(())
    }

    async fn hold_on(&self, kind: &Kind, conversation: &Conversation, resp3: bool, cuts: &[Cut]) -> Result<(), Failed> {
        let mut testbed = self.pool.take(kind, &self.collector).await;
        let result = self.compare(&mut testbed, conversation, resp3, cuts).await;
        self.pool.give_back(testbed);
        result
    }

    async fn compare(
        &self,
        testbed: &mut Testbed,
        conversation: &Conversation,
        resp3: bool,
        cuts: &[Cut],
    ) -> Result<(), Failed> {
        let direct = conversation.hold(testbed, false, resp3, Cut::Whole, &self.probes).await;
        for &cut in cuts {
            let proxied = conversation.hold(testbed, true, resp3, cut, &self.probes).await;
            assert_eq!(direct.keys().collect::<Vec<_>>(), proxied.keys().collect::<Vec<_>>());
            for (connection, expected) in &direct {
                let result = self.rules.compare(CONVERSATIONS, expected, &proxied[connection]);
                result.map_err(|difference| {
                    format!("{connection}, {:?}, {cut:?}\n  {difference}", testbed.kind.setting)
                })?;
            }
        }
        Ok(())
    }

    /// The problems of the run as a whole.
    fn problems(&self, partly: bool) -> Vec<String> {
        let mut complaints = Vec::new();
        let warnings: Vec<String> = conversation::all().into_iter().flat_map(|one| one.warnings).collect();
        let (mut sent, mut lost, mut told) = (0, 0, 0);
        for (kind, log) in self.pool.stop() {
            let ordinary = [
                "listening",
                "the spans of the service",
                "in mode inject",
                "stopping",
                "stopped",
                "counted",
                "can no longer be paired",
                "a message got no context",
            ];
            let of_connections = if kind.setting.has_connections() { further::WARNINGS } else { &[] };
            let known = |line: &str| {
                let texts = ordinary.iter().chain(of_connections).copied();
                texts.chain(warnings.iter().map(String::as_str)).any(|text| line.contains(text))
            };
            let unknown = log.lines().filter(|line| !known(line));
            complaints.extend(
                unknown.map(|line| format!("{} {:?}: in the proxy's log: {line}", kind.server.name, kind.setting)),
            );
            for counter in ["spans_failed", "spans_dropped", "spans_unsent", "upstream_failures", "connections_refused"]
            {
                if number_in(&log, counter) > 0 {
                    complaints.push(format!(
                        "{} {:?}: {counter}={}",
                        kind.server.name,
                        kind.setting,
                        number_in(&log, counter)
                    ));
                }
            }
            sent += number_in(&log, "spans_sent");
            lost += number_in(&log, "pairing_lost");
            told += number_in(&log, "contexts_told");
        }
        eprintln!("{told} contexts told beside messages");
        if !partly && told == 0 {
            complaints.push("no context was told beside a message".to_owned());
        }
        let spans = self.collector.spans();
        if !partly && spans.len() as u64 != sent {
            complaints.push(format!("{} spans arrived of {sent} that the proxies say they sent", spans.len()));
        }
        let outcome = self.probes.evaluate(&spans);
        complaints.extend(outcome.wrong);
        eprintln!("{} spans, and {} requests paired at the end of what was sent before", spans.len(), outcome.paired);
        eprintln!("pairing lost on {lost} connections: those on which a client sent what is not RESP, and in");
        for name in &outcome.lost {
            eprintln!("  {name}");
        }
        if !partly {
            complaints.extend(self.rules.unused().iter().map(|reason| format!("no reply matches the rule: {reason}")));
        }
        complaints
    }
}

/// The last value of a counter in a log; 0 if it is not there, because the log omits counters that are 0.
fn number_in(log: &str, name: &str) -> u64 {
    let values = log.lines().rev().flat_map(|line| line.split_whitespace().rev());
    let mut values = values.filter_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
    values.next().unwrap_or(0)
}

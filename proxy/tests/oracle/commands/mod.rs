//! Every command of the server's own table, with valid and invalid calls.
//!
//! The calls are made from the documentation that the server has for each command, and from [`examples`]. If neither
//! gives a call that the server carries out, the test fails, unless [`exceptions`] says why there can be none. Each
//! call that is carried out is made again in several [`context`]s: in a transaction, as a subscriber, without a reply,
//! and without permission.
//!
//! Between two calls, `RESET` resets the connection but not the data. Each run of a command begins with the same data
//! on the same server, first without the proxy and then with it.

mod context;
mod docs;
mod examples;
mod exceptions;
mod fixture;
mod generate;
mod mutate;

use libtest_mimic::Failed;

use crate::cut::Cut;
use crate::notation::words;
use crate::probe::{Expected, Probes};
use crate::support::servers::Server;
use crate::support::wire::{Value, Wire, request};
use crate::testbed::{Kind, Setting, Testbed};
use crate::{Oracle, Share};
use generate::Words;

pub(crate) use docs::Documented;
pub(crate) use exceptions::{Reasons, find};

/// Requests that are sent together on a connection in its first state.
#[derive(Clone, Debug)]
struct Call {
    requests: Vec<Words>,
    /// Whether they are sent as inline commands.
    inline: bool,
}

/// The reply to a call.
#[derive(Debug)]
struct Answer {
    /// The bytes of the reply, without the replies to the requests that end each call.
    bytes: Vec<u8>,
    closed: bool,
}

/// The last request after each call, and its reply. It follows `RESET` and the probe.
const END: &[u8] = b"the-end-now";
const ENDED: &[u8] = b"$11\r\nthe-end-now\r\n";
const TAIL: &[u8] = b"+RESET\r\n:0\r\n$11\r\nthe-end-now\r\n";

/// The kind of testbed for a command. Cluster commands are called on a cluster.
fn kind(server: &Server, setting: Setting, command: &Documented) -> Kind {
    let cluster = exceptions::needs_cluster(&command.name);
    Kind { server: server.clone(), setting, arguments: Vec::new(), cluster }
}

/// Compares all calls of a command.
pub(crate) async fn compare(
    oracle: &Oracle,
    server: &Server,
    setting: Setting,
    command: &Documented,
) -> Result<(), Failed> {
    if let Some(reason) = exceptions::never_sent(&command.name) {
        // The command appears in the table, so that nobody takes it for tested.
        assert!(examples::of(&command.name).is_empty(), "{} has examples but is never sent: {reason}", command.name);
        return Ok(());
    }
    let mut testbed = oracle.pool.take(&kind(server, setting, command), &oracle.collector).await;
    let result = compare_on(oracle, &mut testbed, command).await;
    oracle.pool.give_back(testbed);
    result
}

async fn compare_on(oracle: &Oracle, testbed: &mut Testbed, command: &Documented) -> Result<(), Failed> {
    let mut calls = calls(command, oracle.share_of(&testbed.kind.server));
    fill_in(testbed, &mut calls).await;
    let mut carried_out = false;
    let mut failures = Vec::new();
    for &resp3 in protocols(oracle, testbed, command) {
        let script = Script { command: &command.name, resp3, probes: &oracle.probes };
        let direct = script.run(testbed, &calls, None, Cut::Whole).await;
        let right: Vec<&Call> =
            calls.iter().zip(&direct).filter(|(_, answer)| is_carried_out(answer)).map(|(call, _)| call).collect();
        carried_out |= !right.is_empty();
        let cuts: &[Cut] = match testbed.kind.setting {
            Setting::Inject if oracle.full => &[Cut::Whole, Cut::Random(1), Cut::Bytes],
            _ => &[Cut::Random(1)],
        };
        for &cut in cuts {
            let proxied = script.run(testbed, &calls, Some(&direct), cut).await;
            script.compare(oracle, &calls, &direct, &proxied, cut, &mut failures);
        }
        let calls: Vec<Call> = context::all(&command.name, &right, testbed.kind.setting, resp3, oracle.full);
        let direct = script.run(testbed, &calls, None, Cut::Whole).await;
        let proxied = script.run(testbed, &calls, Some(&direct), Cut::Whole).await;
        script.compare(oracle, &calls, &direct, &proxied, Cut::Whole, &mut failures);
    }
    match exceptions::never_carried_out(&command.name) {
        None if !carried_out && !command.is_container => failures.push(format!(
            "no call of {} is carried out: it needs an example in proxy/tests/oracle/examples, or a reason in exceptions.rs",
            command.name
        )),
        Some(reason) if carried_out => {
            failures.push(format!("{} is carried out, though exceptions.rs says that it cannot: {reason}", command.name));
        }
        _ => {}
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}

/// The protocols in which a command is called, RESP2 and RESP3: both in the whole run. Otherwise servers take turns, so that
/// each command is called in both, and each server's commands are in both.
fn protocols(oracle: &Oracle, testbed: &Testbed, command: &Documented) -> &'static [bool] {
    let Share { server, servers } = oracle.share_of(&testbed.kind.server);
    if servers < 2 {
        return &[false, true];
    }
    let turn = command.name.bytes().map(usize::from).sum::<usize>() + server;
    if turn.is_multiple_of(2) { &[false] } else { &[true] }
}

/// All calls of a command: those of the examples, those from the documentation, and invalid ones.
fn calls(command: &Documented, share: Share) -> Vec<Call> {
    let mut calls: Vec<Call> = examples::of(&command.name)
        .iter()
        .map(|line| Call { requests: line.split(" ; ").map(words).collect(), inline: false })
        .collect();
    let one = |words: Words| Call { requests: vec![words], inline: false };
    if exceptions::only_examples(&command.name).is_none() {
        let generated = generate::calls(command);
        let plain =
            calls.iter().find(|call| call.requests.len() == 1).map_or(&generated[0], |call| &call.requests[0]).clone();
        calls.extend(generated.into_iter().map(one));
        calls.push(one(mutate::in_mixed_case(&plain)));
        calls.push(Call { requests: vec![plain.clone()], inline: true });
        calls.extend(
            mutate::wrong(command, &plain)
                .into_iter()
                .enumerate()
                .filter(|(n, _)| share.has(*n))
                .map(|(_, words)| one(words)),
        );
    }
    calls
}

/// Replaces words such as `{DUMP s}` by the server's reply to that command.
async fn fill_in(testbed: &mut Testbed, calls: &mut [Call]) {
    testbed.reset(&fixture_of(testbed)).await;
    for word in calls.iter_mut().flat_map(|call| &mut call.requests).flatten() {
        let text = String::from_utf8_lossy(word).into_owned();
        if let Some(asked) = text
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'))
            .filter(|asked| asked.starts_with(|c: char| c.is_ascii_uppercase()))
        {
            let Value::Bulk(answer) = testbed.operator().call(asked).await else {
                panic!("{asked} has no text as answer")
            };
            *word = answer;
        }
    }
}

/// The data that a command finds. Its keys are in different slots, which a cluster does not accept in one command.
fn fixture_of(testbed: &Testbed) -> Vec<Vec<u8>> {
    let lines = if testbed.kind.cluster { &[] } else { fixture::FIXTURE };
    lines.iter().map(|line| command_bytes(&words(line))).collect()
}

/// Whether the server carried out the call.
fn is_carried_out(answer: &Answer) -> bool {
    let was_refused = answer.closed && answer.bytes.is_empty();
    !was_refused && !Value::all(&answer.bytes).iter().any(|value| matches!(value, Value::Error(_)))
}

/// The way in which the calls of a command are made.
struct Script<'a> {
    command: &'a str,
    resp3: bool,
    probes: &'a Probes,
}

impl Script<'_> {
    /// Makes all calls. With the proxy, `direct` are the replies that came without it.
    async fn run(&self, testbed: &mut Testbed, calls: &[Call], direct: Option<&[Answer]>, cut: Cut) -> Vec<Answer> {
        testbed.reset(&fixture_of(testbed)).await;
        let address = testbed.address(direct.is_some());
        let mut open: Option<(Wire, Option<usize>)> = None;
        let mut answers = Vec::new();
        for (index, call) in calls.iter().enumerate() {
            let (mut wire, before) = match open.take() {
                Some(open) => open,
                None => (Wire::to(address).await, None),
            };
            let closes = direct.is_some_and(|direct| direct[index].closed);
            let mut bytes = if self.resp3 { request(&[b"HELLO", b"3"]) } else { Vec::new() };
            let mut first = Vec::new();
            if self.resp3 && exceptions::stands_apart(self.command) {
                wire.send(&std::mem::take(&mut bytes)).await;
                first = wire.frame().await;
            }
            bytes.extend(call.bytes());
            let mut probe = None;
            if !closes {
                bytes.extend(request(&[b"RESET"]));
                if direct.is_some() {
                    let name = format!(
                        "{} {}{}",
                        testbed.kind.server.name,
                        call.describe(),
                        if self.resp3 { " (RESP3)" } else { "" }
                    );
                    probe = Some(self.probes.add(&name, Expected::Paired, before));
                }
                let channel = probe.map_or_else(|| "unchecked".to_owned(), Probes::channel);
                bytes.extend(request(&[b"PUBLISH", channel.as_bytes(), b"x"]));
                bytes.extend(request(&[b"PING", END]));
            }
            cut.send(&mut wire, &bytes).await;
            let (bytes, came) = if closes { (wire.rest().await, false) } else { wire.until(ENDED).await };
            if came {
                open = Some((wire, probe));
            } else if let Some(probe) = probe {
                self.probes.forget(probe);
            }
            first.extend_from_slice(bytes.strip_suffix(TAIL).unwrap_or(&bytes));
            let bytes = first;
            answers.push(Answer { bytes, closed: !came });
        }
        answers
    }

    fn compare(
        &self,
        oracle: &Oracle,
        calls: &[Call],
        direct: &[Answer],
        proxied: &[Answer],
        cut: Cut,
        failures: &mut Vec<String>,
    ) {
        for ((call, direct), proxied) in calls.iter().zip(direct).zip(proxied) {
            let result = oracle.rules.compare(self.command, &direct.bytes, &proxied.bytes);
            let protocol = if self.resp3 { "RESP3" } else { "RESP2" };
            if let Err(difference) = result {
                failures.push(format!("{} ({protocol}, {cut:?})\n  {difference}", call.describe()));
            } else if direct.closed != proxied.closed {
                failures.push(format!("{} ({protocol}, {cut:?}): only one of the two was closed", call.describe()));
            }
        }
    }
}

impl Call {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for words in &self.requests {
            if self.inline {
                bytes.extend(inline(words));
            } else {
                bytes.extend(command_bytes(words));
            }
        }
        bytes
    }

    fn describe(&self) -> String {
        let words = |words: &Words| {
            words.iter().map(|word| format!("{:?}", word.escape_ascii().to_string())).collect::<Vec<_>>().join(" ")
        };
        let text = self.requests.iter().map(words).collect::<Vec<_>>().join(" ; ");
        format!("{:.300}{}", text, if self.inline { " inline" } else { "" })
    }
}

fn command_bytes(words: &Words) -> Vec<u8> {
    request(&words.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// Writes every byte as `\xHH`, which inline commands understand in double quotes.
fn inline(words: &Words) -> Vec<u8> {
    let quoted =
        |word: &Vec<u8>| format!("\"{}\"", word.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>());
    let mut line: Vec<String> = words.iter().map(quoted).collect();
    line[0] = String::from_utf8_lossy(&words[0]).into_owned();
    format!("{}\r\n", line.join(" ")).into_bytes()
}

/// Asks a server for its table of commands. That server ends afterwards.
pub(crate) async fn table_of(oracle: &Oracle, server: &Server) -> Vec<Documented> {
    let kind = Kind { server: server.clone(), setting: Setting::Inject, arguments: Vec::new(), cluster: false };
    let mut testbed = oracle.pool.take(&kind, &oracle.collector).await;
    let table = docs::table(testbed.operator()).await;
    oracle.pool.give_back(testbed);
    table
}

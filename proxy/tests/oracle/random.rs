//! Random conversations on one connection, each held without and with the proxy.
//!
//! They are made of what changes the meaning of replies: transactions, subscriptions, protocols, `CLIENT REPLY`, empty
//! requests, and answers that look like messages. A failure is made shorter as long as it stays one, and named by its seed.
//! `REDISTRIBUTED_ORACLE_SEEDS=100..20000 cargo test --workspace --test oracle -- random` holds others than the usual ones.

use std::ops::Range;
use std::sync::Arc;

use crate::Oracle;
use crate::cut::Cut;
use crate::notation::{trailer, words};
use crate::rules::CONVERSATIONS;
use crate::support::servers::Server;
use crate::support::wire::{Wire, request};
use crate::support::{Rng, within};
use crate::testbed::{Kind, Setting, Testbed};
use libtest_mimic::{Failed, Trial};

/// Conversations by default, and if everything is asked for.
const USUAL: Range<u64> = 0..250;
const FULL: Range<u64> = 0..5_000;

/// A command of a conversation, in the notation of conversations. A line that begins with `!` is sent as
/// it stands.
type Line = &'static str;

/// Commands in groups. A group is chosen first, and then one of its commands.
const GROUPS: &[&[Line]] = &[
    &["MULTI"],
    &["MULTI"],
    &["EXEC"],
    &["EXEC"],
    &[
        "SUBSCRIBE x",
        "SUBSCRIBE \"\"",
        "SUBSCRIBE x a",
        "PSUBSCRIBE x* *",
        "PSUBSCRIBE x*",
        "PSUBSCRIBE [xy] ?",
        "SSUBSCRIBE s",
    ],
    &["SUBSCRIBE x", "SUBSCRIBE \"\"", "SUBSCRIBE x x", "PSUBSCRIBE x* *", "PSUBSCRIBE x*"],
    &["UNSUBSCRIBE", "UNSUBSCRIBE x", "PUNSUBSCRIBE", "PUNSUBSCRIBE x*", "SUNSUBSCRIBE", "UNSUBSCRIBE none \"\""],
    &["PUBLISH x p", "PUBLISH \"\" p", "PUBLISH y p", "SPUBLISH s p", "PUBLISH x \"\"", "!PUBLISH x inline\r\n"],
    &["PUBLISH x p", "PUBLISH a p"],
    &["HELLO 3", "HELLO 2", "HELLO 3", "HELLO"],
    &["CLIENT REPLY OFF", "CLIENT REPLY SKIP", "CLIENT REPLY ON", "CLIENT REPLY SKIP", "CLIENT REPLY ON"],
    &["RESET", "DISCARD", "WATCH k", "SELECT 0", "REPLCONF ACK 0"],
    &["!\r\n", "!*0\r\n"],
    &[
        "EVAL \"return {'pmessage','*','x',ARGV[1]}\" 0 {trailer}",
        "EVAL \"return {'message','x',ARGV[1]}\" 0 {trailer}",
        "EVAL \"return {'message','',ARGV[1]}\" 0 {trailer}",
        "EVAL \"return {'smessage','s',ARGV[1]}\" 0 {trailer}",
        "LRANGE list 0 -1",
        "LRANGE list 0 -1",
    ],
    &[
        "EVAL \"return {'subscribe','x',1}\" 0",
        "EVAL \"return {'psubscribe','*',1}\" 0",
        "EVAL \"return {'unsubscribe','x',0}\" 0",
        "EVAL \"return redis.status_reply('RESET')\" 0",
        "EVAL \"return redis.status_reply('QUEUED')\" 0",
        "EVAL \"redis.call('PUBLISH','x','p') return {'message','x',ARGV[1]}\" 0 {trailer}",
    ],
    &["GET k", "SET k v", "PING", "PING text", "BADCMD", "GET n", "HGETALL hash"],
];

/// What the issue of a trailer that a client could see was, and their like.
const BEGINNINGS: &[&[Line]] = &[
    &["MULTI", "PSUBSCRIBE x* *", "PUBLISH x p", "HELLO 3", "EXEC"],
    &["CLIENT REPLY OFF", "MULTI", "PSUBSCRIBE x* *", "PUBLISH x p", "PUNSUBSCRIBE", "EXEC"],
    &[
        "CLIENT REPLY SKIP",
        "!\r\n",
        "MULTI",
        "SUBSCRIBE \"\"",
        "EVAL \"return {'pmessage','*','x',ARGV[1]}\" 0 {trailer}",
        "EXEC",
    ],
];

/// Makes a test for each server.
pub(crate) fn trials(oracle: &Arc<Oracle>, server: &Server) -> Vec<Trial> {
    let seeds = seeds(oracle.full);
    let (oracle, server) = (Arc::clone(oracle), server.clone());
    let name = format!("{}/random conversations", server.name);
    vec![Trial::test(name, move || oracle.runtime.block_on(hold_all(&oracle, &server, seeds)))]
}

fn seeds(full: bool) -> Range<u64> {
    match std::env::var("REDISTRIBUTED_ORACLE_SEEDS") {
        Ok(text) => {
            let (first, end) = text.split_once("..").expect("REDISTRIBUTED_ORACLE_SEEDS=FIRST..END");
            first.parse().expect("a number")..end.parse().expect("a number")
        }
        Err(_) if full => FULL,
        Err(_) => USUAL,
    }
}

async fn hold_all(oracle: &Oracle, server: &Server, seeds: Range<u64>) -> Result<(), Failed> {
    for setting in [Setting::Inject, Setting::Unsampled] {
        let kind = Kind { server: server.clone(), setting, arguments: Vec::new(), cluster: false };
        let mut testbed = oracle.pool.take(&kind, &oracle.collector).await;
        let list = request(&[b"RPUSH", b"list", b"message", b"x", &trailer()]);
        testbed.reset(&[list, request(&[b"SET", b"k", b"v"])]).await;
        let listener = listen(&testbed).await;
        let mut result = Ok(());
        for seed in seeds.clone().filter(|seed| seed.is_multiple_of(2) == (setting == Setting::Inject)) {
            result = hold(oracle, &testbed, seed).await;
            if result.is_err() {
                break;
            }
        }
        listener.abort();
        oracle.pool.give_back(testbed);
        result?;
    }
    Ok(())
}

/// Another subscriber of the same channels, so that a publish has more receivers than the connection itself.
async fn listen(testbed: &Testbed) -> tokio::task::JoinHandle<()> {
    let mut wire = Wire::to(testbed.address(false)).await;
    wire.subscribe("SUBSCRIBE x a").await;
    tokio::spawn(async move { while wire.until(b"nothing that is ever published").await.1 {} })
}

/// The commands of the conversation with this number.
fn conversation(seed: u64) -> Vec<Line> {
    let mut rng = Rng(seed);
    let mut lines = Vec::new();
    if rng.below(4) == 0 {
        lines.extend(pick(&mut rng, BEGINNINGS));
    }
    for _ in 0..2 + rng.below(14) {
        let group = pick(&mut rng, GROUPS);
        lines.push(pick(&mut rng, group));
    }
    // Some commands are left out, so that what a beginning depends on is missing.
    lines.retain(|_| rng.below(10) > 0);
    lines
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len())]
}

async fn hold(oracle: &Oracle, testbed: &Testbed, seed: u64) -> Result<(), Failed> {
    let mut lines = conversation(seed);
    let Err(mut difference) = compare(oracle, testbed, &lines, seed).await else { return Ok(()) };
    let mut at = 0;
    while at < lines.len() {
        let shorter = [&lines[..at], &lines[at + 1..]].concat();
        match compare(oracle, testbed, &shorter, seed).await {
            Err(other) => (lines, difference) = (shorter, other),
            Ok(()) => at += 1,
        }
    }
    Err(format!("seed {seed}:\n  {}\n{difference}", lines.join("\n  ").escape_debug()).replace("\\n", "\n").into())
}

async fn compare(oracle: &Oracle, testbed: &Testbed, lines: &[Line], seed: u64) -> Result<(), String> {
    let direct = received(testbed, false, lines, Cut::Whole).await;
    let cut = if seed.is_multiple_of(3) { Cut::Random(seed) } else { Cut::Whole };
    let proxied = received(testbed, true, lines, cut).await;
    oracle.rules.compare(CONVERSATIONS, &direct, &proxied)
}

/// All that the client gets.
async fn received(testbed: &Testbed, proxied: bool, lines: &[Line], cut: Cut) -> Vec<u8> {
    let mut script = Vec::new();
    for line in lines.iter().chain(&["RESET", "PUBLISH nobody x", "PING the-end-now"]) {
        match line.strip_prefix('!') {
            Some(bytes) => script.extend_from_slice(bytes.as_bytes()),
            None => script.extend(as_request(line)),
        }
    }
    let mut wire = Wire::to(testbed.address(proxied)).await;
    cut.send(&mut wire, &script).await;
    let (mut bytes, came) = within("the end of a conversation", wire.until(b"$11\r\nthe-end-now\r\n")).await;
    if !came {
        bytes.extend_from_slice(b"<closed>");
    }
    bytes
}

fn as_request(line: &str) -> Vec<u8> {
    request(&words(line).iter().map(Vec::as_slice).collect::<Vec<_>>())
}

//! The same call in other states of a connection, in which the replies differ, and so does what the proxy expects.

use super::Call;
use super::exceptions;
use super::generate::Words;
use crate::further;
use crate::testbed::Setting;

/// The largest number of calls of one command that are made in all contexts.
const MOST_CALLS: usize = 4;

/// A state of the connection, given by the requests before and after the call.
struct Context {
    before: &'static [&'static str],
    behind: &'static [&'static str],
}

const CONTEXTS: [Context; 9] = [
    Context { before: &["MULTI"], behind: &["EXEC"] },
    Context { before: &["MULTI", "PUBLISH nobody x"], behind: &["PUBLISH nobody y", "EXEC", "PUBLISH nobody z"] },
    Context { before: &["MULTI"], behind: &["DISCARD"] },
    Context { before: &["SUBSCRIBE context"], behind: &["PUBLISH context x"] },
    Context { before: &["PSUBSCRIBE *", "SSUBSCRIBE context"], behind: &["UNSUBSCRIBE", "PUNSUBSCRIBE"] },
    Context { before: &["CLIENT REPLY SKIP"], behind: &["PUBLISH nobody x"] },
    Context { before: &["CLIENT REPLY OFF"], behind: &["CLIENT REPLY ON"] },
    Context { before: &["CLIENT TRACKING ON BCAST"], behind: &["PUBLISH nobody x"] },
    Context { before: &["AUTH limited pw"], behind: &["PING"] },
];

/// The first of `calls`, each either in all contexts or in one, which differs between commands and protocols.
pub(super) fn all(command: &str, calls: &[&Call], setting: Setting, resp3: bool, full: bool) -> Vec<Call> {
    if exceptions::without_contexts(command).is_some() {
        return Vec::new();
    }
    let turn = command.bytes().map(usize::from).sum::<usize>() + 4 * usize::from(resp3);
    let mut all = Vec::new();
    let most = if full { MOST_CALLS } else { 2 };
    for (index, call) in calls.iter().take(most).enumerate() {
        for (number, context) in CONTEXTS.iter().enumerate() {
            let is_turn = (number + 2 * index + turn) % CONTEXTS.len() < 2;
            if (full || is_turn) && !(setting.has_connections() && further::may_hear_proxies(context.before)) {
                let parts = [words(context.before), call.requests.clone(), words(context.behind)];
                all.push(Call { requests: parts.concat(), inline: call.inline });
            }
        }
    }
    all
}

fn words(lines: &[&str]) -> Vec<Words> {
    lines.iter().map(|line| crate::notation::words(line)).collect()
}

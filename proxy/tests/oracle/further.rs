//! Further settings: contexts beside messages, in mode `auto` and by the carrier, and contexts in entries of streams.
//!
//! With the first two the proxy has connections of its own to Redis. A client must not notice anything but that they are there.
//! What shows them is left out here, each with its reason. By default each setting is tried on what it is about; with
//! `REDISTRIBUTED_ORACLE=full` on all conversations and all commands.

use std::sync::Arc;

use libtest_mimic::Trial;

use crate::Oracle;
use crate::commands::{self, Reasons, find};
use crate::conversation::{self, Conversation};
use crate::cut::Cut;
use crate::support::servers::Server;
use crate::testbed::{Kind, Setting};

/// The commands that are left out where the proxy has connections of its own.
const COMMANDS: Reasons = &[
    ("acl|log", "the server's log tells of the commands of all connections"),
    ("client|kill", "has calls that kill the proxy's connections"),
    ("client|list", "shows the proxy's connections"),
    ("commandlog|*", "shows the commands of all connections"),
    ("info", "counts connections, subscriptions, and the calls of each command"),
    ("latency|*", "shows the commands of all connections"),
    ("monitor", "shows the commands of all connections"),
    ("pubsub|channels", "shows the channels on which proxies tell each other contexts"),
    ("slowlog|*", "shows the commands of all connections"),
];

/// The conversations that are left out there, by their files and titles.
const CONVERSATIONS: Reasons = &[
    ("monitor: *", "MONITOR shows the commands of all connections"),
    ("subscriber_mode: a RESP2 subscriber may only *", "MONITOR shows the commands of all connections"),
    ("pubsub: *", "PUBSUB CHANNELS shows the channels on which proxies tell each other contexts"),
];

/// Whether one of these commands subscribes to a pattern that matches the channels on which proxies tell each other contexts. Who
/// does so gets their messages (`proxy/docs/beside.md`).
pub(crate) fn may_hear_proxies(commands: &[&str]) -> bool {
    let may_match = |pattern: &str| pattern.starts_with(['*', '?', '[', '_', '\\']);
    let mut subscriptions = commands.iter().filter_map(|command| command.strip_prefix("PSUBSCRIBE "));
    subscriptions.any(|patterns| patterns.split(' ').any(may_match))
}

/// Warnings of a proxy whose own connections are held up or closed, as clients' are: by a script that runs too long, or because the
/// server has a `timeout` for those that are idle.
pub(crate) const WARNINGS: &[&str] = &["cannot ask Redis", "can ask Redis again"];

/// Conversations with servers of this argument are left out too, because the proxy's own connections have no password.
const PASSWORD: &str = "--requirepass";

/// Makes the tests of a server.
pub(crate) fn trials(oracle: &Arc<Oracle>, server: &Server) -> Vec<Trial> {
    let table = oracle.runtime.block_on(commands::table_of(oracle, server));
    let mut trials = Vec::new();
    for setting in [Setting::Beside, Setting::Auto, Setting::Fields] {
        let is_about = |about: bool| about || oracle.full;
        let conversations = conversation::all().into_iter();
        let conversations = conversations.filter(|one| is_about(is_about_conversation(setting, one)));
        for conversation in conversations.filter(|one| can_be_held(one, server, setting)) {
            trials.extend(conversation_trials(oracle, server, setting, &conversation));
        }
        let commands = table.iter().filter(|command| is_about(is_about_command(setting, &command.name)));
        for command in commands.filter(|one| !setting.has_connections() || find(COMMANDS, &one.name).is_none()) {
            let (oracle, server, command) = (Arc::clone(oracle), server.clone(), command.clone());
            let name = format!("{}/{setting:?}/command {}", server.name, command.name);
            let compare = move || oracle.runtime.block_on(commands::compare(&oracle, &server, setting, &command));
            trials.push(Trial::test(name, compare));
        }
    }
    trials
}

fn conversation_trials(
    oracle: &Arc<Oracle>,
    server: &Server,
    setting: Setting,
    conversation: &Conversation,
) -> Vec<Trial> {
    let protocols: &[bool] = if conversation.both_protocols { &[false, true] } else { &[false] };
    let trial = |&resp3: &bool| {
        let suffix = if resp3 { " (RESP3)" } else { "" };
        let name = format!("{}/{setting:?}/{}{suffix}", server.name, conversation.name);
        let (oracle, conversation) = (Arc::clone(oracle), conversation.clone());
        let arguments = conversation.arguments.clone();
        let kind = Kind { server: server.clone(), setting, arguments, cluster: false };
        Trial::test(name, move || {
            let cuts: &[Cut] = if oracle.full { &[Cut::Whole, Cut::Random(2)] } else { &[Cut::Random(3)] };
            oracle.runtime.block_on(oracle.hold_on(&kind, &conversation, resp3, cuts))
        })
    };
    protocols.iter().map(trial).collect()
}

fn is_about_conversation(setting: Setting, conversation: &Conversation) -> bool {
    let files: &[&str] = match setting {
        Setting::Fields => &["streams: ", "blocking: a stream "],
        _ => &["subscriber_mode: ", "own_messages: ", "notifications: "],
    };
    files.iter().any(|file| conversation.name.starts_with(file))
}

fn is_about_command(setting: Setting, command: &str) -> bool {
    match setting {
        Setting::Fields => command.starts_with('x'),
        _ => ["subscribe", "publish", "pubsub"].iter().any(|part| command.contains(part)),
    }
}

fn can_be_held(conversation: &Conversation, server: &Server, setting: Setting) -> bool {
    let is_on_server = conversation.servers.is_empty() || conversation.servers.contains(&server.name);
    let shows_connections = || {
        find(CONVERSATIONS, &conversation.name).is_some()
            || conversation.arguments.iter().any(|argument| argument == PASSWORD)
            || may_hear_proxies(&conversation.commands())
    };
    is_on_server && !(setting.has_connections() && shows_connections())
}

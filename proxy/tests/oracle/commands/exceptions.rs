//! The commands that are not tested in every way, each with the reason.

/// A name or `prefix*`, and the reason.
pub(crate) type Reasons = &'static [(&'static str, &'static str)];

/// Commands that are not called at all.
const NEVER_SENT: Reasons = &[
    ("sync", "turns the connection into a replica's: conversations/replication.txt"),
    ("psync", "turns the connection into a replica's: conversations/replication.txt"),
    ("script|debug", "is refused or not as its bytes arrive together with others or alone"),
    ("cluster|syncslots", "turns the connection into a slot migration's, with a peer that does not exist"),
];

/// Commands that are called, but that a server like ours does not carry out.
const NEVER_CARRIED_OUT: Reasons = &[
    ("acl|load", "needs a file of users"),
    ("acl|save", "needs a file of users"),
    ("config|rewrite", "needs a file of settings"),
    ("failover", "needs a replica"),
    ("function|kill", "needs a function that runs for seconds"),
    ("script|kill", "needs a script that runs for seconds: conversations/blocking.txt"),
    ("module|load", "needs a module"),
    ("module|loadex", "needs a module"),
    ("module|unload", "needs a module"),
    ("shutdown", "ends the server"),
    ("cluster|cancelslotmigrations", "needs a second node"),
    ("cluster|set-config-epoch", "needs a node that has no epoch yet"),
    ("cluster|failover", "needs a replica"),
    ("cluster|forget", "needs a second node"),
    ("cluster|meet", "needs a second node"),
    ("cluster|migrateslots", "needs a second node"),
    ("cluster|replicate", "needs a second node"),
];

/// Commands that are called only as in the examples. Other calls would end or block the server, make it connect to
/// others, change it permanently, or take too long.
const ONLY_EXAMPLES: Reasons = &[
    ("shutdown", "ends the server"),
    ("debug", "has calls that end or stop the server"),
    ("pfselftest", "takes most of a second"),
    ("client|pause", "stops the operator's connection too"),
    ("client|kill", "has calls that kill the operator's connection"),
    ("config|set", "changes the server for the calls after it"),
    ("acl|setuser", "changes what the calls after it may do"),
    ("replicaof", "dials another server"),
    ("slaveof", "dials another server"),
    ("migrate", "dials another server"),
    ("failover", "changes the server's role"),
    ("cluster|*", "changes the cluster for the calls after it"),
    ("module|load*", "loads a program"),
    ("replconf", "turns the connection into a replica's"),
    ("swapdb", "exchanges the data of the calls after it"),
];

/// Redis 8.2.3 sends no reply for a refused `AUTH` if it still has another reply to send. So the replies to a pipeline
/// with such a command depend on when its bytes arrive, also without the proxy.
const UNANSWERED_AUTH: &str =
    "has calls with a refused AUTH, which Redis 8.2 does not always answer behind other requests";

/// Commands that are not called in other contexts.
const WITHOUT_CONTEXTS: Reasons = &[
    ("auth", UNANSWERED_AUTH),
    ("hello", UNANSWERED_AUTH),
    ("acl|log", UNANSWERED_AUTH),
    ("quit", "without replies it leaves a connection that never answers: conversations/client_reply.txt"),
    ("pfselftest", "takes most of a second"),
    ("vsim", "is answered by another thread of the server, before or after the push that stands behind it"),
];

/// The reason of a name.
pub(crate) fn find(reasons: Reasons, wanted: &str) -> Option<&'static str> {
    let is = |name: &str| name.strip_suffix('*').map_or(name == wanted, |start| wanted.starts_with(start));
    reasons.iter().find(|(name, _)| is(name)).map(|(_, reason)| *reason)
}

pub(super) fn never_sent(command: &str) -> Option<&'static str> {
    find(NEVER_SENT, command)
}

pub(super) fn never_carried_out(command: &str) -> Option<&'static str> {
    find(NEVER_CARRIED_OUT, command)
}

pub(super) fn only_examples(command: &str) -> Option<&'static str> {
    find(ONLY_EXAMPLES, command)
}

pub(super) fn without_contexts(command: &str) -> Option<&'static str> {
    find(WITHOUT_CONTEXTS, command)
}

/// Whether a command is called on a cluster.
pub(super) fn needs_cluster(command: &str) -> bool {
    command.starts_with("cluster") || matches!(command, "asking" | "readonly" | "readwrite")
}

/// Whether the calls of a command must not follow another request whose reply may not have been sent yet.
pub(super) fn stands_apart(command: &str) -> bool {
    WITHOUT_CONTEXTS.iter().any(|&(name, reason)| name == command && reason == UNANSWERED_AUTH)
}

//! The table of the differences that are allowed between two equal replies, each with its reason.
//!
//! If a rule matches no reply of its commands, the table is wrong, and the run fails.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use regex_lite::Regex;

/// One difference that is allowed.
struct Rule {
    /// The names of commands, with `*` at the end for all names that begin like that; or [`CONVERSATIONS`].
    of: &'static [&'static str],
    reason: &'static str,
    /// A pattern for the reply as text, in which each byte is a character.
    pattern: &'static str,
    /// The replacement for what the pattern matches, or [`SORTED`].
    becomes: &'static str,
}

/// Sorts all lines of the reply, whatever the pattern is.
const SORTED: &str = "<sorted>";

impl Rule {
    fn apply(&self, pattern: &Regex, text: &str) -> String {
        if self.becomes == SORTED {
            let mut lines: Vec<&str> = text.split("\r\n").collect();
            lines.sort_unstable();
            return lines.join("\r\n");
        }
        pattern.replace_all(text, self.becomes).into_owned()
    }

    /// Whether the rule changes `text`.
    fn changes(&self, pattern: &Regex, text: &str) -> bool {
        if self.becomes == SORTED { self.apply(pattern, text) != text } else { pattern.is_match(text) }
    }
}

/// The name under which conversations are compared.
pub(crate) const CONVERSATIONS: &str = "conversations";

/// The length in bytes above which replies are searched only if they differ.
const LONGEST_TRIED: usize = 16 * 1024;

const RULES: &[Rule] = &[
    Rule {
        of: &["*"],
        reason: "HELLO, CLIENT TRACKINGINFO and a broken redirection name clients by ids, which no two connections share",
        pattern: r"(\$2\r\nid|\$8\r\nredirect|\$21\r\ntracking-redir-broken)\r\n:\d+",
        becomes: "$1\r\n:<id>",
    },
    Rule { of: &["client|id"], reason: "no two connections have the same id", pattern: r":\d+", becomes: ":<id>" },
    Rule {
        of: &[CONVERSATIONS, "monitor"],
        reason: "MONITOR shows when a command came, and from where: from the proxy",
        pattern: r"\+\d+\.\d+ \[(\d+) (lua|127\.0\.0\.1:\d+)\]",
        becomes: "+<time> [$1 <address>]",
    },
    Rule {
        of: &[CONVERSATIONS],
        reason: "MONITOR shows the payload as the server got it, with its context",
        pattern: r#"\\x00\\xfbrdtrac[^\r]*?rdtrac\\xfe""#,
        becomes: "\"",
    },
    Rule {
        of: &[CONVERSATIONS],
        reason: "line feeds keep a replica's link alive while the server makes its copy, however long that takes",
        pattern: r"\n+(\+FULLRESYNC|\$)$",
        becomes: "$1",
    },
    Rule {
        of: &["client|list", "client|info", "acl|log"],
        reason: "the server describes a connection: its id, its address (the proxy's), its age, and what is in its buffers",
        pattern: r"\b(id|addr|fd|age|idle|qbuf|qbuf-free|argv-mem|multi-mem|rbs|rbp|obl|oll|omem|tot-mem|tot-net-in|tot-net-out|tot-cmds|read-events|parse-batch-cmd-sum|parse-batch-read)=[^ \r\n]*",
        becomes: "$1=<*>",
    },
    Rule {
        of: &[
            "client|list",
            "client|info",
            "acl|log",
            "info",
            "cluster|info",
            "cluster|nodes",
            "latency|doctor",
            "memory|doctor",
        ],
        reason: "the length of a text in which something differs",
        pattern: r"([$=])\d{2,}",
        becomes: "$1<length>",
    },
    Rule {
        of: &["acl|log"],
        reason: "when a failure happened, and how long ago",
        pattern: r"(age-seconds|entry-id|timestamp-created|timestamp-last-updated)\r\n(:\d+|,[\d.e-]+|\$\d+\r\n[\d.e-]+)",
        becomes: "$1 <*>",
    },
    Rule {
        of: &["acl|genpass", "lolwut"],
        reason: "the answer is random",
        pattern: r"[$=]\d+\r\n[\s\S]*?(\r\n|Redis ver|Valkey ver)",
        becomes: "<random>$1",
    },
    Rule {
        of: &["randomkey", "hrandfield", "srandmember", "zrandmember", "spop", "vrandmember"],
        reason: "the answer is random",
        pattern: r"\$\d+\r\n[^\r]+|,[\d.]+",
        becomes: "<random>",
    },
    Rule {
        of: &["info"],
        reason: "numbers of what the server is and did, which the calls before have changed",
        pattern: r"(\r\n[A-Za-z][A-Za-z0-9_.|-]*:)[^\r]*\d[^\r]*",
        becomes: "$1<*>",
    },
    Rule {
        of: &["memory|stats", "memory|usage"],
        reason: "how much memory is in use at that moment",
        pattern: r":\d+|,-?[\d.e+-]+|\$\d+\r\n-?\d[\d.e+-]*",
        becomes: "<number>",
    },
    Rule {
        of: &["memory|malloc-stats"],
        reason: "statistics of the allocator at that moment",
        pattern: r"[$=]\d+\r\n[\s\S]*--- End jemalloc statistics ---",
        becomes: "<statistics>",
    },
    Rule {
        of: &["time", "lastsave"],
        reason: "the answer is the time",
        pattern: r"\$\d+\r\n\d+|:\d{10}",
        becomes: "<time>",
    },
    Rule {
        of: &["xadd"],
        reason: "an id that the server makes is the time",
        pattern: r"(\$\d+\r\n)?\d{13}-\d+",
        becomes: "<time>",
    },
    Rule {
        of: &["xinfo|*", "xpending"],
        reason: "when a consumer was last seen, or how long ago",
        pattern: r":\d{13}|(idle|inactive)\r\n:\d+|(\$1\r\nc\r\n):\d+",
        becomes: "$1$2<time>",
    },
    Rule {
        of: &["dump"],
        reason: "a dumped stream holds when its consumers were last seen, and a checksum",
        pattern: r"\$\d+\r\n[\x13\x15\x1a\x1b][\s\S]*",
        becomes: "<stream>",
    },
    Rule {
        of: &["debug"],
        reason: "where a value is in memory, and when it was used",
        pattern: r"at:0x[0-9a-f]+|lru:\d+|lru_seconds_idle:\d+",
        becomes: "<*>",
    },
    Rule {
        of: &["latency|history"],
        reason: "events of the same second are one event",
        pattern: r"\*\d+\r\n(\*2\r\n:\d+\r\n:\d+\r\n)+",
        becomes: "<events>",
    },
    Rule {
        of: &["latency|graph", "latency|latest", "latency|doctor"],
        reason: "how long the server took, and when",
        pattern: r"\n-{20,}[^\r]*|\d+ ms|:\d+|[$=]\d{2,}|\d+(\.\d+)? (milliseconds|microseconds)|\n[\d ]+[smhd\n ]",
        becomes: "<time>",
    },
    Rule {
        of: &["latency|histogram"],
        reason: "how long the server took",
        pattern: r"histogram_usec\r\n[*%]\d+\r\n(:\d+\r\n)*",
        becomes: "<times>",
    },
    Rule {
        of: &["slowlog|get", "commandlog|get"],
        reason: "an entry says when a command came, from where, and how long it took",
        pattern: r":\d+|\$\d+\r\n127\.0\.0\.1:\d+",
        becomes: "<*>",
    },
    Rule {
        of: &["scan", "keys"],
        reason: "which keys a scan finds at once, and where it goes on, change while the server resizes its table",
        pattern: r"(\$\d+\r\n\d+\r\n)?([*~]\d+\r\n)(\$\d+\r\n[^\r]*\r\n)+",
        becomes: "<cursor and keys>",
    },
    Rule {
        of: &["command*"],
        reason: "subcommands come in the order of a table that the server resizes",
        pattern: "",
        becomes: SORTED,
    },
    Rule {
        of: &["object|idletime"],
        reason: "the answer is a time in seconds",
        pattern: r":[0-9]\r",
        becomes: ":<seconds>\r",
    },
    Rule {
        of: &["vlinks", "vinfo"],
        reason: "how many levels of the graph a vector is on is random",
        pattern: r"([*%~]\d\r\n|:\d+\r\n)+",
        becomes: "<levels>",
    },
    Rule {
        of: &["bgsave", "bgrewriteaof", "save"],
        reason: "whether the save that was begun before is still running",
        pattern: r"\+Background[^\r]*|-ERR (Background|An AOF|Can't|There)[^\r]*",
        becomes: "<saving>",
    },
    Rule {
        of: &["pexpire", "hpexpire"],
        reason: "the same time to live, set again, is later if a millisecond has passed",
        pattern: r":[01]",
        becomes: "<changed or not>",
    },
];

/// The rules that have matched a reply so far.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    matched: Mutex<BTreeSet<usize>>,
}

impl Rules {
    /// Compares the replies without and with the proxy. Fails with their difference.
    pub(crate) fn compare(&self, of: &str, direct: &[u8], proxied: &[u8]) -> Result<(), String> {
        let rules = || {
            RULES
                .iter()
                .zip(patterns())
                .enumerate()
                .filter(|(_, (rule, _))| rule.of.iter().any(|name| matches(name, of)))
        };
        // If there is no difference, the rules are tried only to see whether each is needed: until it has matched, and on
        // some of the replies.
        let is_tried = |index: usize, rule: &Rule| {
            !rule.of.contains(&"*") && direct.len() < LONGEST_TRIED && !self.matched().contains(&index)
        };
        if direct == proxied {
            let tried: Vec<_> = rules().filter(|&(index, (rule, _))| is_tried(index, rule)).collect();
            if !tried.is_empty() {
                let text = text(direct);
                let matched = tried.iter().filter(|(_, (rule, pattern))| rule.changes(pattern, &text));
                self.matched().extend(matched.map(|&(index, _)| index));
            }
            return Ok(());
        }
        let (mut direct, mut proxied) = (text(direct), text(proxied));
        for (index, (rule, pattern)) in rules() {
            let (left, right) = (rule.apply(pattern, &direct), rule.apply(pattern, &proxied));
            if left != direct || right != proxied {
                self.matched().insert(index);
                (direct, proxied) = (left, right);
            }
        }
        if direct == proxied {
            return Ok(());
        }
        Err(difference(&direct, &proxied))
    }

    fn matched(&self) -> MutexGuard<'_, BTreeSet<usize>> {
        self.matched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reasons of the rules that matched nothing.
    pub(crate) fn unused(&self) -> Vec<&'static str> {
        let matched = self.matched();
        RULES.iter().enumerate().filter(|(index, _)| !matched.contains(index)).map(|(_, rule)| rule.reason).collect()
    }
}

fn patterns() -> &'static [Regex] {
    static PATTERNS: OnceLock<Vec<Regex>> = OnceLock::new();
    PATTERNS.get_or_init(|| RULES.iter().map(|rule| Regex::new(rule.pattern).expect("a pattern")).collect())
}

fn matches(name: &str, of: &str) -> bool {
    name.strip_suffix('*').map_or(name == of, |start| of.starts_with(start))
}

/// The bytes as text, in which each byte is a character, so that none is lost.
fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

/// The difference line by line, so that it shows the position.
fn difference(direct: &str, proxied: &str) -> String {
    let (direct, proxied): (Vec<_>, Vec<_>) = (direct.split("\r\n").collect(), proxied.split("\r\n").collect());
    let differing = direct.iter().zip(&proxied).position(|(direct, proxied)| direct != proxied);
    let at = differing.unwrap_or(direct.len().min(proxied.len()));
    let around = |lines: &[&str]| {
        let near = &lines[at.saturating_sub(4).min(lines.len())..lines.len().min(at + 3)];
        near.iter().map(|line| format!("    {:.300}\n", line.escape_default().to_string())).collect::<String>()
    };
    format!("without the proxy:\n{}  with it:\n{}", around(&direct), around(&proxied))
}

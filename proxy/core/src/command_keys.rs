//! Where the first key of a command stands.
//!
//! It is a table of its own, because the one of the module `commands` is looked through for every command, and this
//! one only where operators ask for keys' templates. A test of the program compares it with the tables of real
//! servers (`COMMAND`).

use crate::resp::Values;

/// Where the first key of a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The command has no key, or its first key cannot be told.
    Nowhere,
    /// The key is this argument, counted from 1.
    At(usize),
    /// This argument is a number of keys, which stand behind it.
    BehindNumber(usize),
    /// The key stands behind the word `STREAMS`.
    BehindStreams,
}

/// The most words of a command in which `STREAMS` is looked for.
const MAX_OPTIONS: usize = 12;

/// The commands whose first key is not their first argument.
#[rustfmt::skip]
static COMMANDS: [(Place, &[&str]); 6] = [
    (
        Place::Nowhere,
        &[
            "ACL", "ASKING", "AUTH", "BGREWRITEAOF", "BGSAVE", "CLIENT", "CLUSTER", "CLUSTERSCAN",
            "COMMAND", "COMMANDLOG", "CONFIG", "DBSIZE", "DEBUG", "DISCARD", "ECHO", "EXEC", "FAILOVER",
            "FLUSHALL", "FLUSHDB", "FUNCTION", "HELLO", "HOTKEYS", "INFO", "KEYS", "LASTSAVE", "LATENCY",
            "LOLWUT", "MODULE", "MONITOR", "MULTI", "PFSELFTEST", "PING", "PSUBSCRIBE", "PSYNC", "PUBLISH",
            "PUBSUB", "PUNSUBSCRIBE", "QUIT", "RANDOMKEY", "READONLY", "READWRITE", "REPLCONF", "REPLICAOF",
            "RESET", "ROLE", "SAVE", "SCAN", "SCRIPT", "SELECT", "SHUTDOWN", "SLAVEOF", "SLOWLOG",
            "SPUBLISH", "SSUBSCRIBE", "SUBSCRIBE", "SUNSUBSCRIBE", "SWAPDB", "SYNC", "TIME", "UNSUBSCRIBE",
            "UNWATCH", "WAIT", "WAITAOF",
        ],
    ),
    (Place::At(2), &["BITOP", "MEMORY", "OBJECT", "PFDEBUG", "XGROUP", "XINFO"]),
    (Place::At(3), &["MIGRATE"]),
    (Place::BehindNumber(1), &["LMPOP", "SINTERCARD", "ZDIFF", "ZINTER", "ZINTERCARD", "ZMPOP", "ZUNION"]),
    (
        Place::BehindNumber(2),
        &["BLMPOP", "BZMPOP", "EVAL", "EVALSHA", "EVALSHA_RO", "EVAL_RO", "FCALL", "FCALL_RO"],
    ),
    (Place::BehindStreams, &["XREAD", "XREADGROUP"]),
];

/// The first key of a request in RESP, which begins with `*`. `None` if the command has none, or if the request is cut off before
/// it. A command that is not known is expected to have it as its first argument, as most commands of modules do.
pub fn first_key(request: &[u8]) -> Option<&[u8]> {
    let mut words = Values::new(request);
    let name = words.next()?;
    let place =
        COMMANDS.iter().find(|(_, names)| names.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes())));
    let key = match place.map_or(Place::At(1), |(place, _)| *place) {
        Place::Nowhere => None,
        Place::At(position) => words.nth(position.checked_sub(1)?),
        Place::BehindNumber(position) => {
            let number = words.nth(position.checked_sub(1)?)?;
            let has_keys = number.iter().any(|digit| matches!(digit, b'1'..=b'9'));
            words.next().filter(|_| has_keys)
        }
        Place::BehindStreams => {
            words.by_ref().take(MAX_OPTIONS).find(|word| word.eq_ignore_ascii_case(b"STREAMS"))?;
            words.next()
        }
    };
    key.filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;

    fn of(words: &str) -> Option<String> {
        let mut request = String::new();
        for word in words.split(' ') {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        let request = format!("*{}\r\n{request}", words.split(' ').count());
        first_key(request.as_bytes()).map(|key| String::from_utf8(key.to_vec()).unwrap())
    }

    #[test]
    fn the_first_key_is_found_where_the_command_has_it() {
        for (request, key) in [
            ("GET k", Some("k")),
            ("mset k v other v", Some("k")),
            ("JSON.SET k $ 1", Some("k")),
            ("PING k", None),
            ("publish ch m", None),
            ("Config GET k", None),
            ("BITOP AND k other", Some("k")),
            ("OBJECT ENCODING k", Some("k")),
            ("EVAL script 1 k argument", Some("k")),
            ("EVAL script 0 argument", None),
            ("FCALL_RO function 00 argument", None),
            ("BLMPOP 0 2 k other LEFT", Some("k")),
            ("LMPOP 1 k LEFT", Some("k")),
            ("XREAD COUNT 1 BLOCK 5 STREAMS k $", Some("k")),
            ("XREADGROUP GROUP g c streams k >", Some("k")),
            ("XREAD COUNT 1", None),
            ("MIGRATE host 6379 k 0 100", Some("k")),
            ("GET", None),
        ] {
            assert_eq!(of(request).as_deref(), key, "{request}");
        }
    }

    #[test]
    fn a_request_that_is_cut_off_has_the_key_only_if_it_is_whole() {
        let request = b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$1\r\nv\r\n";
        for cut in 0..request.len() {
            assert_eq!(first_key(&request[..cut]).is_some(), cut >= 20, "{cut}");
        }
        assert_eq!(first_key(b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n"), None);
    }
}

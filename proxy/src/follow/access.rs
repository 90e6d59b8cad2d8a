//! What a command does to keys, as far as it matters to who has written what is read.

/// What a command does to the values of keys.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Access<'a> {
    /// It writes nothing, and what it reads is not linked.
    None,
    /// It may write any key.
    Everything,
    /// It reads these keys, in the order of the values in its reply.
    Values(Vec<&'a [u8]>),
    /// It reads these fields of a hash, in the order of the values in its reply.
    Fields(&'a [u8], Vec<&'a [u8]>),
    /// It reads all fields of a hash.
    Hash(&'a [u8]),
    /// It writes a value, and nothing else is left under the key.
    Value(&'a [u8], &'a [u8]),
    /// It writes fields of a hash, with their values.
    FieldValues(&'a [u8], Vec<(&'a [u8], &'a [u8])>),
    /// It may write whatever is named among these arguments.
    Names(&'a [&'a [u8]]),
}

/// Commands that write no value of a key. What is not among them, and not understood, is taken as a write.
const HARMLESS: [&str; 45] = [
    "BITCOUNT",
    "BITPOS",
    "DBSIZE",
    "DUMP",
    "ECHO",
    "EXEC",
    "EXISTS",
    "EXPIRE",
    "EXPIREAT",
    "EXPIRETIME",
    "GETBIT",
    "GETRANGE",
    "HEXISTS",
    "HKEYS",
    "HLEN",
    "HSCAN",
    "HVALS",
    "INFO",
    "KEYS",
    "LINDEX",
    "LLEN",
    "LRANGE",
    "MULTI",
    "OBJECT",
    "PERSIST",
    "PEXPIRE",
    "PEXPIREAT",
    "PTTL",
    "PUBLISH",
    "SCAN",
    "SCARD",
    "SISMEMBER",
    "SMEMBERS",
    "SPUBLISH",
    "STRLEN",
    "TIME",
    "TOUCH",
    "TTL",
    "TYPE",
    "UNWATCH",
    "WATCH",
    "ZCARD",
    "ZRANGE",
    "ZRANK",
    "ZSCORE",
];

/// Commands that may write keys which they do not name.
const SWEEPING: [&str; 4] = ["FLUSHALL", "FLUSHDB", "RESTORE", "SWAPDB"];

impl<'a> Access<'a> {
    /// What the command `name` does with these arguments. Further ones may have been left out if there are `most` of them.
    pub(super) fn of(name: &[u8], arguments: &'a [&'a [u8]], most: usize) -> Self {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        let is_whole = arguments.len() < most;
        match arguments {
            [key] if is("GET") => Self::Values(vec![key]),
            [key, ..] if is("GETEX") => Self::Values(vec![key]),
            keys if is("MGET") => Self::Values(keys.to_vec()),
            [key, field] if is("HGET") => Self::Fields(key, vec![field]),
            [key, fields @ ..] if is("HMGET") => Self::Fields(key, fields.to_vec()),
            [key] if is("HGETALL") => Self::Hash(key),
            // Its reply is the old value, which does not tell whether it has written.
            [key, value, options @ ..]
                if is("SET") && !options.iter().any(|word| word.eq_ignore_ascii_case(b"GET")) =>
            {
                Self::Value(key, value)
            }
            [key, _, value] if is("SETEX") || is("PSETEX") => Self::Value(key, value),
            // It writes fields that are not known.
            [_, ..] if (is("HSET") || is("HMSET")) && !is_whole => Self::Names(&arguments[..1]),
            [key, fields @ ..] if is("HSET") || is("HMSET") => {
                Self::FieldValues(key, fields.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
            }
            _ if HARMLESS.iter().any(|other| is(other)) => Self::None,
            _ if SWEEPING.iter().any(|other| is(other)) || !is_whole => Self::Everything,
            names => Self::Names(names),
        }
    }
}

/// Whether a write that was answered by these values has taken place. The answer is `OK`, or the number of new fields.
pub(super) fn is_confirmed(values: &[&[u8]]) -> bool {
    matches!(values, [value] if *value == b"OK" || !value.is_empty() && value.iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &str, check: impl FnOnce(Access<'_>) -> bool) -> bool {
        let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        check(Access::of(words[0], &words[1..], 6))
    }

    #[test]
    fn what_is_read_and_written_is_told_by_the_command() {
        let key = || &b"k"[..];
        assert!(of("get k", |access| access == Access::Values(vec![key()])));
        assert!(of("MGET k v", |access| access == Access::Values(vec![key(), b"v"])));
        assert!(of("HMGET k a b", |access| access == Access::Fields(key(), vec![b"a", b"b"])));
        assert!(of("HGETALL k", |access| access == Access::Hash(key())));
        assert!(of("SET k v EX 60 NX", |access| access == Access::Value(key(), b"v")));
        assert!(of("setex k 60 v", |access| access == Access::Value(key(), b"v")));
        assert!(of("HSET k a 1 b 2", |access| access == Access::FieldValues(key(), vec![(b"a", b"1"), (b"b", b"2")])));
    }

    #[test]
    fn what_is_not_known_is_a_write_of_all_that_it_names() {
        assert!(of("DEL k other", |access| access == Access::Names(&[b"k", b"other"])));
        assert!(of("SET k v get", |access| matches!(access, Access::Names(_))));
        assert!(of("DEL a b c d e f", |access| access == Access::Everything));
        assert!(of("HSET k a 1 b 2 c 3", |access| access == Access::Names(&[b"k"])));
        assert!(of("FLUSHDB", |access| access == Access::Everything));
        assert!(of("EVALSHA x 1 k v", |access| matches!(access, Access::Names(names) if names.contains(&&b"k"[..]))));
        for harmless in ["EXPIRE k 60", "PUBLISH k v", "LRANGE k 0 1", "TTL k"] {
            assert!(of(harmless, |access| access == Access::None), "{harmless}");
        }
    }

    #[test]
    fn a_write_is_confirmed_by_ok_or_by_a_number() {
        assert!(is_confirmed(&[b"OK"]) && is_confirmed(&[b"0"]) && is_confirmed(&[b"12"]));
        assert!(!is_confirmed(&[]) && !is_confirmed(&[b"WRONGTYPE Operation"]) && !is_confirmed(&[b"-1"]));
        assert!(!is_confirmed(&[b"OK", b"OK"]));
    }
}

//! The data that every command finds, and arguments that match it.

use super::docs::{Argument, Documented};

/// The data of the server when a command is called: two keys of every type, a script and a function.
pub(crate) const FIXTURE: &[&str] = &[
    "MSET s hello s2 world n 10 n2 20",
    "RPUSH l a b c a",
    "RPUSH l2 c d",
    "SADD set a",
    "SADD set2 a b",
    "ZADD z 1 a 2 b 3 c",
    "ZADD z2 2 b 5 d",
    "HSET h f v n 5",
    "HSET h2 f v",
    "XADD x 1-1 f v",
    "XADD x 1-2 f v g w",
    "XGROUP CREATE x g 0",
    "XREADGROUP GROUP g c COUNT 1 STREAMS x >",
    "XADD x2 1-1 f v",
    "PFADD hll a b c",
    "PFADD hll2 c d",
    "SETBIT bits 7 1",
    "SETBIT bits2 3 1",
    "GEOADD geo 13.361389 38.115556 a 15.087269 37.502669 b",
    "GEOADD geo2 13.361389 38.115556 a",
    "SCRIPT LOAD \"return 1\"",
    "FUNCTION LOAD \"#!lua name=lib\\nredis.register_function{function_name='f',callback=function() return 1 end,flags={'no-writes'}}\"",
];

/// The fixture's keys, for calls with a key of the wrong type.
pub(crate) const KEYS: [&str; 6] = ["s", "l", "set", "z", "h", "x"];

/// The word for an argument. `keys` is the number of keys in the call so far, including this one.
pub(crate) fn value(command: &Documented, argument: &Argument, keys: usize) -> String {
    let name = argument.name.as_str();
    match argument.kind.as_str() {
        "key" if matches!(name, "destination" | "destkey" | "newkey" | "dst" | "storekey" | "storedistkey") => {
            "destination".to_owned()
        }
        "key" => format!("{}{}", key(command), if keys > 1 { "2" } else { "" }),
        kind => word(command, kind, name).to_owned(),
    }
}

fn key(command: &Documented) -> &'static str {
    match (command.name.as_str(), command.group.as_str()) {
        ("incr" | "decr" | "incrby" | "decrby" | "incrbyfloat", _) => "n",
        (_, "list") => "l",
        (_, "set") => "set",
        (_, "sorted-set" | "sorted_set") => "z",
        (_, "hash") => "h",
        (_, "stream") => "x",
        (_, "geo") => "geo",
        (_, "hyperloglog") => "hll",
        (_, "bitmap") => "bits",
        ("sort" | "sort_ro", _) => "n",
        _ => "s",
    }
}

fn word(command: &Documented, kind: &str, name: &str) -> &'static str {
    let by_name = match name {
        "min" if command.name.contains("lex") => "-",
        "max" if command.name.contains("lex") => "+",
        "min" | "start" if command.group == "stream" => "-",
        "max" | "end" if command.group == "stream" => "+",
        "field" if command.name == "hincrby" || command.name == "hincrbyfloat" => "n",
        "timeout" if kind == "double" => "0.01",
        "timeout" | "ms" => "10",
        "min" | "start" | "offset" | "cursor" | "index" | "slot" | "start-slot" | "db" | "destination-db" => "0",
        "max" | "stop" | "end" => "-1",
        "count" | "limit" | "num-matches" | "maxlen" | "end-slot" => "2",
        "seconds" | "ttl" => "1000",
        "milliseconds" if command.group == "stream" => "10", // to block
        "milliseconds" => "1000000",
        "unix-time-seconds" => "4102444800",
        "unix-time-milliseconds" => "4102444800000",
        "member" | "element" | "member1" | "pivot" => "a",
        "member2" => "b",
        "field" => "f",
        "id" | "lastid" | "last-id" if command.name == "xread" || command.name.starts_with("xgroup") => "0",
        "id" | "lastid" => "1-1",
        "last-id" => "9-9",
        "threshold" => "1",
        "group" | "groupname" => "g",
        "consumer" | "consumername" => "c",
        "min-idle-time" => "0",
        "username" => "default",
        "password" => "pw",
        "host" | "ip" => "127.0.0.1",
        "ip:port" | "addr" | "laddr" | "old-format" | "not-addr" | "not-laddr" => "127.0.0.1:1",
        "not-ip" => "127.0.0.2",
        "client-id" | "not-client-id" => "999999",
        "sha1" => "e0e1f9fabfc9d4800c877a703b823ac0578ff8db",
        "script" => "return 1",
        "function" => "f",
        "library-name" | "library-name-pattern" => "lib",
        "category" | "categoryname" => "string",
        "command-name" | "command" => "get",
        "event" => "command",
        "section" => "server",
        "protover" => "3",
        "longitude" => "13.5",
        "latitude" => "38",
        "radius" | "width" | "height" => "500",
        "encoding" => "u8",
        "bit" => "1",
        "type" => "string",
        "frequency" | "rank" | "weight" | "numkeys" | "numfields" | "numids" => "1",
        "version" => "5",
        "parameter" => "maxmemory",
        "metric" => "key-count",
        "serialized-value" => "not-a-dump",
        _ => "",
    };
    match (by_name, kind) {
        ("", "integer") => "1",
        ("", "double") => "1.5",
        ("", "unix-time") => "4102444800",
        ("", "pattern") => "*",
        ("", _) => "word",
        (word, _) => word,
    }
}

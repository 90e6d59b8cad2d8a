use redistributed_core::trace::UnixNanos;

use super::*;

/// Connections to the same Redis, and what they have under way.
struct Keys(Arc<Writers>);

impl Keys {
    fn new() -> Self {
        Self(Arc::default())
    }

    fn to(&self, redis: &str) -> WritersOf {
        WritersOf::new(Arc::clone(&self.0), redis.into())
    }

    fn send(&self, command: &str, cause: Option<SpanContext>) -> Option<Pending> {
        send(&self.to("redis"), 0, command, cause)
    }

    fn answer(&self, pending: Option<Pending>, values: &[&str]) -> Vec<SpanContext> {
        answer(&self.to("redis"), pending, values)
    }

    /// A whole command, whose reply is `OK`.
    fn write(&self, command: &str, cause: Option<SpanContext>) {
        let pending = self.send(command, cause);
        self.answer(pending, &["OK"]);
    }

    /// Those who have written the value that is under the key.
    fn read(&self, key: &str, value: &str) -> Vec<SpanContext> {
        let pending = self.send(&format!("GET {key}"), None);
        self.answer(pending, &[value])
    }
}

fn send(connection: &WritersOf, database: u32, command: &str, cause: Option<SpanContext>) -> Option<Pending> {
    send_at(connection, UnixNanos(1), database, command, cause)
}

fn send_at(
    connection: &WritersOf,
    now: UnixNanos,
    database: u32,
    command: &str,
    cause: Option<SpanContext>,
) -> Option<Pending> {
    let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
    connection.sent(now, database, &Access::of(words[0], &words[1..], 6), cause)
}

fn answer(connection: &WritersOf, pending: Option<Pending>, values: &[&str]) -> Vec<SpanContext> {
    let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
    pending.map(|pending| connection.answered(pending, &values)).unwrap_or_default()
}

fn span(id: u64) -> SpanContext {
    let text = format!("00-{:032x}-{id:016x}-01", id + 1000);
    SpanContext::parse_traceparent(text.as_bytes()).unwrap()
}

#[test]
fn a_read_is_linked_to_the_last_write_whose_value_it_gets() {
    let keys = Keys::new();
    keys.write("SET k v", Some(span(1)));
    assert_eq!(keys.read("k", "v"), [span(1)]);
    assert_eq!(keys.read("k", "v"), [span(1)], "as often as it is read");
    keys.write("SETEX k 60 w", Some(span(2)));
    assert_eq!(keys.read("k", "w"), [span(2)]);
    assert_eq!(keys.read("other", "w"), []);
}

#[test]
fn another_value_than_the_written_one_has_an_unknown_writer() {
    let keys = Keys::new();
    keys.write("SET k v", Some(span(1)));
    assert_eq!(keys.read("k", "w"), [], "somebody has written it who is not seen");
    let pending = keys.send("GET k", None);
    assert_eq!(keys.answer(pending, &[]), [], "the key is gone");
}

#[test]
fn a_write_without_a_known_cause_makes_the_key_uncertain() {
    for write in
        ["SET k v", "APPEND k v", "DEL x k", "EVALSHA abc 1 k", "RENAME other k", "FLUSHALL", "DEL 1 2 3 4 5 6"]
    {
        let keys = Keys::new();
        keys.write("SET k v", Some(span(1)));
        let pending = keys.send(write, None);
        assert_eq!(keys.read("k", "v"), [], "{write}, unanswered");
        keys.answer(pending, &["OK"]);
        assert_eq!(keys.read("k", "v"), [], "{write}");
        keys.write("SET k v", Some(span(3)));
        assert_eq!(keys.read("k", "v"), [span(3)], "{write}, and a later write");
    }
    let keys = Keys::new();
    keys.write("SET k v", Some(span(1)));
    for harmless in ["EXPIRE k 60", "TTL k", "PUBLISH k v", "SET other v"] {
        keys.write(harmless, None);
    }
    assert_eq!(keys.read("k", "v"), [span(1)]);
}

#[test]
fn a_write_that_is_refused_or_not_recorded_is_nobodys() {
    let keys = Keys::new();
    let pending = keys.send("SET k v NX", Some(span(1)));
    keys.answer(pending, &[]);
    assert_eq!(keys.read("k", "v"), []);
    let pending = keys.send("SET k v", Some(span(1)));
    keys.answer(pending, &["OOM command not allowed"]);
    assert_eq!(keys.read("k", "v"), []);
    let unsampled = SpanContext { flags: span(1).flags.with_sampled(false), ..span(1) };
    keys.write("SET k v", Some(unsampled));
    assert_eq!(keys.read("k", "v"), []);
}

#[test]
fn writes_at_the_same_time_leave_it_open_which_came_last() {
    let keys = Keys::new();
    let first = keys.send("SET k v", Some(span(1)));
    let second = keys.send("SET k v", Some(span(2)));
    keys.answer(second, &["OK"]);
    assert_eq!(keys.read("k", "v"), []);
    keys.answer(first, &["OK"]);
    assert_eq!(keys.read("k", "v"), []);
    keys.write("SET k v", Some(span(3)));
    assert_eq!(keys.read("k", "v"), [span(3)]);
}

#[test]
fn a_write_during_a_read_leaves_it_open_which_value_was_read() {
    let keys = Keys::new();
    keys.write("SET k v", Some(span(1)));
    let read = keys.send("GET k", None);
    keys.write("SET k v", Some(span(2)));
    assert_eq!(keys.answer(read, &["v"]), []);
    let write = keys.send("SET k v", Some(span(3)));
    let read = keys.send("GET k", None);
    keys.answer(write, &["OK"]);
    assert_eq!(keys.answer(read, &["v"]), []);
}

#[test]
fn fields_of_a_hash_have_writers_of_their_own() {
    let keys = Keys::new();
    let write = |command: &str, cause| {
        let pending = keys.send(command, cause);
        keys.answer(pending, &["1"]);
    };
    write("HSET h a 1 b 1", Some(span(1)));
    write("HSET h b 2", Some(span(2)));
    let read = |command: &str, values: &[&str]| {
        let pending = keys.send(command, None);
        keys.answer(pending, values)
    };
    assert_eq!(read("HGET h a", &["1"]), [span(1)]);
    assert_eq!(read("HGET h b", &["2"]), [span(2)]);
    assert_eq!(read("HGET h b", &["1"]), [], "it was the other field's");
    assert_eq!(read("HMGET h a b", &["1", "2"]), [span(1), span(2)]);
    assert_eq!(read("HMGET h a b", &["1"]), [], "which field is there is not known");
    assert_eq!(read("HGETALL h", &["c", "1", "a", "1", "b", "2"]), [span(1), span(2)]);
    write("HSET h c 3", None);
    assert_eq!(read("HGET h a", &["1"]), []);
}

#[test]
fn several_keys_are_told_by_their_places() {
    let keys = Keys::new();
    keys.write("SET k v", Some(span(1)));
    keys.write("SET l w", Some(span(2)));
    let read = |values: &[&str]| {
        let pending = keys.send("MGET x k l", None);
        keys.answer(pending, values)
    };
    assert_eq!(read(&["u", "v", "w"]), [span(1), span(2)]);
    assert_eq!(read(&["v", "w", "v"]), []);
    assert_eq!(read(&["v", "w"]), [], "one is missing");
}

#[test]
fn what_the_own_trace_has_written_is_no_link() {
    let keys = Keys::new();
    keys.write("SET k v", Some(span(1)));
    let same_trace = SpanContext { span_id: span(9).span_id, ..span(1) };
    for (cause, expected) in [(same_trace, vec![]), (span(9), vec![span(1)])] {
        let pending = keys.send("GET k", Some(cause));
        assert_eq!(keys.answer(pending, &["v"]), expected);
    }
}

#[test]
fn a_key_is_that_of_one_database_of_one_redis() {
    let keys = Keys::new();
    keys.write("SET k v", Some(span(1)));
    for (redis, database, expected) in [("redis", 1, vec![]), ("other", 0, vec![]), ("redis", 0, vec![span(1)])] {
        let connection = keys.to(redis);
        let pending = send(&connection, database, "GET k", None);
        assert_eq!(answer(&connection, pending, &["v"]), expected, "{redis} {database}");
    }
}

#[test]
fn keys_are_forgotten_by_number_and_by_age() {
    let keys = Keys::new();
    let connection = keys.to("redis");
    for number in 0..=MAX_KEYS {
        keys.write(&format!("SET {number} v"), Some(span(1)));
    }
    assert_eq!(keys.read("0", "v"), []);
    assert_eq!(keys.read(&MAX_KEYS.to_string(), "v"), [span(1)]);
    assert!(keys.0.state().keys.len() <= MAX_KEYS && keys.0.state().by_age.len() <= 2 * MAX_KEYS);
    let pending = send_at(&connection, UnixNanos(KEPT + 2), 0, "SET other v", Some(span(2)));
    answer(&connection, pending, &["OK"]);
    assert_eq!(keys.read(&MAX_KEYS.to_string(), "v"), []);
    // Writes of nobody leave nothing behind.
    for number in 0..3 * MAX_KEYS {
        keys.write(&format!("SET n{number} v"), None);
    }
    assert_eq!(keys.0.state().keys.len(), 1);
    assert!(keys.0.state().by_age.len() <= 2 * MAX_KEYS);
}

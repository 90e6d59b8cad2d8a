//! The names that well-known job libraries give the keys of their queues.
//!
//! Only lists and sorted sets have to be told from caches and other data by their names. A stream always counts as a queue.

/// The keys of one library.
struct Known {
    /// What a key begins with.
    prefix: &'static str,
    /// What a key ends with, behind the queue's own name. `None` if the prefix is the whole key.
    suffix: Option<&'static str>,
}

const fn all_of(name: &'static str) -> Known {
    Known { prefix: name, suffix: None }
}

const fn beginning(prefix: &'static str) -> Known {
    Known { prefix, suffix: Some("") }
}

/// Each with the library's file in which the name stands.
static KNOWN: [Known; 9] = [
    // Celery: `task_default_queue` in celery/app/defaults.py, and in front of a priority in kombu/transport/redis.py.
    all_of("celery"),
    beginning("celery\x06\x16"),
    // Sidekiq: lib/sidekiq/client.rb. Resque has the same behind its namespace: lib/resque/data_store.rb.
    beginning("queue:"),
    beginning("resque:queue:"),
    // RQ: rq/queue.py.
    beginning("rq:queue:"),
    // Huey: `RedisStorage` in huey/storage.py.
    beginning("huey.redis."),
    // taskiq: `queue_name` in taskiq_redis/redis_broker.py.
    all_of("taskiq"),
    // Django Q: django_q/brokers/redis_broker.py.
    Known { prefix: "django_q:", suffix: Some(":q") },
    // Laravel adds delayed jobs by a plain `ZADD` up to version 8, and all else by scripts: src/Illuminate/Queue/RedisQueue.php.
    Known { prefix: "queues:", suffix: Some(":delayed") },
];

/// Whether a well-known library has a queue at this key.
pub(crate) fn is_known(key: &[u8]) -> bool {
    KNOWN.iter().any(|known| match (key.strip_prefix(known.prefix.as_bytes()), known.suffix) {
        (Some(rest), Some(suffix)) => rest.len() > suffix.len() && rest.ends_with(suffix.as_bytes()),
        (Some(rest), None) => rest.is_empty(),
        (None, _) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queues_of_well_known_libraries_are_known_and_nothing_that_only_looks_like_one() {
        for key in [
            "celery",
            "celery\x06\x163",
            "queue:default",
            "resque:queue:mail",
            "rq:queue:high",
            "huey.redis.app",
            "taskiq",
            "django_q:default:q",
            "queues:mail:delayed",
        ] {
            assert!(is_known(key.as_bytes()), "{key}");
        }
        for key in
            ["", "celery2", "queue:", "queues:default", "rq:queues", "taskiq:1", "django_q::q", "django_q:a:b", "jobs"]
        {
            assert!(!is_known(key.as_bytes()), "{key}");
        }
    }
}

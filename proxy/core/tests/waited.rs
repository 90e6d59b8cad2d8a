//! Lists and sorted sets that are known as queues because the service itself waits for what is added there (`--follow`).

use redistributed_core::policy::Commands;
use redistributed_core::trace::Operation;

use crate::following::{Conversation, both_ways, following};

/// Adds an element to a list, and returns whether that had a span `send`.
fn sends(talk: &mut Conversation, key: &str) -> bool {
    talk.client(&["RPUSH", key, "element"]);
    talk.server(":1\r\n");
    talk.spans().iter().any(|record| matches!(record.operation, Operation::Send(_)))
}

/// Moves an element to another list, and returns whether that has handed it over.
fn takes(talk: &mut Conversation, words: &[&str]) -> bool {
    talk.client(words);
    talk.server("$7\r\nelement\r\n");
    !std::mem::take(&mut talk.driver.deliveries).is_empty()
}

#[test]
fn what_is_added_to_a_list_is_work_once_the_service_has_waited_for_it() {
    both_ways(&following(Commands::None), |mut talk| {
        assert!(!sends(&mut talk, "queued"), "it may be a cache");
        for (words, reply) in [
            (&["BLPOP", "queued", "queue-b", "5"][..], "*-1\r\n"),
            (&["BZPOPMIN", "queue-c", "5"], "*-1\r\n"),
            (&["BLMPOP", "5", "2", "queue-d", "queue-e", "LEFT"], "*-1\r\n"),
            (&["BLMOVE", "queue-f", "processing", "LEFT", "RIGHT", "5"], "$-1\r\n"),
            (&["LPOP", "queue-g"], "$-1\r\n"),
        ] {
            talk.client(words);
            talk.server(reply);
        }
        for key in ["queued", "queue-b", "queue-c", "queue-d", "queue-f"] {
            assert!(sends(&mut talk, key), "{key}");
        }
        for key in ["queue-g", "processing", "5", "LEFT", "cache"] {
            assert!(!sends(&mut talk, key), "{key}");
        }
        talk.client(&["SELECT", "1"]);
        talk.server("+OK\r\n");
        assert!(!sends(&mut talk, "queued"), "that is another database");
    });
}

#[test]
fn a_wait_for_an_answer_makes_no_queue() {
    both_ways(&following(Commands::None), |mut talk| {
        talk.client(&["BLPOP", "answer:7", "other", "5"]);
        talk.server("*-1\r\n");
        assert!(!sends(&mut talk, "answer:7") && !sends(&mut talk, "other"));
    });
}

#[test]
fn a_move_from_queue_to_queue_hands_nothing_over() {
    both_ways(&following(Commands::None), |mut talk| {
        // A worker takes an element like that, and keeps it where nobody waits.
        assert!(takes(&mut talk, &["LMOVE", "queue-a", "processing", "LEFT", "RIGHT"]));
        assert!(takes(&mut talk, &["RPOPLPUSH", "queue-a", "queue-b"]));
        // One goes to a queue by its name, or by behaviour.
        assert!(!takes(&mut talk, &["RPOPLPUSH", "queue-a", "queue:default"]));
        talk.client(&["BRPOP", "queue-b", "5"]);
        talk.server("*-1\r\n");
        for words in [
            &["RPOPLPUSH", "queue-a", "queue-b"][..],
            &["LMOVE", "queue-a", "queue-b", "LEFT", "RIGHT"],
            &["LMOVE", "processing", "queue-b", "LEFT", "RIGHT"],
        ] {
            assert!(!takes(&mut talk, words), "{words:?}");
        }
        assert!(talk.spans().is_empty(), "and adds nothing");
        // A worker that waits has taken it, and so has one that turns a list round.
        assert!(takes(&mut talk, &["BLMOVE", "queue-a", "queue-b", "LEFT", "RIGHT", "5"]));
        assert!(takes(&mut talk, &["RPOPLPUSH", "queue-b", "queue-b"]));
    });
}

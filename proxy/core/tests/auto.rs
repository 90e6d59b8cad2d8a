//! Mode `auto`, and the reports of subscriptions that other proxies rely on. Each conversation runs whole and byte by
//! byte.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::support::{Driver, bulk, injecting, multibulk};
use redistributed_core::carrier::{Carrier, ContextKeys, trailer};
use redistributed_core::glob::Glob;
use redistributed_core::policy::{Forged, Mode};
use redistributed_core::service::{Audience, ExpectedReceivers, NotProven, SubscriptionChange, SubscriptionKind};
use redistributed_core::trace::Change;
use redistributed_core::trace::ids::CountingIds;
use redistributed_core::{Counter, Policy, Side};

/// The channels whose receivers a test knows.
#[derive(Debug, Default)]
struct Known(BTreeMap<&'static [u8], Result<ExpectedReceivers, NotProven>>);

impl Audience for Known {
    fn expected_receivers(&self, channel: &[u8], sharded: bool) -> Result<ExpectedReceivers, NotProven> {
        if sharded {
            return Err(NotProven::NoEvidence);
        }
        self.0.get(channel).copied().unwrap_or(Err(NotProven::Unproxied))
    }
}

fn expected(count: u32) -> Result<ExpectedReceivers, NotProven> {
    Ok(ExpectedReceivers { count, max_payload: 1000, evidence: 7 })
}

fn auto() -> Policy {
    Policy { mode: Mode::Auto, ..Policy::default() }
}

/// The two ways to run a conversation.
const CUTS: [bool; 2] = [false, true];

struct Conversation {
    driver: Driver,
    ids: CountingIds,
    by_byte: bool,
}

impl Conversation {
    fn new(policy: Policy, by_byte: bool) -> Self {
        let mut driver = Driver::new(&Arc::new(policy));
        let known = [(&b"ch"[..], expected(2)), (b"gone", Err(NotProven::Nobody)), (b"new", Err(NotProven::Proving))];
        driver.set_audience(Arc::new(Known(known.into())));
        Self { driver, ids: CountingIds::default(), by_byte }
    }

    fn feed(&mut self, from: Side, bytes: &[u8]) {
        if self.by_byte {
            bytes.iter().for_each(|byte| self.driver.feed(from, &[*byte], &mut self.ids));
        } else {
            self.driver.feed(from, bytes, &mut self.ids);
        }
    }

    fn client(&mut self, words: &[&str]) -> Vec<u8> {
        let before = self.driver.to_server.len();
        self.feed(Side::Client, &multibulk(words));
        self.driver.to_server[before..].to_vec()
    }

    fn server(&mut self, bytes: &str) {
        self.feed(Side::Server, bytes.as_bytes());
    }

    /// Publishes a message, and returns whether a trailer was added.
    fn injects(&mut self, words: &[&str]) -> bool {
        let sent = self.client(words);
        let untouched = multibulk(words);
        assert!(sent == untouched || sent.len() > untouched.len());
        sent != untouched
    }

    fn count(&self, counter: Counter) -> u64 {
        self.driver.counts[counter as usize]
    }
}

#[test]
fn a_proxy_that_delivers_what_its_keys_do_not_prove_does_not_promise_to_remove_contexts() {
    let keys = ContextKeys::new(["key"]);
    for (keys, forged, strips) in
        [(keys.clone(), Forged::Drop, true), (keys, Forged::Keep, false), (ContextKeys::default(), Forged::Keep, true)]
    {
        assert_eq!(Policy { keys, forged, ..Policy::default() }.strips(b"ch"), strips);
    }
}

#[test]
fn a_context_is_added_where_the_audience_is_known_and_otherwise_counted_by_the_reason() {
    for by_byte in CUTS {
        let mut talk = Conversation::new(auto(), by_byte);
        assert!(talk.injects(&["PUBLISH", "ch", "x"]));
        assert!(!talk.injects(&["PUBLISH", "other", "x"]));
        assert!(!talk.injects(&["PUBLISH", "gone", "x"]));
        assert!(!talk.injects(&["PUBLISH", "new", "x"]));
        assert!(!talk.injects(&["SPUBLISH", "ch", "x"]));
        assert!(!talk.injects(&["PUBLISH", "__x", "x"]));
        talk.server(":2\r\n:1\r\n:0\r\n:1\r\n:0\r\n:0\r\n");
        for (counter, n) in [
            (Counter::Injected, 1),
            (Counter::SkippedAutoUnproxied, 1),
            (Counter::SkippedAutoNobody, 1),
            (Counter::SkippedAutoProving, 1),
            (Counter::SkippedAutoUnknown, 1),
            (Counter::SkippedChannel, 1),
            (Counter::SkippedMode, 0),
        ] {
            assert_eq!(talk.count(counter), n, "{counter:?}");
        }
        let reasons: Vec<_> = talk.driver.spans.iter().map(|span| span.handling.payload).collect();
        let skipped = [
            Counter::SkippedAutoUnproxied,
            Counter::SkippedAutoNobody,
            Counter::SkippedAutoProving,
            Counter::SkippedAutoUnknown,
        ];
        let skipped = skipped.map(Change::Skipped);
        assert_eq!(reasons, [&[Change::Injected], &skipped[..]].concat(), "each span says why it has no context");
        assert!(talk.driver.contradicted.is_empty());
    }
}

#[test]
fn without_anybody_to_ask_nothing_is_added() {
    let mut driver = Driver::new(&Arc::new(auto()));
    let publish = multibulk(&["PUBLISH", "ch", "x"]);
    driver.feed(Side::Client, &publish, &mut CountingIds::default());
    assert_eq!(driver.to_server, publish);
    assert_eq!(driver.counts[Counter::SkippedAutoUnknown as usize], 1);
}

#[test]
fn other_modes_do_not_ask() {
    for by_byte in CUTS {
        let modes = vec![(Glob::new("s*").unwrap(), Mode::Strip)];
        let mut talk = Conversation::new(Policy { modes, ..injecting() }, by_byte);
        assert!(talk.injects(&["PUBLISH", "other", "x"]));
        assert!(!talk.injects(&["PUBLISH", "some", "x"]));
        talk.server(":9\r\n:9\r\n");
        assert!(talk.driver.contradicted.is_empty());
        assert_eq!(talk.count(Counter::SkippedMode), 1);
    }
}

#[test]
fn a_reply_with_another_number_of_receivers_contradicts() {
    for by_byte in CUTS {
        let mut talk = Conversation::new(auto(), by_byte);
        for _ in 0..3 {
            assert!(talk.injects(&["PUBLISH", "ch", "x"]));
        }
        talk.server(":2\r\n:3\r\n-NOPERM no\r\n");
        assert_eq!(talk.driver.contradicted, [7], "an error says nothing about receivers");
        assert!(talk.injects(&["PUBLISH", "ch", "x"]), "who answers decides, not the session");
        talk.server(":1\r\n");
        assert_eq!(talk.driver.contradicted, [7, 7]);
    }
}

#[test]
fn replies_count_without_spans_too() {
    for by_byte in CUTS {
        let sampler = redistributed_core::trace::Sampler {
            root: redistributed_core::trace::sampler::Root::AlwaysOff,
            ..Default::default()
        };
        let mut talk = Conversation::new(Policy { sampler, ..auto() }, by_byte);
        for _ in 0..4 {
            assert!(talk.injects(&["PUBLISH", "ch", "x"]));
        }
        talk.server(":2\r\n:2\r\n:5\r\n:2\r\n");
        assert_eq!((talk.driver.spans.len(), &talk.driver.contradicted[..]), (0, &[7][..]));
    }
}

#[test]
fn a_publish_in_a_transaction_gets_a_context_if_the_transaction_is_complete() {
    let publish = ["PUBLISH", "ch", "x"];
    let complete = [&["MULTI"][..], &["SET", "k", "v"], &publish, &publish, &["EXPIRE", "k", "9"], &["EXEC"]];
    let sent = |commands: &[&[&str]], cut: usize, sees_ahead: bool| {
        let mut talk = Conversation::new(auto(), false);
        talk.driver.sees_ahead = sees_ahead;
        let bytes: Vec<u8> = commands.iter().flat_map(|words| multibulk(words)).collect();
        let cut = bytes.len() - cut;
        talk.feed(Side::Client, &bytes[..cut]);
        talk.feed(Side::Client, &bytes[cut..]);
        talk
    };
    let mut talk = sent(&complete, 0, true);
    assert_eq!((talk.count(Counter::Injected), talk.count(Counter::SkippedAutoOrder)), (2, 0));
    talk.server("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*4\r\n+OK\r\n:2\r\n:3\r\n:1\r\n");
    assert_eq!(talk.driver.contradicted, [7], "the second had another number of receivers");

    for (commands, cut, sees_ahead, why) in [
        (&complete[..], 1, true, "the last byte of EXEC has not come"),
        (&complete, 0, false, "nobody looks ahead"),
        (&[&["MULTI"], &publish, &publish, &["DISCARD"], &["EXEC"]], 0, true, "it is discarded"),
        (&[&["MULTI"], &publish, &publish, &["HELLO", "3"], &["EXEC"]], 0, true, "something else changes"),
        (&[&["BLPOP", "q", "0"], &["MULTI"], &publish, &publish, &["EXEC"]], 0, true, "Redis may wait before it"),
        (
            &[&["MULTI"], &["SUBSCRIBE", "ch"], &publish, &publish, &["EXEC"]],
            0,
            true,
            "it is a receiver itself by then",
        ),
        (&[&["MULTI"], &["HELLO", "2"], &publish, &publish, &["EXEC"]], 0, true, "it may become one in RESP2"),
    ] {
        let talk = sent(commands, cut, sees_ahead);
        assert_eq!((talk.count(Counter::Injected), talk.count(Counter::SkippedAutoOrder)), (0, 2), "{why}");
    }
    // The second publish came in two pieces, and the rest with the last byte of its payload.
    let talk = sent(&complete, multibulk(&["EXEC"]).len() + multibulk(&["EXPIRE", "k", "9"]).len() + 3, true);
    assert_eq!((talk.count(Counter::Injected), talk.count(Counter::SkippedAutoOrder)), (1, 1));
}

#[test]
fn a_publish_that_may_be_executed_late_or_goes_unanswered_gets_no_context() {
    for by_byte in CUTS {
        let mut talk = Conversation::new(auto(), by_byte);
        talk.client(&["MULTI"]);
        assert!(!talk.injects(&["PUBLISH", "ch", "x"]));
        talk.client(&["DISCARD", "x"]);
        assert!(!talk.injects(&["PUBLISH", "ch", "x"]), "Redis refuses this DISCARD");
        talk.client(&["EXEC"]);
        assert!(talk.injects(&["PUBLISH", "ch", "x"]));
        talk.server("+OK\r\n+QUEUED\r\n-ERR wrong number of arguments\r\n+QUEUED\r\n-EXECABORT no\r\n:2\r\n");

        talk.client(&["BLPOP", "q", "0"]);
        assert!(!talk.injects(&["PUBLISH", "ch", "x"]), "Redis may wait for hours before it");
        talk.server("*2\r\n$1\r\nq\r\n$1\r\nx\r\n:2\r\n");
        assert!(talk.injects(&["PUBLISH", "ch", "x"]));
        talk.server(":2\r\n");

        talk.client(&["CLIENT", "REPLY", "SKIP"]);
        assert!(!talk.injects(&["PUBLISH", "ch", "x"]));
        assert!(talk.injects(&["PUBLISH", "ch", "x"]));
        talk.server(":2\r\n");
        talk.client(&["CLIENT", "REPLY", "OFF"]);
        assert!(!talk.injects(&["PUBLISH", "ch", "x"]));
        assert_eq!(talk.count(Counter::SkippedAutoOrder), 5);
        assert_eq!(talk.count(Counter::PairingLost), 0);
        assert!(talk.driver.contradicted.is_empty());
    }
}

#[test]
fn a_command_that_blocks_within_a_transaction_does_not() {
    for by_byte in CUTS {
        let mut talk = Conversation::new(auto(), by_byte);
        talk.client(&["MULTI"]);
        talk.client(&["BLPOP", "q", "0"]);
        talk.client(&["EXEC"]);
        talk.server("+OK\r\n+QUEUED\r\n*1\r\n*-1\r\n");
        assert!(talk.injects(&["PUBLISH", "ch", "x"]));
        talk.server(":2\r\n");
        assert_eq!(talk.count(Counter::PairingLost), 0);
    }
}

#[test]
fn a_payload_longer_than_the_audience_searches_gets_no_context() {
    for by_byte in CUTS {
        let mut talk = Conversation::new(auto(), by_byte);
        assert!(talk.injects(&["PUBLISH", "ch", &"x".repeat(1000 - 41)]));
        assert!(!talk.injects(&["PUBLISH", "ch", &"x".repeat(1000 - 40)]));
        assert_eq!(talk.count(Counter::SkippedSize), 1);
    }
}

#[test]
fn a_form_that_only_some_proxies_remove_is_never_added() {
    for (by_byte, carrier) in CUTS.into_iter().flat_map(|cut| [(cut, Carrier::OpenCensus), (cut, Carrier::Json)]) {
        let carriers = vec![(Glob::new("*").unwrap(), carrier)];
        let mut talk = Conversation::new(Policy { carriers, ..auto() }, by_byte);
        assert!(!talk.injects(&["PUBLISH", "ch", "{}"]));
    }
}

#[test]
fn deliveries_lose_their_context_in_any_case() {
    for by_byte in CUTS {
        let mut publisher = Conversation::new(injecting(), by_byte);
        let sent = publisher.client(&["PUBLISH", "other", "x"]);
        let payload = &sent[sent.len() - 2 - 42..sent.len() - 2];
        assert!(trailer::find(payload).is_some());
        let mut talk = Conversation::new(auto(), by_byte);
        talk.client(&["SUBSCRIBE", "other"]);
        talk.server("*3\r\n$9\r\nsubscribe\r\n$5\r\nother\r\n:1\r\n");
        let mut message = b"*3\r\n$7\r\nmessage\r\n$5\r\nother\r\n".to_vec();
        bulk(payload, &mut message);
        let before = talk.driver.to_client.len();
        talk.feed(Side::Server, &message);
        assert_eq!(&talk.driver.to_client[before..], b"*3\r\n$7\r\nmessage\r\n$5\r\nother\r\n$1\r\nx\r\n");
        assert_eq!((talk.count(Counter::Stripped), talk.driver.deliveries.len()), (1, 1));
    }
}

fn confirmed(kind: SubscriptionKind, begun: bool, name: &str, count: u64) -> SubscriptionChange {
    SubscriptionChange::Confirmed { kind, begun, name: name.into(), count }
}

#[test]
fn subscriptions_are_reported_as_the_server_confirms_them() {
    use SubscriptionKind::{Channel, Pattern, Shard};
    for by_byte in CUTS {
        let mut talk = Conversation::new(auto(), by_byte);
        talk.client(&["SUBSCRIBE", "a", "b"]);
        talk.client(&["PSUBSCRIBE", "p*"]);
        assert_eq!(talk.driver.subscriptions, [], "asking is not being subscribed");
        talk.server("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n");
        talk.server("*3\r\n$10\r\npsubscribe\r\n$2\r\np*\r\n:3\r\n");
        talk.client(&["SSUBSCRIBE", "s"]);
        talk.server("*3\r\n$10\r\nssubscribe\r\n$1\r\ns\r\n:1\r\n");
        talk.client(&["UNSUBSCRIBE", "a"]);
        talk.server("*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:2\r\n");
        talk.server("*3\r\n$12\r\nsunsubscribe\r\n$1\r\ns\r\n:0\r\n");
        talk.client(&["RESET"]);
        talk.server("+RESET\r\n");
        let expected = [
            confirmed(Channel, true, "a", 1),
            confirmed(Channel, true, "b", 2),
            confirmed(Pattern, true, "p*", 3),
            confirmed(Shard, true, "s", 1),
            confirmed(Channel, false, "a", 2),
            confirmed(Shard, false, "s", 0),
            SubscriptionChange::Reset,
        ];
        assert_eq!(talk.driver.subscriptions, expected);
    }
}

#[test]
fn pushes_and_transactions_are_reported_too_and_refusals_are_not() {
    for by_byte in CUTS {
        let mut talk = Conversation::new(auto(), by_byte);
        talk.client(&["HELLO", "3"]);
        talk.server("%1\r\n$5\r\nproto\r\n:3\r\n");
        talk.client(&["SUBSCRIBE", "a"]);
        talk.server(">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
        talk.client(&["SUBSCRIBE", "secret"]);
        talk.server("-NOPERM no\r\n");
        talk.client(&["MULTI"]);
        talk.client(&["SUBSCRIBE", "b"]);
        talk.client(&["EXEC"]);
        talk.server("+OK\r\n+QUEUED\r\n*1\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n");
        let kind = SubscriptionKind::Channel;
        assert_eq!(talk.driver.subscriptions, [confirmed(kind, true, "a", 1), confirmed(kind, true, "b", 2)]);
    }
}

#[test]
fn a_connection_that_cannot_be_followed_is_reported_once() {
    for by_byte in CUTS {
        for unclear in
            [&["CLIENT", "REPLY", "OFF"][..], &["CLIENT", "REPLY", "SKIP"], &["SUBSCRIBE", &"n".repeat(1025)]]
        {
            let mut talk = Conversation::new(auto(), by_byte);
            talk.client(unclear);
            let long = format!("*3\r\n$9\r\nsubscribe\r\n$1025\r\n{}\r\n:1\r\n", "n".repeat(1025));
            talk.server(if unclear[0] == "SUBSCRIBE" { &long } else { "" });
            assert_eq!(talk.driver.subscriptions, [SubscriptionChange::Untracked], "{unclear:?}");
            talk.client(&["SUBSCRIBE", "a"]);
            talk.server("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
            assert_eq!(talk.driver.subscriptions.len(), 1, "nothing more is said of it");
        }
        for (from, garbage) in [(Side::Client, "*x\r\n"), (Side::Server, "garbage\r\n"), (Side::Server, ":1\r\n")] {
            let mut talk = Conversation::new(auto(), by_byte);
            talk.feed(from, garbage.as_bytes());
            assert_eq!(talk.driver.subscriptions, [SubscriptionChange::Untracked], "{garbage}");
        }
        let mut talk = Conversation::new(auto(), by_byte);
        talk.client(&["PSYNC", "?", "-1"]);
        talk.server("+FULLRESYNC 0 0\r\n");
        assert_eq!(talk.driver.subscriptions, [SubscriptionChange::Untracked]);
    }
}

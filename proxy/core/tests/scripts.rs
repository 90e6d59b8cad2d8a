//! What a session makes of the scripts by which job libraries add jobs and take them (`--follow`). The queues' names begin with
//! `queue`, because the inference of these tests knows such keys as queues.

use redistributed_core::glob::Glob;
use redistributed_core::policy::{Commands, Mode};
use redistributed_core::trace::{Operation, Sent, SpanRecord};
use redistributed_core::{Policy, Side};

use crate::following::{CAUSE, Conversation, OTHER, both_ways, following, span};
use crate::support::multibulk;

/// The job `17` of the queue `queue:mail` in database 2: HMAC-SHA-256, as `carrier::derived` says, by Python.
const OF_JOB: &str = "00-c6318168ad707ac770a483d9d6569b45-7991db739e110642-01";
const SHA: &[u8] = b"808626431266f2e834f108cac6b35ce556927132";
const BULLMQ: &str = "wait active prioritized events stalled limiter delayed paused meta pc";
/// The options of a job without any, and with a context, in MessagePack.
const NO_OPTIONS: &[u8] = b"\x80";
const WITH_CONTEXT: &[u8] =
    b"\x81\xa2tm\xd9\x49{\"traceparent\":\"00-11111111111111111111111111111111-2222222222222222-01\"}";

fn policy() -> Policy {
    Policy { key_templates: vec![Glob::new("queue:*").unwrap()], ..following(Commands::None) }
}

/// Calls a script by `EVALSHA`, whose keys are these names behind the queue's.
fn evalsha(talk: &mut Conversation, queue: &str, names: &str, arguments: &[&[u8]]) {
    let keys: Vec<String> = names.split(' ').map(|name| format!("{queue}:{name}")).collect();
    let count = keys.len().to_string();
    let mut words = vec![&b"EVALSHA"[..], SHA, count.as_bytes()];
    words.extend(keys.iter().map(String::as_bytes));
    words.extend_from_slice(arguments);
    talk.feed(Side::Client, &multibulk(&words));
}

/// Adds a job to `queue:mail` by the script of BullMQ.
fn add(talk: &mut Conversation, data: &str, options: &[u8]) {
    let names = "wait paused meta id completed delayed active events marker";
    let packed = b"\x95\xabqueue:mail:\xa0\xa4name\x01\xc0";
    evalsha(talk, "queue:mail", names, &[packed, data.as_bytes(), options]);
}

fn take(talk: &mut Conversation) {
    evalsha(talk, "queue:mail", &format!("{BULLMQ} marker"), &[b"queue:mail:", b"1700000000000", b"\x80"]);
}

/// Ends the work on a job of `queue:mail`, and asks for the next one.
fn finish(talk: &mut Conversation, id: &str) {
    let names = format!("{BULLMQ} completed {id} metrics:completed marker");
    let arguments = [id.as_bytes(), b"1", b"returnvalue", b"1", b"completed", b"1", b"queue:mail:"];
    evalsha(talk, "queue:mail", &names, &arguments);
}

/// The reply that hands a job over, with these options in JSON.
fn job(id: &str, data: &str, options: &str) -> String {
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let fields = ["name", "mail", "data", data, "opts", options, "ats", "1"].map(bulk).concat();
    format!("*4\r\n*8\r\n{fields}{}:0\r\n:0\r\n", bulk(id))
}

const NO_JOB: &str = "*4\r\n:0\r\n:0\r\n:0\r\n:0\r\n";

fn sent(talk: &mut Conversation) -> Vec<(SpanRecord, Sent)> {
    let of = |record: SpanRecord| match &record.operation {
        Operation::Send(sent) => Some((record.clone(), Sent::clone(sent))),
        _ => None,
    };
    talk.spans().into_iter().filter_map(of).collect()
}

fn taken(talk: &mut Conversation) -> Vec<SpanRecord> {
    std::mem::take(&mut talk.driver.deliveries)
}

#[test]
fn who_adds_a_job_and_who_takes_it_share_the_trace_that_follows_from_its_id() {
    both_ways(&policy(), |mut talk| {
        talk.client(&["SELECT", "2"]);
        talk.server("+OK\r\n");
        add(&mut talk, r#"{"n":1}"#, NO_OPTIONS);
        talk.server("$2\r\n17\r\n");
        let [(record, sent)] = <[_; 1]>::try_from(sent(&mut talk)).expect("one span");
        assert_eq!((record.context, record.parent, record.link), (span(OF_JOB), None, None));
        assert_eq!((sent.queue.as_deref(), sent.id.as_deref(), sent.count), (Some("queue:*"), None, 1));
        assert_eq!((sent.body_size, sent.items.len(), sent.entry), (7, 0, None));
    });
    both_ways(&policy(), |mut talk| {
        talk.client(&["SELECT", "2"]);
        talk.server("+OK\r\n");
        take(&mut talk);
        talk.server(NO_JOB);
        take(&mut talk);
        talk.server(&job("17", r#"{"n":1}"#, "{}"));
        let expected =
            ["1 reads queue:mail true", "2 reads queue:mail true", "item queue:mail  {\"n\":1} {} traced=true"];
        let told: Vec<_> = talk.told().into_iter().map(|line| line.replace('\\', "")).collect();
        assert_eq!(told, expected);
        let [record] = <[_; 1]>::try_from(taken(&mut talk)).expect("one item");
        assert_eq!((record.link, record.parent), (Some(span(OF_JOB)), None));
        assert_eq!(record.context.trace_id, span(OF_JOB).trace_id);
        let Operation::Item { queue, id, body_size, .. } = record.operation else { panic!("an item") };
        assert_eq!((queue.as_deref(), id, body_size), (Some("queue:*"), None, 7), "an id may be anything");
    });
}

#[test]
fn what_ends_the_work_on_a_job_belongs_to_it_and_hands_over_the_next_one() {
    both_ways(&Policy { commands: Commands::Caused, ..policy() }, |mut talk| {
        finish(&mut talk, "caused");
        talk.server(&job("18", "{}", "{}"));
        finish(&mut talk, "18");
        talk.server(":0\r\n");
        finish(&mut talk, "19");
        talk.server("-ERR no\r\n");
        let told: Vec<_> =
            talk.told().into_iter().map(|line| line.split("808626").next().unwrap().to_owned()).collect();
        let expected = [
            "1 EVALSHA ",
            "1 answered ",
            "2 reads queue:mail true",
            "item queue:mail  {} {} traced=true",
            "3 EVALSHA ",
            "3 answered ",
            "4 EVALSHA ",
            "4 answered ",
        ];
        assert_eq!(told, expected);
        assert_eq!(taken(&mut talk).len(), 1);
        assert!(talk.spans().iter().all(|record| !matches!(record.operation, Operation::Send(_))));
    });
}

#[test]
fn a_job_that_was_added_because_of_something_is_below_it_and_has_a_link() {
    both_ways(&policy(), |mut talk| {
        talk.client(&["SELECT", "2"]);
        talk.server("+OK\r\n");
        // The inference of these tests finds the cause of a command by a word among its first six arguments.
        let names = "wait paused meta-paused id delayed priority";
        let caused = "caused";
        let keys: Vec<_> = names.split(' ').map(|name| format!("queue:{caused}:{name}")).collect();
        let mut words = vec!["EVALSHA", "sha", "6"];
        words.extend(keys.iter().map(String::as_str));
        words.extend(["queue:caused:", "", "__default__", "{}", "", "1", "0", "0", "0", "LPUSH", "token", "", "", ""]);
        talk.client(&words);
        talk.server("$2\r\n17\r\n");
        let [(record, sent)] = <[_; 1]>::try_from(sent(&mut talk)).expect("one span");
        assert_eq!((record.parent, record.context.trace_id), (Some(span(CAUSE).span_id), span(CAUSE).trace_id));
        talk.client(&["BRPOPLPUSH", "queue:caused:wait", "queue:caused:active", "5"]);
        talk.server("$2\r\n17\r\n");
        let [consumer] = <[_; 1]>::try_from(taken(&mut talk)).expect("one item");
        assert_eq!(sent.items, [consumer.link.unwrap()]);
        assert_eq!(consumer.context.trace_id, sent.items[0].trace_id);
    });
}

#[test]
fn a_context_that_the_library_has_put_into_the_options_comes_first_at_both_ends() {
    both_ways(&policy(), |mut talk| {
        add(&mut talk, "{}", WITH_CONTEXT);
        talk.server("$2\r\n17\r\n");
        let [(record, sent)] = <[_; 1]>::try_from(sent(&mut talk)).expect("one span");
        assert_eq!((record.parent, record.context.trace_id), (Some(span(OTHER).span_id), span(OTHER).trace_id));
        assert!(sent.carries_context && sent.items.is_empty());
        take(&mut talk);
        talk.server(&job("17", "{}", &format!(r#"{{"tm":"{{\"traceparent\":\"{OTHER}\"}}"}}"#)));
        let [record] = <[_; 1]>::try_from(taken(&mut talk)).expect("one item");
        assert_eq!((record.parent, record.link), (Some(span(OTHER).span_id), None));
    });
}

#[test]
fn jobs_of_a_pipeline_and_of_a_transaction_each_get_their_own_id_and_what_was_not_added_none() {
    both_ways(&policy(), |mut talk| {
        for _ in 0..3 {
            add(&mut talk, "{}", NO_OPTIONS);
        }
        talk.server("$1\r\n1\r\n:-5\r\n$1\r\n2\r\n");
        let named =
            |talk: &mut Conversation| sent(talk).iter().map(|(_, sent)| sent.is_named_by_item).collect::<Vec<_>>();
        assert_eq!(named(&mut talk), [true, false, true]);
        talk.client(&["MULTI"]);
        add(&mut talk, "{}", NO_OPTIONS);
        add(&mut talk, "{}", NO_OPTIONS);
        talk.client(&["EXEC"]);
        talk.server("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$1\r\n3\r\n$1\r\n4\r\n");
        assert_eq!(named(&mut talk), [true, true]);
        // Bee-Queue answers with nothing if there is a job of this id.
        let data = br#"{"data":{}}"#;
        evalsha(&mut talk, "queue:mail", "id jobs waiting", &[b"17", data]);
        talk.server("$-1\r\n");
        assert_eq!(named(&mut talk), [false]);
    });
}

#[test]
fn a_script_that_the_server_does_not_have_yet_is_sent_again_and_has_one_span() {
    both_ways(&policy(), |mut talk| {
        add(&mut talk, "{}", NO_OPTIONS);
        talk.server("-NOSCRIPT No matching script.\r\n");
        assert!(talk.spans().is_empty());
        add(&mut talk, "{}", NO_OPTIONS);
        talk.server("-MISCONF Errors writing\r\n");
        let [(record, _)] = <[_; 1]>::try_from(sent(&mut talk)).expect("one span");
        assert_eq!(record.error.unwrap().as_str(), "MISCONF");
    });
}

#[test]
fn an_element_that_the_server_refuses_is_not_added_whatever_it_says() {
    let job = r#"{"id":"550e8400-e29b-41d4-a716-446655440000","task":"add"}"#;
    both_ways(&policy(), |mut talk| {
        for (reply, is_told) in
            [("-NOSCRIPT No matching script.\r\n", true), ("-OOM used memory\r\n", true), (":1\r\n", false)]
        {
            talk.feed(Side::Client, &multibulk(&[&b"LPUSH"[..], b"celery", job.as_bytes()]));
            talk.told();
            talk.server(reply);
            assert_eq!(talk.told().contains(&"not added".to_owned()), is_told, "{reply}");
        }
    });
}

#[test]
fn jobs_of_laravel_are_named_by_their_bytes_and_notifications_are_no_jobs() {
    const JOB: &str = r#"{"uuid":"550e8400-e29b-41d4-a716-446655440000","id":"x","attempts":0}"#;
    const RESERVED: &str = r#"{"attempts":1,"uuid":"550e8400-e29b-41d4-a716-446655440000","id":"x"}"#;
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    both_ways(&policy(), |mut talk| {
        let push = "-- Push the job onto the queue...\nreturn 1";
        talk.client(&["EVAL", push, "2", "queues:mail", "queues:mail:notify", JOB]);
        talk.server("$-1\r\n");
        talk.client(&["BLPOP", "queues:mail:notify", "5"]);
        talk.server("*2\r\n$18\r\nqueues:mail:notify\r\n$1\r\n1\r\n");
        assert!(taken(&mut talk).is_empty());
        let pop = "-- Pop the first job off of the queue...\nreturn 1";
        let keys = ["queues:mail", "queues:mail:reserved", "queues:mail:notify"];
        talk.client(&[&["EVAL", pop, "3"], &keys[..], &["1700000000"]].concat());
        talk.server(&format!("*2\r\n{}{}", bulk(JOB), bulk(RESERVED)));
        let [(producer, _)] = <[_; 1]>::try_from(sent(&mut talk)).expect("one span");
        let [consumer] = <[_; 1]>::try_from(taken(&mut talk)).expect("one job");
        assert_eq!((consumer.link, consumer.context.trace_id), (Some(producer.context), producer.context.trace_id));
        // It has failed, and is tried again.
        let release = "-- Remove the job from the current queue...\nreturn 1";
        talk.client(&["EVAL", release, "2", "queues:mail:delayed", "queues:mail:reserved", RESERVED, "1700000060"]);
        talk.server(":1\r\n");
        talk.client(&[&["EVAL", pop, "3"], &keys[..], &["1700000060"]].concat());
        talk.server(&format!("*2\r\n{}{}", bulk(RESERVED), bulk(JOB)));
        talk.client(&[&["EVAL", pop, "3"], &keys[..], &["1700000060"]].concat());
        talk.server("*2\r\n$-1\r\n$-1\r\n");
        let [(again, _)] = <[_; 1]>::try_from(sent(&mut talk)).expect("one span");
        let [second] = <[_; 1]>::try_from(taken(&mut talk)).expect("one job");
        assert_eq!(second.link, Some(again.context));
        assert_ne!(second.link, consumer.link);
    });
}

#[test]
fn the_marker_of_a_queue_is_no_job_and_neither_is_one_among_ids() {
    both_ways(&policy(), |mut talk| {
        for (words, reply) in [
            (&["BZPOPMIN", "queue:mail:marker", "5"][..], "*3\r\n$17\r\nqueue:mail:marker\r\n$1\r\n0\r\n$1\r\n0\r\n"),
            (&["BZPOPMIN", "queue:mail:marker", "5"], "*3\r\n$17\r\nqueue:mail:marker\r\n$1\r\n1\r\n,7\r\n"),
            (&["BRPOPLPUSH", "queue:mail:wait", "queue:mail:active", "5"], "$3\r\n0:0\r\n"),
        ] {
            talk.client(words);
            talk.server(reply);
        }
        assert!(taken(&mut talk).is_empty());
        assert!(talk.told().iter().all(|line| line.contains("reads")));
    });
}

#[test]
fn a_script_that_only_publishes_has_a_span_for_each_channel() {
    const BROADCAST: &str = "for i = 2, #ARGV do\n  redis.call('publish', ARGV[i], ARGV[1])\nend";
    let published = |talk: &mut Conversation| {
        let of = |record: SpanRecord| match record.operation {
            Operation::Publish { channel, receivers: None, body_size, .. } => {
                assert!(record.end > record.start);
                let error = record.error.map_or(String::new(), |error| format!(" {error}"));
                (record.context, format!("{} {body_size} {:?}{error}", channel.channel(), record.parent.is_some()))
            }
            other => panic!("{other:?}"),
        };
        let (contexts, lines): (Vec<_>, Vec<_>) = talk.spans().into_iter().map(of).unzip();
        assert!((1..contexts.len()).all(|at| !contexts[..at].contains(&contexts[at])), "each has its own id");
        lines
    };
    both_ways(&policy(), |mut talk| {
        talk.client(&["EVAL", BROADCAST, "0", "caused", "news", "private-7", "last"]);
        talk.client(&["EVAL", BROADCAST, "0", "{}", "news", "other"]);
        talk.client(&["EVAL", BROADCAST, "0", "{}", "news"]);
        assert!(talk.spans().is_empty());
        talk.server("$-1\r\n-NOPERM no\r\n$-1\r\n");
        let expected = [
            "news 6 true",
            "private-7 6 true",
            "last 6 true",
            "news 2 false NOPERM",
            "other 2 false NOPERM",
            "news 2 false",
        ];
        assert_eq!(published(&mut talk), expected);
        talk.client(&["MULTI"]);
        talk.client(&["EVAL", BROADCAST, "0", "{}", "news", "other"]);
        talk.client(&["EXEC"]);
        talk.server("+OK\r\n+QUEUED\r\n*1\r\n$-1\r\n");
        assert_eq!(published(&mut talk), ["news 2 false", "other 2 false"]);
    });
    for mode in [Mode::Strip, Mode::Observe] {
        both_ways(&Policy { mode, ..policy() }, |mut talk| {
            talk.client(&["EVAL", BROADCAST, "0", "{}", "news", "other"]);
            talk.server("$-1\r\n");
            assert!(talk.spans().is_empty(), "as of a publish");
        });
    }
}

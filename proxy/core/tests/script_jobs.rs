//! What a session makes of jobs that the scripts of BullMQ add and whose options get contexts (`--envelope bullmq`): what Redis gets, what
//! the spans say, and that whoever takes a job is in the trace of who has added it. The queue's name begins with `queue`, because the
//! inference of these tests knows such keys as queues.

use redistributed_core::carrier::Envelope;
use redistributed_core::policy::{Commands, Follow, Mode, OutOfBand, Trust};
use redistributed_core::resp::Values;
use redistributed_core::trace::{Operation, Propagators, Sent, SpanContext, SpanRecord};
use redistributed_core::{Policy, Side};

use crate::following::{CAUSE, Conversation, both_ways, following, span};
use crate::support::multibulk;

const SHA: &[u8] = b"808626431266f2e834f108cac6b35ce556927132";
/// The first argument of a script, as BullMQ 5 packs it, and the options of a job.
const PACKED: &[u8] = b"\x99\xabqueue:mail:\xa0\xa6length\xcbBz\"\xf8\xc6\x9e\x80\0\xc0\xc0\xc0\xc0\xc0";
const OPTIONS: &[u8] = b"\xde\0\x01\xa8attempts\0";
const STANDARD: &str = "wait paused meta id completed delayed active events marker";
const DELAYED: &str = "marker meta id delayed completed events";
const PARENT: &str = "meta id delayed waiting-children completed events";

fn policy() -> Policy {
    Policy { envelopes: vec![Envelope::BullMq], ..following(Commands::None) }
}

/// The request by which BullMQ adds a job with these options.
fn request(command: &str, names: &str, data: &str, options: &[u8]) -> Vec<u8> {
    let keys: Vec<String> = names.split(' ').map(|name| format!("queue:mail:{name}")).collect();
    let count = keys.len().to_string();
    let mut words = vec![command.as_bytes(), SHA, count.as_bytes()];
    words.extend(keys.iter().map(String::as_bytes));
    words.extend_from_slice(&[PACKED, data.as_bytes(), options]);
    multibulk(&words)
}

fn standard(data: &str, options: &[u8]) -> Vec<u8> {
    request("EVALSHA", STANDARD, data, options)
}

/// What was sent to Redis, split where the contexts are, and the contexts.
fn sent(talk: &mut Conversation) -> (Vec<u8>, Vec<SpanContext>) {
    let sent = std::mem::take(&mut talk.driver.to_server);
    let text = String::from_utf8_lossy(&sent).into_owned();
    let contexts = text.split("\"traceparent\":\"").skip(1).map(|rest| span(&rest[..55])).collect();
    (sent, contexts)
}

fn texts(context: SpanContext) -> String {
    format!("{{\"traceparent\":\"{}\"}}", String::from_utf8_lossy(&context.to_traceparent()))
}

/// The options with this context.
fn with(context: SpanContext) -> Vec<u8> {
    [&b"\xde\0\x02\xa8attempts\0\xa2tm\xd9\x49"[..], texts(context).as_bytes()].concat()
}

fn only(talk: &mut Conversation) -> (SpanRecord, Sent) {
    let [record] = <[SpanRecord; 1]>::try_from(talk.spans()).expect("one span");
    let Operation::Send(sent) = &record.operation else { panic!("{record:?}") };
    let sent = Sent::clone(sent);
    (record, sent)
}

/// The span of who takes job 17 with these texts of a context.
fn taken(talk: &mut Conversation, texts: &str) -> SpanRecord {
    let keys = "wait active prioritized events stalled limiter delayed paused meta pc marker";
    let keys: Vec<String> = keys.split(' ').map(|name| format!("queue:mail:{name}")).collect();
    let mut words = vec![&b"EVALSHA"[..], SHA, b"11"];
    words.extend(keys.iter().map(String::as_bytes));
    words.extend_from_slice(&[b"queue:mail:", b"1700000000000", b"\x80"]);
    talk.feed(Side::Client, &multibulk(&words));
    let options = format!(r#"{{"attempts":0,"tm":"{}"}}"#, texts.replace('"', "\\\""));
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let fields = ["name", "mail", "data", "{}", "opts", &options].map(bulk).concat();
    talk.server(&format!("*4\r\n*6\r\n{fields}{}:0\r\n:0\r\n", bulk("17")));
    talk.driver.to_server.clear();
    let [record] = <[SpanRecord; 1]>::try_from(std::mem::take(&mut talk.driver.deliveries)).expect("one job");
    record
}

/// Whether Redis gets a request as the client wrote it.
fn passes_as_it_is(policy: &Policy, request: &[u8]) {
    both_ways(policy, |mut talk| {
        talk.feed(Side::Client, request);
        talk.driver.end_of_stream(Side::Client);
        assert_eq!(talk.driver.to_server, request, "{}", request.escape_ascii());
    });
}

#[test]
fn who_takes_a_job_is_below_who_has_added_it_for_whatever_cause() {
    for (follow, out_of_band) in
        [(Follow::Parent, OutOfBand::On), (Follow::Parent, OutOfBand::Off), (Follow::Link, OutOfBand::On)]
    {
        for (command, names) in [("EVALSHA", STANDARD), ("eval", STANDARD), ("EVALSHA", DELAYED), ("EVALSHA", PARENT)] {
            both_ways(&Policy { follow, out_of_band, ..policy() }, |mut talk| {
                for data in [r#"{"caused":1}"#, "{}"] {
                    talk.feed(Side::Client, &request(command, names, data, OPTIONS));
                    talk.server("$2\r\n17\r\n");
                    let ((record, sent), (went, contexts)) = (only(&mut talk), self::sent(&mut talk));
                    assert_eq!(contexts, [record.context]);
                    let expected = request(command, names, data, &with(record.context));
                    assert_eq!(went, expected, "{}", went.escape_ascii());
                    let cause = record.parent.or(record.link.map(|link| link.span_id));
                    assert!(cause.is_none_or(|cause| cause == span(CAUSE).span_id));
                    // It is not told as well, and no other name of it leads to the span.
                    assert_eq!((sent.companion, sent.items, sent.repeated), (None, vec![], vec![]));
                    assert_eq!((sent.count, sent.body_size, sent.is_named_by_item), (1, data.len() as u64, false));
                    let consumer = taken(&mut talk, &texts(record.context));
                    assert_eq!((consumer.parent, consumer.link), (Some(record.context.span_id), None));
                    assert_eq!(consumer.context.trace_id, record.context.trace_id);
                }
            });
        }
    }
}

#[test]
fn a_job_that_has_a_context_keeps_it_as_the_parent() {
    both_ways(&policy(), |mut talk| {
        let request = standard("{}", &with(span(CAUSE)));
        talk.feed(Side::Client, &request);
        talk.server("$2\r\n17\r\n");
        let ((record, _), (went, _)) = (only(&mut talk), sent(&mut talk));
        assert_eq!((went, record.parent), (request, Some(span(CAUSE).span_id)));
    });
}

#[test]
fn whatever_is_in_doubt_goes_on_as_it_came() {
    let whole = standard("{}", OPTIONS);
    for options in [
        &b"\x81\xa3omc\xc3"[..],
        b"\x81\xa6repeat\x80",
        b"\x81\xa2tm\xc0",
        b"\x91\0",
        b"{}",
        b"",
        b"\x82\xa1a\0\xa1a\0",
        &[OPTIONS, b"\0"].concat(),
    ] {
        passes_as_it_is(&policy(), &standard("{}", options));
    }
    passes_as_it_is(&policy(), &request("EVALSHA", "other meta id completed event", "{}", OPTIONS));
    passes_as_it_is(&policy(), &request("EVALSHA_RO", STANDARD, "{}", OPTIONS));
    passes_as_it_is(&policy(), &request("FCALL", STANDARD, "{}", OPTIONS));
    let words: Vec<&[u8]> = Values::new(&whole).collect();
    passes_as_it_is(&policy(), &multibulk(&[&words[..], &[b"more"]].concat()));
    passes_as_it_is(&policy(), &multibulk(&words[..words.len() - 1]));
    // Redis does not look at the two bytes behind a word.
    passes_as_it_is(&policy(), &[&whole[..whole.len() - 2], b"xx"].concat());
    passes_as_it_is(&policy(), &whole[..whole.len() - 1]);
    passes_as_it_is(&Policy { inject_limit: 100, ..policy() }, &whole);
    passes_as_it_is(&Policy { inject_limit: whole.len() + 10, ..policy() }, &whole);
    let others = vec![Envelope::Celery, Envelope::Taskiq, Envelope::Sidekiq];
    passes_as_it_is(&Policy { envelopes: others, ..policy() }, &whole);
    for mode in [Mode::Strip, Mode::Observe] {
        passes_as_it_is(&Policy { mode, ..policy() }, &whole);
    }
    let b3 = Propagators { trace_context: false, baggage: false, b3: true, b3_multi: false, jaeger: false };
    passes_as_it_is(&Policy { propagators: b3, ..policy() }, &whole);
    passes_as_it_is(&Policy { enabled: false, ..policy() }, &whole);
}

#[test]
fn the_jobs_that_are_added_in_bulk_each_get_their_own_context() {
    both_ways(&policy(), |mut talk| {
        let jobs = ["1", "2", "3"].map(|data| standard(data, OPTIONS));
        let requests = [&multibulk(&["MULTI"])[..], &jobs[0], &jobs[1], &jobs[2], &multibulk(&["EXEC"])];
        talk.feed(Side::Client, &requests.concat());
        talk.server("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n$1\r\n7\r\n$1\r\n8\r\n$1\r\n9\r\n");
        let (went, contexts) = sent(&mut talk);
        let spans: Vec<_> = talk.spans().into_iter().map(|span| span.context).collect();
        assert_eq!(contexts.len(), 3);
        assert!(contexts.iter().all(|context| spans.contains(context)), "{spans:?}");
        let expected =
            ["1", "2", "3"].into_iter().zip(&contexts).map(|(data, context)| standard(data, &with(*context)));
        let jobs: Vec<Vec<u8>> = expected.collect();
        assert_eq!(went, [requests[0], &jobs.concat(), requests[4]].concat());
    });
}

#[test]
fn where_no_item_is_believed_the_ends_are_joined_by_the_id() {
    both_ways(&Policy { trust: Trust::None, ..policy() }, |mut talk| {
        talk.feed(Side::Client, &standard("{}", OPTIONS));
        talk.server("$2\r\n17\r\n");
        let ((record, sent), (_, contexts)) = (only(&mut talk), sent(&mut talk));
        assert_eq!(contexts, [record.context]);
        let [item] = sent.items[..] else { panic!("{sent:?}") };
        let consumer = taken(&mut talk, &texts(record.context));
        assert_eq!((consumer.parent, consumer.link), (None, Some(item)));
    });
}

#[test]
fn a_job_of_version_4_is_joined_by_the_id_that_a_worker_may_take_alone() {
    both_ways(&policy(), |mut talk| {
        for names in ["wait paused meta id completed events", "wait paused meta id delayed completed events"] {
            let request = request("EVALSHA", names, "{}", OPTIONS);
            talk.feed(Side::Client, &request);
            talk.server("$2\r\n17\r\n");
            let ((record, _), (went, _)) = (only(&mut talk), sent(&mut talk));
            assert_eq!(went, request, "it has no telemetry");
            talk.client(&["BRPOPLPUSH", "queue:mail:wait", "queue:mail:active", "5"]);
            talk.server("$2\r\n17\r\n");
            talk.driver.to_server.clear();
            let [consumer] = <[SpanRecord; 1]>::try_from(std::mem::take(&mut talk.driver.deliveries)).expect("one job");
            assert_eq!(consumer.link, Some(record.context));
        }
    });
}

#[test]
fn a_script_is_held_back_only_if_its_number_of_words_is_that_of_one_that_adds_a_job() {
    let whole = standard("{}", OPTIONS);
    let most = String::from_utf8_lossy(&whole[..200]).into_owned();
    for (request, is_held) in [
        (most, true),
        ("*15\r\n$7\r\nEVALSHA\r\n".to_owned(), true),
        ("*15\r\n$7\r\nEVALSHA\r\n$2000000\r\n".to_owned(), false),
        ("*15\r\n$7\r\nGEORAD".to_owned(), true),
        ("*15\r\n$7\r\nHGETALL\r\n".to_owned(), false),
        ("*16\r\n$7\r\nEVALSHA\r\n".to_owned(), false),
        ("*9\r\n$4\r\nEVAL\r\n".to_owned(), false),
    ] {
        both_ways(&policy(), |mut talk| {
            talk.feed(Side::Client, request.as_bytes());
            assert_eq!(talk.driver.to_server.is_empty(), is_held, "{}", request.escape_default());
        });
    }
}

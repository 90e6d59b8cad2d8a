//! A job that one script adds and another takes, of the same shape as those of BullMQ, has both of its ends in one trace (`--follow`).

use otlp_receiver::proto::trace::v1::span::SpanKind;

use crate::e2e::deployment::{Deployment, Sidecar};
use crate::e2e::spans::Span;
use crate::support::wire::{Value, Wire};

const ADD: &str = "local id = redis.call('INCR', KEYS[4]) .. ''
redis.call('HSET', 'bull:mail:' .. id, 'name', 'send', 'data', ARGV[2], 'opts', '{}')
redis.call('LPUSH', KEYS[1], id)
return id";
const TAKE: &str = "local id = redis.call('RPOPLPUSH', KEYS[1], KEYS[2])
if not id then return {0, 0, 0, 0} end
return {redis.call('HGETALL', ARGV[1] .. id), id, 0, 0}";
/// It ends the work on a job, and takes the next one.
const FINISH: &str = "redis.call('LREM', KEYS[2], 1, ARGV[1])
local id = redis.call('RPOPLPUSH', KEYS[1], KEYS[2])
if not id then return 0 end
return {redis.call('HGETALL', ARGV[7] .. id), id, 0, 0}";

/// Calls a script whose keys are these names behind the queue's, by its hash and, if Redis does not have it, by its text.
async fn run(service: &mut Wire, script: &str, names: &str, arguments: &[&[u8]]) -> Value {
    let Value::Bulk(hash) = service.call_words(&[b"SCRIPT", b"LOAD", script.as_bytes()]).await else {
        panic!("the script has a hash")
    };
    let keys: Vec<String> = names.split(' ').map(|name| format!("bull:mail:{name}")).collect();
    let count = keys.len().to_string();
    let mut words = vec![&b"evalsha"[..], &hash, count.as_bytes()];
    words.extend(keys.iter().map(String::as_bytes));
    words.extend_from_slice(arguments);
    service.call_words(&words).await
}

/// Adds two jobs by one sidecar, and takes them by another: one by the script that only takes, and one by that which ends the work on
/// the first.
async fn work(adds: &mut Wire, takes: &mut Wire) {
    const KEYS: &str = "wait active prioritized events stalled limiter delayed paused meta pc";
    for data in [br#"{"n":1}"#, br#"{"n":2}"#] {
        let packed = b"\x95\xaabull:mail:\xa0\xa4send\x01\xc0";
        let names = "wait paused meta id completed delayed active events marker";
        assert!(matches!(run(adds, ADD, names, &[packed, data, b"\x80"]).await, Value::Bulk(_)));
    }
    let names = format!("{KEYS} marker");
    assert!(matches!(run(takes, TAKE, &names, &[b"bull:mail:", b"1700000000000", b"\x80"]).await, Value::Array(_)));
    for (id, is_last) in [(b"1", false), (b"2", true)] {
        let names = format!("{KEYS} completed {} metrics:completed marker", char::from(id[0]));
        let reply =
            run(takes, FINISH, &names, &[id, b"1", b"returnvalue", b"1", b"completed", b"1", b"bull:mail:"]).await;
        assert_eq!(matches!(reply, Value::Array(_)), !is_last, "{reply:?}");
    }
}

async fn spans_of(deployment: &Deployment, api: Sidecar, worker: Sidecar, is_resp3: bool) -> Vec<Span> {
    let connect = async |sidecar: &Sidecar| match is_resp3 {
        true => Wire::resp3(sidecar.address).await,
        false => sidecar.connect().await,
    };
    let (mut adds, mut takes) = (connect(&api).await, connect(&worker).await);
    work(&mut adds, &mut takes).await;
    drop((adds, takes));
    deployment.spans([api, worker]).await.0
}

#[tokio::test]
async fn a_job_that_scripts_add_and_take_has_both_ends_in_one_trace() {
    for is_resp3 in [false, true] {
        let deployment = Deployment::start().await;
        let arguments = ["--follow", "parent", "--out-of-band", "off", "--key-template", "bull:*"];
        let [api, worker] = ["api", "worker"].map(|service| deployment.sidecar(service, &arguments));
        let spans = spans_of(&deployment, api, worker, is_resp3).await;
        let of = |kind| spans.iter().filter(|span| span.kind == kind).collect::<Vec<_>>();
        let (sent, taken) = (of(SpanKind::Producer), of(SpanKind::Consumer));
        assert_eq!((sent.len(), taken.len()), (2, 2), "{spans:?}");
        for job in taken {
            let added = sent.iter().find(|added| added.trace_id == job.trace_id).expect("who has added it");
            assert_eq!((added.name.as_str(), job.name.as_str()), ("send bull:*", "process bull:*"));
            assert_eq!(job.links, [(added.trace_id.clone(), added.span_id.clone())]);
            assert_eq!(added.attributes["messaging.message.body.size"], 7.into());
            assert_eq!(job.attributes["messaging.message.body.size"], 7.into());
        }
        assert!(!format!("{spans:?}").contains("bull:mail"), "no key is told");
    }
}

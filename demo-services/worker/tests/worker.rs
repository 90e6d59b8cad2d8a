//! The worker as a process, over a real Redis, with the tests in the API's place.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and its output is shown then"
)]

#[path = "../../api/tests/support/mod.rs"]
mod support;

use redis::{PubSub, TypedCommands};
use serde_json::{Value, json};
use support::{PATIENCE, Redis, Service};

const ID: &str = "00112233445566778899aabbccddeeff";

fn start(redis: &Redis, kind: &str) -> Service {
    let service = Service::start(env!("CARGO_BIN_EXE_demo-worker"), &[("REDIS_URL", &redis.url()), ("KIND", kind)]);
    service.await_log(": subscribed to reports");
    service
}

fn listen(connection: &mut redis::Connection) -> PubSub<'_> {
    let mut announcements = connection.as_pubsub();
    announcements.set_read_timeout(Some(PATIENCE)).unwrap();
    announcements.subscribe("reports.done").unwrap();
    announcements
}

fn next(announcements: &mut PubSub<'_>) -> Value {
    serde_json::from_slice(announcements.get_message().unwrap().get_payload_bytes()).unwrap()
}

#[test]
fn a_part_is_stored_with_an_expiry_and_announced() {
    let redis = Redis::start();
    let _worker = start(&redis, "table");
    let (mut ear, mut connection) = (redis.connect(), redis.connect());
    let mut announcements = listen(&mut ear);

    connection.publish("reports", json!({"id": ID, "title": "Sales"}).to_string()).unwrap();
    assert_eq!(next(&mut announcements), json!({"id": ID, "kind": "table"}));

    let part: Value = serde_json::from_str(&connection.get(format!("report:{ID}:table")).unwrap().unwrap()).unwrap();
    assert_eq!(part["content_type"], "text/csv");
    assert_eq!(part["content"].as_str().unwrap().lines().count(), 13);
    assert_eq!(connection.hget(format!("report-parts:{ID}"), "table").unwrap().as_deref(), Some("1"));
    for key in [format!("report:{ID}:table"), format!("report-parts:{ID}")] {
        assert!((1..=3600).contains(&redis::cmd("TTL").arg(key).query::<i64>(&mut connection).unwrap()));
    }
}

#[test]
fn what_is_not_a_job_is_logged_and_skipped() {
    let redis = Redis::start();
    let worker = start(&redis, "summary");
    let (mut ear, mut connection) = (redis.connect(), redis.connect());
    let mut announcements = listen(&mut ear);

    connection.publish("reports", "hello").unwrap();
    connection.publish("reports", json!({"id": "a:b", "title": "x"}).to_string()).unwrap();
    connection.publish("reports", json!({"id": ID, "title": "Sales"}).to_string()).unwrap();
    worker.await_log("skipped a message on reports: not a job");
    worker.await_log("skipped a message on reports: the id");
    assert_eq!(next(&mut announcements)["id"], ID);
}

#[test]
fn it_subscribes_again_when_redis_comes_back() {
    let mut redis = Redis::start();
    let worker = start(&redis, "table");
    redis.stop();
    worker.await_log("not subscribed to reports");
    redis.start_again();
    worker.await_log(": subscribed to reports");

    let (mut ear, mut connection) = (redis.connect(), redis.connect());
    let mut announcements = listen(&mut ear);
    connection.publish("reports", json!({"id": ID, "title": "Sales"}).to_string()).unwrap();
    assert_eq!(next(&mut announcements)["id"], ID);
}

#[test]
fn a_stop_ends_it_cleanly_with_and_without_redis() {
    let mut redis = Redis::start();
    assert!(start(&redis, "page").terminate().success());

    let mut worker = start(&redis, "page");
    redis.stop();
    worker.await_log("not subscribed to reports");
    assert!(worker.terminate().success());
}

#[test]
fn an_unknown_kind_is_named() {
    let mut worker = Service::start(env!("CARGO_BIN_EXE_demo-worker"), &[("KIND", "pdf")]);
    worker.await_log("`pdf` is none of summary, chart, table, page");
    assert_eq!(worker.await_end().code(), Some(1));
}

//! The API as a process, over a real Redis, with the tests in the workers' place.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and its output is shown then"
)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use redis::TypedCommands;
use serde_json::{Value, json};
use support::{PATIENCE, Redis, Service, until};

struct Api {
    service: Service,
    address: String,
}

struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Api {
    fn start(redis: &Redis) -> Self {
        let environment = [("REDIS_URL", redis.url()), ("LISTEN", "127.0.0.1:0".to_owned())];
        let service =
            Service::start(env!("CARGO_BIN_EXE_demo-api"), &environment.each_ref().map(|(k, v)| (*k, v.as_str())));
        let address = service.await_log("listening on ");
        Self { service, address }
    }

    fn get(&self, path: &str) -> Answer {
        self.send("GET", path, b"")
    }

    fn order(&self, body: &str) -> Answer {
        self.send("POST", "/reports", body.as_bytes())
    }

    fn send(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        answer(request(&self.address, method, path, body))
    }
}

fn request(address: &str, method: &str, path: &str, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: api\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n")
        .unwrap();
    stream.write_all(body).unwrap();
    stream
}

fn answer(mut stream: TcpStream) -> Answer {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_ascii_lowercase(),
        body: serde_json::from_str(body).unwrap_or_else(|error| panic!("not JSON: {error}: {body}")),
    }
}

#[test]
fn an_order_is_published_and_its_parts_are_answered() {
    let redis = Redis::start();
    let api = Api::start(&redis);
    api.service.await_log(": subscribed to reports.done");
    let (mut workers_connection, mut connection) = (redis.connect(), redis.connect());
    let mut worker = workers_connection.as_pubsub();
    worker.set_read_timeout(Some(PATIENCE)).unwrap();
    worker.subscribe("reports").unwrap();

    let accepted = api.order(r#"{"title": " Sales "}"#);
    assert_eq!(accepted.status, 202);
    let id = accepted.body["id"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 32);
    assert!(accepted.head.contains(&format!("\r\nlocation: /reports/{id}")), "{}", accepted.head);
    let job: Value = serde_json::from_slice(worker.get_message().unwrap().get_payload_bytes()).unwrap();
    assert_eq!(job, json!({"id": id, "title": "Sales"}));
    assert!((1..=3600).contains(&redis::cmd("TTL").arg(format!("report:{id}")).query::<i64>(&mut connection).unwrap()));

    let path = format!("/reports/{id}");
    let report = api.get(&path);
    assert_eq!(report.status, 200);
    assert_eq!(
        report.body,
        json!({"id": id, "title": "Sales", "complete": false, "expected": 1, "finished": 0, "parts": {}})
    );

    let waiting = request(&api.address, "GET", &format!("{path}?wait=30"), b"");
    connection.set(format!("report:{id}:chart"), r#"{"content": "<svg/>"}"#).unwrap();
    connection.hincr(format!("report-parts:{id}"), "chart", 1).unwrap();
    connection.publish("reports.done", json!({"id": id, "kind": "chart"}).to_string()).unwrap();
    let report = answer(waiting);
    assert_eq!(report.status, 200);
    assert_eq!(report.body["complete"], true);
    assert_eq!(report.body["parts"], json!({"chart": {"content": "<svg/>"}}));
}

#[test]
fn an_order_keeps_the_number_that_the_client_gives_it() {
    let redis = Redis::start();
    let api = Api::start(&redis);
    let mut connection = redis.connect();
    let mut worker = connection.as_pubsub();
    worker.set_read_timeout(Some(PATIENCE)).unwrap();
    worker.subscribe("reports").unwrap();

    let id = api.order(r#"{"title": "Sales", "order": " ord-48213f "}"#).body["id"].as_str().unwrap().to_owned();
    let job: Value = serde_json::from_slice(worker.get_message().unwrap().get_payload_bytes()).unwrap();
    assert_eq!(job, json!({"id": id, "title": "Sales", "order": "ord-48213f"}));
    assert_eq!(api.get(&format!("/reports/{id}")).body["order"], "ord-48213f");
}

#[test]
fn replicas_of_a_worker_complete_a_report_together() {
    let redis = Redis::start();
    let api = Api::start(&redis);
    let (mut first, mut second, mut connection) = (redis.connect(), redis.connect(), redis.connect());
    let mut replicas = [first.as_pubsub(), second.as_pubsub()];
    replicas.iter_mut().for_each(|replica| replica.subscribe("reports").unwrap());

    let id = api.order(r#"{"title": "x"}"#).body["id"].as_str().unwrap().to_owned();
    for complete in [false, true] {
        connection.set(format!("report:{id}:chart"), "{}").unwrap();
        connection.hincr(format!("report-parts:{id}"), "chart", 1).unwrap();
        let report = api.get(&format!("/reports/{id}"));
        assert_eq!((&report.body["complete"], &report.body["parts"]), (&json!(complete), &json!({"chart": {}})));
    }
}

#[test]
fn what_is_not_an_order_is_refused_with_a_reason() {
    let redis = Redis::start();
    let api = Api::start(&redis);
    let long_title = json!({"title": "x".repeat(201)}).to_string();
    for (body, reason) in [
        ("", "EOF"),
        ("{", "EOF"),
        ("[]", "expected an object with a `title`"),
        ("7", "expected an object with a `title`"),
        ("{}", "missing field `title`"),
        (r#"{"title": 7}"#, "expected a string"),
        (r#"{"title": "x", "colour": "red"}"#, "unknown field `colour`"),
        (r#"{"title": "  "}"#, "1 to 200 characters"),
        (&long_title, "1 to 200 characters"),
        (r#"{"title": "x", "order": " "}"#, "1 to 40 characters"),
        (r#"{"title": "x", "order": 7}"#, "expected a string"),
    ] {
        let answer = api.order(body);
        assert_eq!(answer.status, 400, "{body}");
        let error = answer.body["error"].as_str().unwrap();
        assert!(error.contains(reason), "{body}: {error}");
    }
    assert_eq!(api.order(&"x".repeat(16 * 1024 + 1)).status, 413);
    assert_eq!(api.get("/reports").status, 405);
}

#[test]
fn unknown_reports_are_not_found_and_odd_waits_are_refused() {
    let redis = Redis::start();
    let api = Api::start(&redis);
    redis.connect().set("report:secret", "x").unwrap();
    for path in ["/reports/0123456789abcdef0123456789abcdef", "/reports/secret", "/reports/a%20b", "/elsewhere"] {
        let answer = api.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.body["error"].is_string());
    }
    for wait in ["31", "soon", "-1"] {
        assert_eq!(api.get(&format!("/reports/0123456789abcdef0123456789abcdef?wait={wait}")).status, 400, "{wait}");
    }
}

#[test]
fn an_order_that_no_worker_hears_is_refused() {
    let redis = Redis::start();
    let api = Api::start(&redis);
    let answer = api.order(r#"{"title": "x"}"#);
    assert_eq!(answer.status, 503);
    assert!(answer.body["error"].as_str().unwrap().contains("no worker"), "{}", answer.body);
}

#[test]
fn without_redis_it_says_so_and_it_recovers_by_itself() {
    let mut redis = Redis::start();
    let api = Api::start(&redis);
    api.service.await_log(": subscribed to reports.done");
    assert_eq!(api.get("/health").status, 200);

    redis.stop();
    for answer in
        [api.get("/health"), api.order(r#"{"title": "x"}"#), api.get("/reports/0123456789abcdef0123456789abcdef")]
    {
        assert_eq!(answer.status, 503);
        assert!(answer.body["error"].as_str().unwrap().contains("Redis"), "{}", answer.body);
    }

    redis.start_again();
    until("the API reaches Redis again", || api.get("/health").status == 200);
    api.service.await_log(": subscribed to reports.done");
    let mut connection = redis.connect();
    let mut worker = connection.as_pubsub();
    worker.subscribe("reports").unwrap();
    assert_eq!(api.order(r#"{"title": "x"}"#).status, 202);
}

#[test]
fn a_stop_answers_those_who_wait_and_ends_cleanly() {
    let redis = Redis::start();
    let mut api = Api::start(&redis);
    let mut connection = redis.connect();
    let mut worker = connection.as_pubsub();
    worker.subscribe("reports").unwrap();
    let id = api.order(r#"{"title": "x"}"#).body["id"].as_str().unwrap().to_owned();

    let waiting = request(&api.address, "GET", &format!("/reports/{id}?wait=30"), b"");
    // It has been read, and waits or is about to, once it has asked Redis for the parts.
    let mut observer = redis.connect();
    until("the API looks for parts", || {
        redis::cmd("INFO").arg("commandstats").query::<String>(&mut observer).unwrap().contains("cmdstat_hgetall")
    });
    assert!(api.service.terminate().success());
    assert_eq!(answer(waiting).body["complete"], false);
}

#[test]
fn a_wrong_setting_is_named() {
    let redis = Redis::start();
    for (environment, named) in [
        ([("REDIS_URL", "mysql://x"), ("LISTEN", "127.0.0.1:0")], "REDIS_URL"),
        ([("REDIS_URL", &redis.url()), ("LISTEN", "nowhere")], "LISTEN"),
    ] {
        let mut service = Service::start(env!("CARGO_BIN_EXE_demo-api"), &environment);
        service.await_log(named);
        assert_eq!(service.await_end().code(), Some(1));
    }
}

//! What a plain service does because of a message is below the span of the message's delivery (`--follow`).

use std::time::{Duration, Instant};

use otlp_receiver::ReceivedSpan;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::e2e::deployment::{Deployment, Sidecar, Transport};
use crate::support::DEADLINE;
use crate::support::wire::Wire;

const SERVICE_NAMES: [&str; 3] = ["GET", "SET", "publish done"];

/// A worker that reads an order's price, stores a result and announces it, on another connection than that of its
/// subscription.
pub(crate) struct Worker {
    subscriber: Wire,
    commands: Wire,
}

impl Worker {
    async fn start(sidecar: &Sidecar) -> Self {
        Self::connected(sidecar.connect().await, sidecar.connect().await).await
    }

    /// A worker with these connections to its sidecar.
    pub(crate) async fn connected(mut subscriber: Wire, commands: Wire) -> Self {
        subscriber.call("SUBSCRIBE orders").await;
        Self { subscriber, commands }
    }

    pub(crate) async fn work(&mut self) {
        let payload = self.subscriber.message().await.payload;
        let id = String::from_utf8(payload).expect("the message as it was published");
        self.commands.call(&format!("GET price:{id}")).await;
        self.commands.call(&format!("SET result:{id} done")).await;
        self.commands.call(&format!("PUBLISH done result:{id}")).await;
    }
}

/// An id as services make them.
pub(crate) fn id(number: u64) -> String {
    format!("{:016x}-{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15), number.wrapping_mul(0xbf58_476d_1ce4_e5b9))
}

/// The spans of the worker that have this span as parent.
fn children<'a>(spans: &'a [ReceivedSpan], parent: &ReceivedSpan) -> Vec<&'a ReceivedSpan> {
    let is_child = |span: &&ReceivedSpan| span.service_name() == "worker" && span.parent_span_id() == parent.span_id();
    spans.iter().filter(is_child).collect()
}

/// Whether all work of some message has been received, below its delivery.
fn has_whole_work(spans: &[ReceivedSpan]) -> bool {
    let deliveries = spans.iter().filter(|span| span.span.name == "process orders");
    deliveries.into_iter().any(|delivery| children(spans, delivery).len() == SERVICE_NAMES.len())
}

#[tokio::test]
async fn the_work_of_a_plain_worker_is_below_the_delivery_that_caused_it() {
    let deployment = Deployment::start().await;
    let api = deployment.sidecar("api", &["--mode", "inject"]);
    let following = ["--mode", "inject", "--follow", "parent", "--follow-window", "1s"];
    let worker = deployment.sidecar("worker", &following);
    let mut publisher = api.connect().await;
    let mut service = Worker::start(&worker).await;
    // In its first five seconds the proxy cannot know what the service had received before.
    let began = Instant::now();
    for number in 1.. {
        publisher.call(&format!("PUBLISH orders {}", id(number))).await;
        service.work().await;
        if deployment.has_received(has_whole_work) {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "no work is below its delivery after {number} orders");
        // As many orders as people make, and not as many as a loop can.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop((publisher, service));
    let spans = deployment.spans([api, worker]).await;
    let whole = spans.of("worker").filter(|span| span.name == "process orders").find_map(|delivery| {
        let below: Vec<_> = spans.children(delivery).collect();
        (below.len() == SERVICE_NAMES.len()).then_some((delivery, below))
    });
    let (delivery, below) = whole.expect("the work that had been received");
    let mut names: Vec<&str> = below.iter().map(|span| span.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, SERVICE_NAMES);
    for span in below {
        assert!(span.text("redistributed.cause").is_some(), "{span:?}");
        // They are dated one after the other, by a wall clock that may be slewed meanwhile.
        let end = delivery.end + 1_000_000;
        assert!(delivery.start <= span.start && span.end <= end, "the delivery lasts as long as its work");
    }
    // A command that nothing is known to have caused has no span.
    assert!(spans.of("worker").all(|span| !span.parent.is_empty() || span.name == "publish done"));
}

/// An API that sends a command for each request, with the `{id}` of the request's path, and answers when Redis has.
pub(crate) async fn serve_http(listener: TcpListener, mut redis: Wire, command: &str) {
    let (mut client, _) = listener.accept().await.expect("a client");
    let mut head = Vec::new();
    loop {
        let mut piece = [0; 4096];
        match client.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(len) => head.extend_from_slice(&piece[..len]),
        }
        while let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            let request = String::from_utf8_lossy(&head[..end]).into_owned();
            head.drain(..end + 4);
            let id = request.split(['/', ' ']).find(|word| word.len() == 33).expect("an id in the path").to_owned();
            redis.call(&command.replace("{id}", &id)).await;
            client.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok").await.expect("a client");
        }
    }
}

#[tokio::test]
async fn a_request_and_all_that_follows_from_it_is_one_trace() {
    let deployment = Deployment::start().await;
    let following = ["--mode", "inject", "--follow", "parent", "--follow-window", "1s"];
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = format!("127.0.0.1:0,{}", listener.local_addr().expect("bound"));
    let api = deployment.sidecar("api", &[&following[..], &["--http", &port]].concat());
    let worker = deployment.sidecar("worker", &following);
    let serving = tokio::spawn(serve_http(listener, api.connect().await, "PUBLISH orders {id}"));
    let mut service = Worker::start(&worker).await;
    let mut client = tokio::net::TcpStream::connect(api.http()).await.expect("the sidecar");
    let began = Instant::now();
    for number in 1.. {
        client
            .write_all(format!("POST /orders/{} HTTP/1.1\r\nHost: api\r\n\r\n", id(number)).as_bytes())
            .await
            .unwrap();
        service.work().await;
        let mut answer = vec![0; 44];
        client.read_exact(&mut answer).await.expect("an answer");
        if deployment.has_received(|spans| transaction(spans).is_some()) {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "no transaction is whole after {number} requests");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop((client, service));
    serving.await.expect("no panic");
    let spans = deployment.spans([api, worker]).await;
    // What comes from outside is a root, and nothing else is.
    let roots = spans.0.iter().filter(|span| span.parent.is_empty() && span.name.starts_with("POST /orders/")).count();
    assert!(roots > 0, "{spans:?}");
}

/// A trace that begins with a request, and ends with the worker's announcement.
fn transaction(spans: &[ReceivedSpan]) -> Option<()> {
    let child = |parent: &ReceivedSpan, name: &str| {
        spans.iter().find(|span| span.parent_span_id() == parent.span_id() && span.span.name == name)
    };
    let requests = spans.iter().filter(|span| span.span.name.starts_with("POST /orders"));
    requests.into_iter().find_map(|request| {
        let publish = child(request, "publish orders")?;
        let delivery = child(publish, "process orders")?;
        SERVICE_NAMES.iter().try_for_each(|name| child(delivery, name).map(drop))
    })
}

#[tokio::test]
async fn without_following_the_work_of_a_service_has_no_cause() {
    let deployment = Deployment::start().await;
    let worker = deployment.sidecar("worker", &["--mode", "inject"]);
    let mut publisher = deployment.direct().await;
    let mut service = Worker::start(&worker).await;
    for number in 1..20 {
        publisher.call(&format!("PUBLISH orders {}", id(number))).await;
        service.work().await;
    }
    drop((publisher, service));
    let spans = deployment.spans([worker]).await;
    assert!(spans.0.iter().all(|span| span.parent.is_empty() && span.name != "SET"), "{spans:?}");
}

#[tokio::test]
async fn while_a_client_stays_connected_a_proxy_that_stops_hands_spans_over_as_before() {
    let deployment = Deployment::start().await;
    let variables = [("OTEL_BSP_SCHEDULE_DELAY", "5")];
    let arguments = ["--follow-window", "1s", "--drain-timeout", "60s"];
    let service = deployment.sidecar_with("service", &arguments, Transport::Http, &variables);
    let mut client = service.connect().await;
    client.subscribe("SUBSCRIBE orders").await;
    service.connect().await.publish("orders", b"text").await;
    assert_eq!(client.message().await.payload, b"text");
    let stopped = tokio::spawn(service.stop());
    // Its window is not over before the proxy stops, and the drain is not before this gives up.
    deployment.collector_has(2).await;
    drop(client);
    assert_eq!(stopped.await.expect("no panic").cut_off, 0);
}

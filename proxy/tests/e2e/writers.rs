//! A request that reads what a worker has written is linked to the message that the worker worked on (`--link-writers`).

use std::time::{Duration, Instant};

use otlp_receiver::ReceivedSpan;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::e2e::deployment::Deployment;
use crate::e2e::following::{Worker, id, serve_http};
use crate::support::DEADLINE;

/// Whether a command that a request has caused is linked to the delivery whose work has stored what the command reads.
fn has_linked_read(spans: &[ReceivedSpan]) -> bool {
    let is_child = |span: &ReceivedSpan, parent: &ReceivedSpan| span.parent_span_id() == parent.span_id();
    let requests = spans.iter().filter(|span| span.span.name.starts_with("GET /orders"));
    let mut reads = requests.flat_map(|request| {
        let is_read = move |span: &&ReceivedSpan| {
            span.service_name() == "api" && span.span.name == "GET" && is_child(span, request)
        };
        spans.iter().filter(is_read)
    });
    reads.any(|read| {
        read.span.links.iter().any(|link| {
            let is_linked =
                |span: &&ReceivedSpan| span.span.span_id == link.span_id && span.span.trace_id == link.trace_id;
            let Some(delivery) = spans.iter().find(is_linked) else { return false };
            assert!(link.attributes.iter().any(|attribute| attribute.key == "redistributed.link"), "{link:?}");
            assert_eq!((delivery.service_name(), delivery.span.name.as_str()), ("worker", "process orders"));
            assert_ne!(read.trace_id(), delivery.trace_id());
            spans.iter().any(|span| span.span.name == "SET" && is_child(span, delivery))
        })
    })
}

/// Both services are behind one sidecar, so that it sees who writes what is read.
#[tokio::test]
async fn a_request_is_linked_to_the_message_whose_work_it_reads() {
    let deployment = Deployment::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = format!("api=127.0.0.1:0,{}", listener.local_addr().expect("bound"));
    let routes = ["api", "worker"].map(|name| format!("{name}=127.0.0.1:0,{}", deployment.redis.url()));
    let sidecar = deployment.shared_sidecar(&[
        "--route",
        &routes[0],
        "--route",
        &routes[1],
        "--http",
        &port,
        "--mode",
        "inject",
        "--follow",
        "parent",
        "--follow-window",
        "1s",
        "--link-writers",
    ]);
    let api = sidecar.connect_to_route(0).await;
    let serving = tokio::spawn(serve_http(listener, api, "GET result:{id}"));
    let (subscriber, commands) = (sidecar.connect_to_route(1).await, sidecar.connect_to_route(1).await);
    let mut worker = Worker::connected(subscriber, commands).await;
    let mut publisher = deployment.direct().await;
    let mut client = TcpStream::connect(sidecar.http()).await.expect("the sidecar");
    let began = Instant::now();
    for number in 1.. {
        publisher.call(&format!("PUBLISH orders {}", id(number))).await;
        worker.work().await;
        let request = format!("GET /orders/{} HTTP/1.1\r\nHost: api\r\n\r\n", id(number));
        client.write_all(request.as_bytes()).await.expect("the sidecar");
        client.read_exact(&mut [0; 44]).await.expect("an answer");
        if deployment.has_received(has_linked_read) {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "no read is linked after {number} orders");
        // As many orders as people make, and not as many as a loop can.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop((client, worker));
    serving.await.expect("no panic");
    deployment.spans([sidecar]).await;
}

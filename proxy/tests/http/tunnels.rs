//! HTTP/2: interim responses, tunnels, what a service says of itself, and streams that nobody reads.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::ext::Protocol;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::spans::{Traced, attributes};
use crate::support::fake_redis::FakeRedis;
use crate::support::{connect, expect, send, within};

/// A client of HTTP/2, once it knows the settings of the other side.
async fn client(stream: TcpStream) -> SendRequest<Bytes> {
    let (sender, mut connection) = h2::client::handshake(stream).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    tokio::spawn(connection);
    // Settings come before the answer.
    within("the settings", pings.ping(h2::Ping::opaque())).await.unwrap();
    sender
}

/// A service that takes one connection, and hands each stream to `serve`.
fn serve<F, S>(service: &Arc<FakeRedis>, builder: h2::server::Builder, serve: F)
where
    F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let service = Arc::clone(service);
    tokio::spawn(async move {
        let mut connection = builder.handshake(service.accept().await).await.unwrap();
        while let Some(Ok((request, respond))) = connection.accept().await {
            tokio::spawn(serve(request, respond));
        }
    });
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("http://api.example{path}")).body(()).unwrap()
}

fn status(status: u16) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// The interim responses, and the response.
async fn heads(mut response: ResponseFuture) -> (Vec<(u16, HeaderMap)>, Response<RecvStream>) {
    let mut interim = Vec::new();
    let answered = poll_fn(|cx| {
        while let Poll::Ready(Some(head)) = response.poll_informational(cx) {
            let head = head.unwrap();
            interim.push((head.status().as_u16(), head.headers().clone()));
        }
        Pin::new(&mut response).poll(cx)
    });
    let answered = within("the response", answered).await.unwrap();
    (interim, answered)
}

/// Sends content as the windows let it, until all is sent.
async fn write(stream: &mut SendStream<Bytes>, mut content: Bytes) {
    while !content.is_empty() {
        stream.reserve_capacity(content.len());
        let room = match stream.capacity() {
            0 => poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap().unwrap(),
            room => room,
        };
        stream.send_data(content.split_to(room.min(content.len())), false).unwrap();
    }
    stream.send_data(content, true).unwrap();
}

/// Reads content to its end, and returns its length.
async fn read(body: &mut RecvStream) -> usize {
    let mut len = 0;
    while let Some(data) = within("content", body.data()).await {
        let data = data.unwrap();
        len += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    len
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_responses_are_passed_on_in_their_order_and_without_end_they_are_not() {
    let traced = Traced::start(&["--http-head-limit", "4KiB", "--http-answer", "traceresponse"], &[]).await;
    serve(&traced.service, h2::server::Builder::new(), |request, mut respond| async move {
        let many = if request.uri().path() == "/many" { 1_000 } else { 1 };
        for _ in 0..many {
            let mut hints = status(103);
            hints.headers_mut().append("link", "</a.css>".parse().unwrap());
            hints.headers_mut().append("link", "</b.css>".parse().unwrap());
            respond.send_informational(status(100)).unwrap();
            respond.send_informational(hints).unwrap();
        }
        respond.send_response(status(204), true).unwrap();
    });
    let sender = client(connect(traced.proxy.addresses[0]).await).await;
    let mut ask = within("a place", sender.ready()).await.unwrap();
    let (interim, answered) = heads(ask.send_request(get("/"), true).unwrap().0).await;
    let told: Vec<_> = interim.iter().map(|(status, headers)| (*status, headers.len())).collect();
    assert_eq!((&told[..], answered.status().as_u16()), (&[(100, 0), (103, 2)][..], 204));
    assert!(answered.headers().contains_key("traceresponse"));
    let mut ask = within("a place", ask.ready()).await.unwrap();
    let (interim, answered) = heads(ask.send_request(get("/many"), true).unwrap().0).await;
    assert_eq!(answered.status(), 204);
    assert!((10..100).contains(&interim.len()), "4 KiB of heads: {}", interim.len());
    let spans = traced.spans().await;
    let statuses: Vec<_> = spans.iter().map(|span| attributes(span)["http.response.status_code"].clone()).collect();
    assert_eq!(statuses, ["204", "204"], "the interim ones are not the answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_passes_over_http2_where_the_service_takes_it_and_is_not_offered_elsewhere() {
    let traced = Traced::start(&[], &[]).await;
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol().max_concurrent_streams(7);
    serve(&traced.service, builder, |mut request, mut respond| async move {
        let protocol = request.extensions().get::<Protocol>().map(|protocol| protocol.as_str().to_owned());
        let mut answer = status(200);
        answer.headers_mut().insert("x-protocol", protocol.as_deref().unwrap_or("none").parse().unwrap());
        let mut to_client = respond.send_response(answer, false).unwrap();
        while let Some(Ok(data)) = request.body_mut().data().await {
            request.body_mut().flow_control().release_capacity(data.len()).unwrap();
            to_client.send_data(data, false).unwrap();
        }
        to_client.send_data(Bytes::from_static(b"bye"), true).unwrap();
    });
    let mut sender = client(connect(traced.proxy.addresses[0]).await).await;
    assert!(sender.is_extended_connect_protocol_enabled());
    assert_eq!(sender.current_max_send_streams(), 7, "as many as the service takes");
    for (uri, protocol) in [("http://api.example/chat", "websocket"), ("db.example:5432", "none")] {
        let mut request = Request::builder().method(Method::CONNECT).uri(uri).body(()).unwrap();
        if protocol != "none" {
            request.extensions_mut().insert(Protocol::from(protocol));
        }
        let (response, mut to_service) = sender.send_request(request, false).unwrap();
        let (_, answered) = heads(response).await;
        assert_eq!((answered.status().as_u16(), &answered.headers()["x-protocol"]), (200, &protocol.parse().unwrap()));
        let mut from_service = answered.into_body();
        for word in ["ping", "pong"] {
            to_service.send_data(Bytes::from_static(word.as_bytes()), false).unwrap();
            assert_eq!(within("the echo", from_service.data()).await.unwrap().unwrap(), word);
        }
        to_service.send_data(Bytes::new(), true).unwrap();
        assert_eq!(within("the end", from_service.data()).await.unwrap().unwrap(), "bye");
        assert!(within("the end", from_service.data()).await.is_none());
    }
    serve(&traced.service, h2::server::Builder::new(), |_, _| async {});
    let sender = client(connect(traced.proxy.addresses[0]).await).await;
    assert!(!sender.is_extended_connect_protocol_enabled(), "that service does not take it");
    drop(sender);
    let spans = traced.spans().await;
    let told: Vec<_> =
        spans.iter().map(|span| (&*span.span.name, attributes(span).contains_key("error.type"))).collect();
    assert_eq!(told, [("CONNECT", false); 2], "they end with the answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_nobody_reads_do_not_hold_up_the_others_whatever_the_size_of_their_frames() {
    let traced = Traced::start(&["--mode", "observe"], &[]).await;
    serve(&traced.service, h2::server::Builder::new(), |request, mut respond| async move {
        let mut to_client = respond.send_response(status(200), false).unwrap();
        if request.uri().path() == "/small" {
            // More frames of a few bytes than the library takes unread.
            for _ in 0..6_000 {
                to_client.send_data(Bytes::from_static(b"0123456789"), false).unwrap();
            }
            to_client.send_data(Bytes::new(), true).unwrap();
        } else {
            write(&mut to_client, Bytes::from(vec![0; 1 << 20])).await;
        }
    });
    let stream = connect(traced.proxy.addresses[0]).await;
    let mut builder = h2::client::Builder::new();
    // What a stream cannot take is left at the proxy, and the connection itself always has room.
    builder.initial_window_size(1_000).initial_connection_window_size(1 << 24);
    let (mut sender, mut connection) = within("HTTP/2", builder.handshake::<_, Bytes>(stream)).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    tokio::spawn(connection);
    within("the settings", pings.ping(h2::Ping::opaque())).await.unwrap();
    let mut unread = Vec::new();
    for path in ["/small", "/long"].repeat(10) {
        sender = within("a place", sender.ready()).await.unwrap();
        unread.push((path, heads(sender.send_request(get(path), true).unwrap().0).await.1.into_body()));
    }
    sender = within("a place", sender.ready()).await.unwrap();
    let mut other = heads(sender.send_request(get("/small"), true).unwrap().0).await.1.into_body();
    assert_eq!(read(&mut other).await, 60_000);
    for (_, mut body) in unread.into_iter().filter(|(path, _)| *path == "/small") {
        assert_eq!(read(&mut body).await, 60_000, "it can be read later");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_travel_both_ways_with_their_reasons_and_a_service_may_answer_without_the_rest_of_a_request() {
    let traced = Traced::start(&["--mode", "observe"], &[]).await;
    let (told, mut reasons) = tokio::sync::mpsc::channel(1);
    serve(&traced.service, h2::server::Builder::new(), move |request, mut respond| {
        let told = told.clone();
        async move {
            match request.uri().path() {
                "/refused" => respond.send_reset(Reason::ENHANCE_YOUR_CALM),
                "/enough" => {
                    // With what it has not read of the request, it is reset for NO_ERROR.
                    let mut to_client = respond.send_response(status(413), false).unwrap();
                    to_client.send_data(Bytes::from_static(b"enough"), true).unwrap();
                }
                _ => {
                    told.send(None).await.unwrap();
                    let reason = poll_fn(|cx| respond.poll_reset(cx)).await.unwrap();
                    told.send(Some(reason)).await.unwrap();
                }
            }
        }
    });
    let mut sender = client(connect(traced.proxy.addresses[0]).await).await;
    let (response, _) = sender.send_request(get("/refused"), true).unwrap();
    assert_eq!(within("the reset", response).await.unwrap_err().reason(), Some(Reason::ENHANCE_YOUR_CALM));
    let (response, _to_service) = sender.send_request(get("/enough"), false).unwrap();
    let (_, answered) = heads(response).await;
    assert_eq!((answered.status().as_u16(), read(&mut answered.into_body()).await), (413, 6));
    let (_response, mut to_service) = sender.send_request(get("/waits"), false).unwrap();
    // A request that is reset before it has been sent never is.
    assert_eq!(within("the request", reasons.recv()).await, Some(None));
    to_service.send_reset(Reason::INADEQUATE_SECURITY);
    assert_eq!(within("the reset", reasons.recv()).await, Some(Some(Reason::INADEQUATE_SECURITY)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_speak_http2_is_gone_for_a_client_that_does() {
    let traced = Traced::start(&[], &[]).await;
    let mut stream = connect(traced.proxy.addresses[0]).await;
    send(&mut stream, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    let mut service = traced.service.accept().await;
    expect(&mut service, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    send(&mut service, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    // The proxy leaves both. It may have unread bytes of either.
    for end in [&mut stream, &mut service] {
        let _ = within("the end", end.read_to_end(&mut Vec::new())).await;
    }
}

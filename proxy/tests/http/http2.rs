//! HTTP/2: headers, content, trailers and resets are passed on, stream by stream.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use otlp_receiver::proto::trace::v1::span::SpanKind;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::spans::{Traced, attributes};
use super::{address, connect_tls, start_tls};
use crate::support::authority::Authority;
use crate::support::fake_redis::FakeRedis;
use crate::support::{connect, expect, read_to_end, send, within};

type Failure = Box<dyn Error + Send + Sync>;
type Body = BoxBody<Bytes, Failure>;

/// Says that the client has the first piece of an answer that will not be complete.
static HALF_ARRIVED: Notify = Notify::const_new();

/// A service: what it does with a request follows from the path.
async fn serve(request: Request<Incoming>) -> Result<Response<Body>, Failure> {
    let (parts, body) = request.into_parts();
    let headers: Vec<String> =
        parts.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    let respond = |body: Body| {
        let mut response = Response::new(body);
        let seen =
            headers.iter().filter(|line| !line.starts_with("traceparent")).cloned().collect::<Vec<_>>().join("|");
        response.headers_mut().insert("x-seen", HeaderValue::from_str(&seen).unwrap());
        let context = parts.headers.get("traceparent").cloned().unwrap_or(HeaderValue::from_static(""));
        response.headers_mut().insert("x-context", context);
        response
    };
    match parts.uri.path() {
        // Content and trailers go back as they came.
        "/echo/7" => Ok(respond(body.map_err(Failure::from).boxed())),
        "/empty" => Ok(respond(Empty::new().map_err(|never| match never {}).boxed())),
        "/refused" => Err("no".into()),
        "/half" => {
            // Without it, the request may be on its way still when the stream is reset.
            body.collect().await?;
            let (frames, body) = mpsc::channel(2);
            tokio::spawn(async move {
                frames.send(Ok(Frame::data(Bytes::from_static(b"half")))).await.unwrap();
                // What is still on its way would be lost with a reset.
                HALF_ARRIVED.notified().await;
                frames.send(Err(Failure::from("broken off"))).await.unwrap();
            });
            Ok(respond(StreamBody::new(ReceiverStream::new(body)).boxed()))
        }
        // The first piece, and then silence.
        _ => {
            body.collect().await?;
            let first = tokio_stream::once(Ok(Frame::data(Bytes::from_static(b"first"))));
            Ok(respond(StreamBody::new(first.chain(tokio_stream::pending())).boxed()))
        }
    }
}

/// Serves every connection that the proxy makes, and counts them.
fn serve_all(service: Arc<FakeRedis>) -> Arc<AtomicUsize> {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let stream = service.accept().await;
            counted.fetch_add(1, Ordering::Relaxed);
            let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            builder.auto_date_header(false);
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service_fn(serve)));
        }
    });
    connections
}

/// A client that speaks HTTP/2 on a connection.
async fn client(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> SendRequest<Body> {
    let io = TokioIo::new(stream);
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn request(path: &str, body: Body) -> Request<Body> {
    Request::post(format!("http://api.example{path}"))
        .header("b", "2")
        .header("a", "1")
        .header("b", "1")
        .body(body)
        .unwrap()
}

fn full(text: &'static str) -> Body {
    Full::from(text).map_err(|never| match never {}).boxed()
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_passed_on_with_their_trailers_and_resets() {
    let traced = Traced::start(&["--http-answer", "traceresponse"], &[]).await;
    let connections = serve_all(Arc::clone(&traced.service));
    let mut sender = client(connect(traced.proxy.addresses[0]).await).await;
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("9"))]);
    let frames = [Ok(Frame::data(Bytes::from_static(b"content"))), Ok(Frame::trailers(trailers.clone()))];
    let echo = request("/echo/7", StreamBody::new(tokio_stream::iter(frames)).boxed());
    let answered = within("the echo", sender.send_request(echo)).await.unwrap();
    assert_eq!(answered.headers()["x-seen"], "b: 2|b: 1|a: 1", "nothing but a context is added");
    assert_eq!(answered.headers()["x-context"], answered.headers()["traceresponse"]);
    let mut headers: Vec<_> = answered.headers().keys().map(|name| name.as_str().to_owned()).collect();
    headers.sort_unstable();
    assert_eq!(headers, ["traceresponse", "x-context", "x-seen"], "nothing is added but what was asked for");
    let collected = within("the echo", answered.into_body().collect()).await.unwrap();
    assert_eq!(collected.trailers(), Some(&trailers));
    assert_eq!(collected.to_bytes(), "content");

    let empty = within("an empty answer", sender.send_request(request("/empty", full("")))).await.unwrap();
    assert_eq!(within("nothing", empty.into_body().collect()).await.unwrap().to_bytes(), "");
    assert!(within("a refusal", sender.send_request(request("/refused", full("")))).await.is_err());
    let mut half = within("a half", sender.send_request(request("/half", full("x")))).await.unwrap();
    assert_eq!(within("a half", half.frame()).await.unwrap().unwrap().into_data().unwrap(), "half");
    HALF_ARRIVED.notify_one();
    assert!(within("the reset", half.into_body().collect()).await.is_err());
    let mut silent = within("a piece", sender.send_request(request("/silent", full("x")))).await.unwrap();
    assert_eq!(within("a piece", silent.frame()).await.unwrap().unwrap().into_data().unwrap(), "first");
    drop(silent);
    // The streams of a connection have one to the service, and a reset costs only its stream.
    within("another", sender.send_request(request("/empty", full("")))).await.unwrap();
    assert_eq!(connections.load(Ordering::Relaxed), 1);
    drop(sender);

    let spans = traced.spans().await;
    let told: Vec<_> = spans
        .iter()
        .map(|span| {
            let attributes = attributes(span);
            assert_eq!((span.span.kind(), &*attributes["network.protocol.version"]), (SpanKind::Server, "2"));
            assert_eq!(attributes["server.address"], "api.example");
            let get = |key: &str| attributes.get(key).cloned().unwrap_or_default();
            let sizes = (get("http.request.body.size"), get("http.response.body.size"));
            (span.span.name.clone(), get("http.response.status_code"), get("error.type"), sizes)
        })
        .collect();
    let expected = [
        ("POST /echo/{id}", "200", "", ("7", "7")),
        ("POST /empty", "200", "", ("0", "0")),
        ("POST /refused", "", "connection_closed", ("0", "0")),
        ("POST /half", "200", "connection_closed", ("1", "4")),
        ("POST /silent", "200", "client_closed", ("1", "5")),
        ("POST /empty", "200", "", ("0", "0")),
    ];
    let expected = expected.map(|(name, status, error, (asked, answered))| {
        (name.to_owned(), status.to_owned(), error.to_owned(), (asked.to_owned(), answered.to_owned()))
    });
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preface_may_come_in_pieces_and_a_post_is_none() {
    let traced = Traced::start(&["--mode", "observe"], &[]).await;
    let stream = connect(traced.proxy.addresses[0]).await;
    stream.set_nodelay(true).unwrap();
    let mut service = traced.service.accept().await;
    let mut stream = stream;
    for piece in [&b"P"[..], b"R", b"I * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"] {
        send(&mut stream, piece).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // A connection of the proxy's own begins with the same, and settings of its own.
    expect(&mut service, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let mut post = connect(traced.proxy.addresses[0]).await;
    let mut service = traced.service.accept().await;
    for piece in [&b"P"[..], b"OST / HTTP/1.1\r\n\r\n"] {
        send(&mut post, piece).await;
    }
    expect(&mut service, b"POST / HTTP/1.1\r\n\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_may_send_its_settings_before_the_client_has_said_anything() {
    let traced = Traced::start(&["--http-answer", "traceresponse"], &[]).await;
    // It sends them as soon as it has accepted.
    serve_all(Arc::clone(&traced.service));
    let stream = connect(traced.proxy.addresses[0]).await;
    let passed = timeout(Duration::from_millis(300), stream.peek(&mut [0; 1])).await;
    assert!(passed.is_err(), "they are meant for the proxy: {passed:?}");
    let mut sender = client(stream).await;
    let answered = within("an answer", sender.send_request(request("/empty", full("")))).await.unwrap();
    assert_eq!(answered.headers()["x-context"], answered.headers()["traceresponse"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_leaves_before_the_client_has_said_anything_is_gone_for_the_client() {
    let traced = Traced::start(&[], &[]).await;
    let mut stream = connect(traced.proxy.addresses[0]).await;
    let settings = b"\0\0\0\x04\0\0\0\0\0";
    let mut service = traced.service.accept().await;
    send(&mut service, settings).await;
    drop(service);
    assert_eq!(read_to_end(&mut stream).await, settings);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_clients_may_choose_http2_where_the_service_speaks_it() {
    let (authority, service) = (Authority::new(), Arc::new(FakeRedis::start().await));
    serve_all(Arc::clone(&service));
    let both = ["h2", "http/1.1"];
    let proxy = start_tls(&authority, &format!("h2://{}", address(&service)), &[]).await;
    let stream = connect_tls(proxy.http[0], &authority, &both).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut sender = client(stream).await;
    let answered = within("the echo", sender.send_request(request("/echo/7", full("content")))).await.unwrap();
    assert_ne!(answered.headers()["x-context"], "", "its streams are read");
    assert_eq!(within("the echo", answered.into_body().collect()).await.unwrap().to_bytes(), "content");

    let proxy = start_tls(&authority, &address(&service), &[]).await;
    let stream = connect_tls(proxy.http[0], &authority, &both).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]), "the service has not been said to speak it");
}

//! HTTP/2: streams between a client and the service.
//!
//! The compression of headers depends on all headers before, and flow control on both ends, so HTTP/2 cannot be passed on byte by
//! byte. The library h2 reads it here and writes it there: a stream for each stream, on one connection to the service for one of the
//! client. Headers, interim responses, content, trailers, tunnels (`CONNECT`, with a protocol or without), resets with their reasons,
//! and the pace of the one who reads are passed on.
//!
//! The service is asked first. What its SETTINGS say of the number of streams and of tunnels with a protocol (RFC 8441) is what the
//! client is told.
//!
//! | module | what it knows |
//! |---|---|
//! | `opening` | the service's first frame, which has to be its SETTINGS |
//! | `stream` | one request, and its response |
//! | `pump` | content on its way from one stream to another |
//! | `exchange` | from the request and the response of a stream to its span |

mod exchange;
mod opening;
mod pump;
mod stream;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use redistributed_core::Side;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::counted::Counted;
use super::{HttpEndpoint, PROMPT};
use crate::endpoint::report_defect;
use crate::entropy::Entropy;
use crate::net::peer::Peer;
use crate::net::stream::Stream;
use crate::relay::Spans;
use exchange::Shared;
use opening::Opening;
pub(super) use opening::{FRAME_HEADER, begins_with_settings};

/// The bytes with which a client begins that speaks HTTP/2 without having asked (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much of a request may be on its way to the proxy while the service does not take it, in bytes.
const REQUEST_WINDOW: u32 = 256 * 1024;

/// How much of a response may be on its way to the proxy while the client does not take it, in bytes. The service is near, so that
/// little is enough.
const RESPONSE_WINDOW: u32 = 64 * 1024;

/// The same of all streams of a connection together, in each direction. 32 responses that nobody reads fit in, so that they do not
/// hold up the others.
const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;

/// How much of a stream the proxy holds for one who does not take it, in bytes, besides what the windows let come.
const SEND_BUFFER: usize = 64 * 1024;

/// What the library may hold of small frames, as it counts: 256 bytes for each, less its content. It takes no more than a connection
/// gives it at a time, and has room for several times that.
const FRAME_BUDGET: usize = 4 * 1024 * 1024;

/// The most streams that a client may have at a time. A service that allows fewer is asked for no more than that.
const MAX_STREAMS: u32 = 200;

/// The time in which a service is told that its client has left.
const FAREWELL: Duration = Duration::from_secs(1);

/// A connection to the service.
type ToService = h2::client::Connection<Counted<Opening<Stream>>, Bytes>;

/// A connection to a client.
type ToClient = h2::server::Connection<Counted<Stream>, Bytes>;

/// Carries the streams of `client` to `server` until one of the two leaves, or the process stops and all streams are over.
///
/// # Errors
/// One of the two does not speak HTTP/2, or the client's connection failed.
pub(super) async fn carry(
    endpoint: &HttpEndpoint,
    mut client: Stream,
    server: Stream,
    spans: Spans,
    ids: Entropy,
) -> Result<(), h2::Error> {
    let left = client.hung_up(sleep(PROMPT), |client| client.has_left() == Some(true));
    let (sender, mut service) = tokio::select! {
        biased;
        opened = Box::pin(open(endpoint, server)) => opened?,
        () = left => return Ok(()),
        () = endpoint.stopping.cancelled() => return Ok(()),
    };
    let connection = Box::pin(welcome(endpoint, client, &sender)).await?;
    let shared = Arc::new(Shared::new(endpoint, spans, ids));
    let (served, is_connected) = serve(endpoint, connection, sender, &mut service, &shared).await;
    if is_connected {
        // Nobody asks anything any more, so that the connection ends by itself.
        let _ = timeout(FAREWELL, service).await;
    }
    served
}

/// Begins HTTP/2 with the service, until its settings are known.
async fn open(endpoint: &HttpEndpoint, server: Stream) -> Result<(SendRequest<Bytes>, ToService), h2::Error> {
    let (server, is_open) = Opening::new(server);
    let server = Counted::new(server, Side::Server, &endpoint.service.stats);
    let (sender, mut service) = h2::client::Builder::new()
        .enable_push(false)
        .initial_window_size(RESPONSE_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(FRAME_BUDGET)
        .max_header_list_size(head_limit(endpoint))
        .handshake(server)
        .await?;
    let known = poll_fn(|cx| match Pin::new(&mut service).poll(cx) {
        // What has been read is in force as soon as there is nothing more to read.
        Poll::Pending if is_open.get() => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
        Poll::Ready(ended) => Poll::Ready(ended.and(Err(h2::Reason::CONNECT_ERROR.into()))),
    });
    known.await?;
    Ok((sender, service))
}

/// Begins HTTP/2 with the client, and tells it what the service has told of itself.
async fn welcome(endpoint: &HttpEndpoint, client: Stream, sender: &SendRequest<Bytes>) -> Result<ToClient, h2::Error> {
    let streams = u32::try_from(sender.current_max_send_streams()).unwrap_or(MAX_STREAMS);
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(REQUEST_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(FRAME_BUDGET)
        .max_header_list_size(head_limit(endpoint))
        // None at all would be for the moment, and is what this client would be told for good.
        .max_concurrent_streams(streams.clamp(1, MAX_STREAMS));
    if sender.is_extended_connect_protocol_enabled() {
        builder.enable_connect_protocol();
    }
    builder.handshake(Counted::new(client, Side::Client, &endpoint.service.stats)).await
}

fn head_limit(endpoint: &HttpEndpoint) -> u32 {
    u32::try_from(endpoint.settings.head_limit).unwrap_or(u32::MAX)
}

/// Serves the client's streams until its connection is over. All of them end with it. Also returns whether the service is still there.
async fn serve(
    endpoint: &HttpEndpoint,
    mut connection: ToClient,
    sender: SendRequest<Bytes>,
    service: &mut ToService,
    shared: &Arc<Shared>,
) -> (Result<(), h2::Error>, bool) {
    let mut streams = JoinSet::new();
    let (mut is_connected, mut is_leaving) = (true, false);
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, to_client))) => {
                    streams.spawn(stream::carry(request, to_client, sender.clone(), Arc::clone(shared)));
                }
                Some(Err(error)) => return (Err(error), is_connected),
                None => return (Ok(()), is_connected),
            },
            Some(ended) = streams.join_next() => report_defect(ended),
            _ = &mut *service, if is_connected => {
                // The client learns that it is to ask elsewhere, as it would from the service.
                (is_connected, is_leaving) = (false, true);
                connection.graceful_shutdown();
            }
            () = shared.service_leaves(), if !is_leaving => {
                is_leaving = true;
                connection.graceful_shutdown();
            }
            () = endpoint.stopping.cancelled(), if !is_leaving => {
                is_leaving = true;
                connection.graceful_shutdown();
            }
        }
    }
}

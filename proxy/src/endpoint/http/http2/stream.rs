//! One request, and its response.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use redistributed_core::Side;
use redistributed_core::trace::ErrorType;

use super::exchange::{Shared, StreamExchange};
use super::pump::{Stopped, pump};

/// What a header takes besides its name and its value, in bytes, as HTTP/2 counts (RFC 9113, section 6.5.2).
const HEADER_OVERHEAD: usize = 32;

/// One of the two has left, so that the other's stream is reset for this reason.
struct Broken {
    by: Side,
    reason: Reason,
}

/// Passes on one request of a client, and what the service answers.
pub(super) async fn carry(
    request: Request<RecvStream>,
    mut to_client: SendResponse<Bytes>,
    service: SendRequest<Bytes>,
    shared: Arc<Shared>,
) {
    let (parts, from_client) = request.into_parts();
    let (exchange, parts) = StreamExchange::begin(parts, Arc::clone(&shared));
    let request = Request::from_parts(parts, ());
    let Err(broken) = forward(request, from_client, &mut to_client, service, &exchange).await else { return };
    let error = match broken.by {
        Side::Client => ErrorType::CLIENT_CLOSED,
        Side::Server => ErrorType::CONNECTION_CLOSED,
    };
    exchange.finish(Some(error));
    if broken.by == Side::Server {
        if broken.reason == Reason::REFUSED_STREAM {
            shared.refused();
        }
        to_client.send_reset(broken.reason);
    }
}

async fn forward(
    request: Request<()>,
    from_client: RecvStream,
    to_client: &mut SendResponse<Bytes>,
    service: SendRequest<Bytes>,
    exchange: &StreamExchange,
) -> Result<(), Broken> {
    let mut service = tokio::select! {
        biased;
        left = poll_fn(|cx| to_client.poll_reset(cx)) => return Err(Broken::reset(Side::Client, left)),
        ready = service.ready() => ready.map_err(|error| Broken::failed(Side::Server, &error))?,
    };
    let has_no_content = from_client.is_end_stream();
    let sent = service.send_request(request, has_no_content);
    let (response, mut to_service) = sent.map_err(|error| Broken::failed(Side::Server, &error))?;
    // A clone of it would count as one more who may ask.
    drop(service);
    let carried = tokio::try_join!(
        async {
            if has_no_content {
                exchange.ended(Side::Client);
                return Ok(());
            }
            match pump(from_client, &mut to_service, Side::Client, exchange).await {
                // A service that wants no more of the request may answer it all the same.
                Ok(()) | Err(Stopped::Sink(_)) => Ok(()),
                Err(Stopped::Source(error)) => Err(Broken::failed(Side::Client, &error)),
            }
        },
        answer(response, to_client, exchange),
    );
    match carried {
        // A client that is not done is told that nobody wants the rest, once it has been sent the answer.
        Ok(_) => Ok(()),
        Err(broken) => {
            if broken.by == Side::Client {
                to_service.send_reset(broken.reason);
            }
            Err(broken)
        }
    }
}

/// Passes on what the service answers, to the end of its content.
async fn answer(
    mut response: ResponseFuture,
    to_client: &mut SendResponse<Bytes>,
    exchange: &StreamExchange,
) -> Result<(), Broken> {
    let mut room = exchange.head_limit();
    let head = loop {
        match next_head(&mut response, to_client).await? {
            Head::Interim(interim) => {
                // Nothing makes a service wait that sends them for ever.
                room = room.saturating_sub(size(interim.headers()));
                if room > 0 {
                    to_client.send_informational(interim).map_err(|error| Broken::failed(Side::Client, &error))?;
                }
            }
            Head::Final(head) => break head,
        }
    };
    let (mut parts, from_service) = head.into_parts();
    exchange.answered(&mut parts);
    let has_no_content = from_service.is_end_stream();
    let sent = to_client.send_response(Response::from_parts(parts, ()), has_no_content);
    let mut sink = sent.map_err(|error| Broken::failed(Side::Client, &error))?;
    if has_no_content {
        exchange.ended(Side::Server);
        return Ok(());
    }
    pump(from_service, &mut sink, Side::Server, exchange).await.map_err(|stopped| match stopped {
        Stopped::Sink(reset) => Broken::reset(Side::Client, reset),
        Stopped::Source(error) => Broken::failed(Side::Server, &error),
    })
}

/// The head of an interim response, or of the response.
enum Head {
    Interim(Response<()>),
    Final(Response<RecvStream>),
}

async fn next_head(response: &mut ResponseFuture, to_client: &mut SendResponse<Bytes>) -> Result<Head, Broken> {
    poll_fn(|cx| {
        if let Poll::Ready(left) = to_client.poll_reset(cx) {
            return Poll::Ready(Err(Broken::reset(Side::Client, left)));
        }
        match response.poll_informational(cx) {
            Poll::Ready(Some(Ok(interim))) => return Poll::Ready(Ok(Head::Interim(interim))),
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Broken::failed(Side::Server, &error))),
            // The response is there, or none will come.
            Poll::Ready(None) => {}
            Poll::Pending => return Poll::Pending,
        }
        let head = Pin::new(&mut *response).poll(cx);
        head.map_ok(Head::Final).map_err(|error| Broken::failed(Side::Server, &error))
    })
    .await
}

fn size(headers: &HeaderMap) -> usize {
    let size = |(name, value): (&http::HeaderName, &http::HeaderValue)| name.as_str().len() + value.len();
    headers.iter().map(|header| size(header) + HEADER_OVERHEAD).sum::<usize>() + HEADER_OVERHEAD
}

impl Broken {
    /// `by` has reset the stream, or its connection has failed.
    fn reset(by: Side, reset: Result<Reason, h2::Error>) -> Self {
        match reset {
            Ok(reason) => Self { by, reason },
            Err(error) => Self::failed(by, &error),
        }
    }

    /// The stream to `by` has failed.
    fn failed(by: Side, error: &h2::Error) -> Self {
        let reason = match (by, error.reason()) {
            // The service has said which streams it will not look at any more. Whoever asked may ask elsewhere.
            (Side::Server, Some(Reason::NO_ERROR)) if error.is_go_away() => Reason::REFUSED_STREAM,
            // The client, not the service, has been told of its mistake.
            (Side::Client, Some(_)) if error.is_library() => Reason::CANCEL,
            (_, Some(reason)) => reason,
            (Side::Client, None) => Reason::CANCEL,
            (Side::Server, None) => Reason::INTERNAL_ERROR,
        };
        Self { by, reason }
    }
}

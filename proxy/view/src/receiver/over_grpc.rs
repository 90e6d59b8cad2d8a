//! OTLP over gRPC: the method `Export` of the trace service, which has one request and one answer.
//!
//! That little of gRPC is written here ("gRPC over HTTP2"): a message has a byte for compression and four for its length in
//! front, and the
//! outcome stands in trailers.

use std::future::ready;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use prost::Message;

use super::{MAX_REQUEST, Outcome, Receiver};
use crate::body::{self, Answer, BodyError, respond};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const GRPC: &str = "application/grpc";
const GRPC_STATUS: &str = "grpc-status";
const GRPC_MESSAGE: &str = "grpc-message";
const GRPC_ENCODING: &str = "grpc-encoding";

/// The bytes before a message.
const PREFIX: usize = 5;

/// The codes of outcomes that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Code {
    Ok = 0,
    InvalidArgument = 3,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Unavailable = 14,
}

/// The reason why a request is refused. The texts are printable ASCII without `%`, which stand for themselves.
#[derive(Debug, PartialEq, Eq)]
struct Refusal(Code, &'static str);

pub(super) async fn answer(receiver: &Receiver, request: Request<Incoming>) -> Answer {
    match take(receiver, request).await {
        Ok(outcome) => {
            let message = outcome.response().encode_to_vec();
            let mut framed = BytesMut::with_capacity(PREFIX + message.len());
            framed.put_u8(0);
            framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
            framed.put_slice(&message);
            let trailers = status(Code::Ok, "");
            respond(
                StatusCode::OK,
                GRPC,
                Full::new(framed.freeze()).with_trailers(ready(Some(Ok(trailers)))).boxed_unsync(),
            )
        }
        Err(Refusal(code, why)) => {
            let mut answer = respond(StatusCode::OK, GRPC, Empty::<Bytes>::new().boxed_unsync());
            answer.headers_mut().extend(status(code, why));
            answer
        }
    }
}

fn status(code: Code, message: &'static str) -> HeaderMap {
    let mut status = HeaderMap::from_iter(
        [(GRPC_STATUS.parse().ok(), HeaderValue::from(code as u16))]
            .into_iter()
            .filter_map(|(name, value)| Some((name?, value))),
    );
    if !message.is_empty() {
        status.insert(GRPC_MESSAGE, HeaderValue::from_static(message));
    }
    status
}

async fn take(receiver: &Receiver, request: Request<Incoming>) -> Result<Outcome, Refusal> {
    if request.uri().path() != EXPORT {
        return Err(Refusal(Code::Unimplemented, "only spans are taken here, by Export of the trace service"));
    }
    let encoding = request.headers().get(GRPC_ENCODING).cloned();
    let Some(_place) = receiver.place().await else {
        return Err(Refusal(Code::Unavailable, "other requests are being read: try again in a second"));
    };
    let body = body::read(request.into_body(), PREFIX + MAX_REQUEST).await?;
    let message = message(&body, encoding.as_ref())?;
    receiver
        .take(&message)
        .map_err(|_| Refusal(Code::InvalidArgument, "the message is no ExportTraceServiceRequest, or was cut off"))
}

/// The only message in `body`.
fn message(body: &Bytes, encoding: Option<&HeaderValue>) -> Result<Bytes, Refusal> {
    let framed = body.split_first_chunk::<PREFIX>().filter(|([_, length @ ..], message)| {
        usize::try_from(u32::from_be_bytes(*length)).is_ok_and(|length| length == message.len())
    });
    let Some(([flag, ..], message)) = framed else {
        return Err(Refusal(Code::InvalidArgument, "the body is not one message with its length in front"));
    };
    match (flag, encoding.map(HeaderValue::as_bytes)) {
        (0, _) => Ok(body.slice_ref(message)),
        (1, Some(b"gzip")) => Ok(body::gunzip(message, MAX_REQUEST)?),
        _ => Err(Refusal(Code::Unimplemented, "messages may be compressed by gzip only")),
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLong => Self(Code::ResourceExhausted, "a request may have 16 MiB"),
            BodyError::Late => Self(Code::Unavailable, "the request did not arrive in time"),
            BodyError::Compression => {
                Self(Code::InvalidArgument, "the message is not compressed by gzip, as its head says")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_one_message() {
        let of = |body: &'static [u8]| message(&Bytes::from_static(body), None).map_err(|Refusal(code, _)| code);
        assert_eq!(of(&[0, 0, 0, 0, 2, 7, 8]).as_deref(), Ok(&[7, 8][..]));
        assert_eq!(of(&[0, 0, 0, 0, 0]).as_deref(), Ok(&[][..]));
        for wrong in [&[][..], &[0, 0, 0, 0], &[0, 0, 0, 0, 3, 7, 8], &[0, 0, 0, 0, 1, 7, 0, 0, 0, 0, 0]] {
            assert_eq!(of(wrong), Err(Code::InvalidArgument), "{wrong:?}");
        }
        assert_eq!(of(&[1, 0, 0, 0, 0]), Err(Code::Unimplemented));
        let gzip = HeaderValue::from_static("gzip");
        let wrong = message(&Bytes::from_static(&[1, 0, 0, 0, 1, 7]), Some(&gzip));
        assert_eq!(wrong.unwrap_err().0, Code::InvalidArgument);
    }

    #[test]
    fn a_status_is_a_number() {
        let headers = status(Code::Unimplemented, "no");
        assert_eq!((headers[GRPC_STATUS].as_bytes(), headers[GRPC_MESSAGE].as_bytes()), (&b"12"[..], &b"no"[..]));
    }
}

//! Bodies of requests, with limits, and bodies of answers, in pieces.

use std::convert::Infallible;
use std::io::Read;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::{Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};

/// The body of an answer.
pub(crate) type AnswerBody = UnsyncBoxBody<Bytes, Infallible>;

/// The response to a request of any of the viewer's ports.
pub(crate) type Answer = Response<AnswerBody>;

/// How long a body may take to arrive after its head.
const BODY_TIME: Duration = Duration::from_secs(20);

/// The number of bytes after which a piece of an answer is handed on.
const PIECE: usize = 32 << 10;

/// The reason why a body is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    /// It is longer than its limit, as it came or once it is decompressed.
    #[error("the body is too long")]
    TooLong,
    /// It did not arrive in time, or its sender has gone.
    #[error("the body did not arrive in time")]
    Late,
    /// It is not compressed as its head says.
    #[error("the body is not compressed by gzip, as its head says")]
    Compression,
}

/// Reads a body of at most `most` bytes.
///
/// # Errors
/// It is longer, or does not arrive in time.
pub(crate) async fn read<B>(body: B, most: usize) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if body.size_hint().lower() > most as u64 {
        return Err(BodyError::TooLong);
    }
    match tokio::time::timeout(BODY_TIME, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLong),
        Ok(Err(_)) | Err(_) => Err(BodyError::Late),
    }
}

/// Decompresses a body to at most `most` bytes.
///
/// # Errors
/// [`BodyError`] if the body is longer than that when decompressed, or is not gzip.
pub(crate) fn gunzip(body: &[u8], most: usize) -> Result<Bytes, BodyError> {
    let mut plain = Vec::new();
    let read = MultiGzDecoder::new(body).take(most as u64 + 1).read_to_end(&mut plain);
    match read.map_err(|_| BodyError::Compression)? {
        read if read > most => Err(BodyError::TooLong),
        _ => Ok(plain.into()),
    }
}

/// An answer with a body that is there at once.
pub(crate) fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    respond(status, content_type, Full::new(body.into()).boxed_unsync())
}

/// An answer whose body is made while it is sent.
pub(crate) fn pieces(content_type: &'static str, pieces: impl Iterator<Item = String> + Send + 'static) -> Answer {
    respond(StatusCode::OK, content_type, Pieces(Box::new(pieces)).boxed_unsync())
}

/// An answer with this body.
pub(crate) fn respond(status: StatusCode, content_type: &'static str, body: AnswerBody) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    answer
}

/// A body that is made piece by piece, as fast as it is read.
struct Pieces(Box<dyn Iterator<Item = String> + Send>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut piece = String::new();
        while piece.len() < PIECE {
            match self.0.next() {
                Some(more) => piece.push_str(&more),
                None => break,
            }
        }
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece.into()))))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_bomb_is_cut_off_at_the_limit() {
        let bomb = gzip(&vec![0; 8 << 20]);
        assert!(bomb.len() < 16 << 10);
        assert_eq!(gunzip(&bomb, (8 << 20) - 1), Err(BodyError::TooLong));
        assert_eq!(gunzip(&bomb, 8 << 20).map(|plain| plain.len()), Ok(8 << 20));
        // Members one after the other are one text.
        let bombs = bomb.repeat(4);
        assert_eq!(gunzip(&bombs, 16 << 20), Err(BodyError::TooLong));
    }

    #[test]
    fn what_is_no_gzip_is_refused() {
        let whole = gzip(b"some text");
        for wrong in [&whole[..whole.len() - 1], b"plain", &[]] {
            assert_eq!(gunzip(wrong, 100), Err(BodyError::Compression), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn a_body_has_a_limit() {
        let body = |text: &'static str| Full::new(Bytes::from(text));
        assert_eq!(read(body("1234"), 4).await.as_deref(), Ok(&b"1234"[..]));
        assert_eq!(read(body("12345"), 4).await, Err(BodyError::TooLong));
        let unknown = pieces("text/plain", std::iter::repeat_n("a".repeat(PIECE), 3)).into_body();
        assert_eq!(read(unknown, 3 * PIECE - 1).await, Err(BodyError::TooLong));
    }
}

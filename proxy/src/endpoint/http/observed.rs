//! A body that is passed on while somebody looks at it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};
use redistributed_core::Side;
use redistributed_core::trace::ErrorType;

/// Sees the content of a request and of its response.
pub(super) trait Observer {
    /// The next bytes that `from` sends. `shown` is how many have been shown to a witness.
    fn saw(&self, from: Side, data: &[u8], shown: &mut usize);

    /// The body is complete.
    fn ended(&self, from: Side);

    /// The body will not be complete. `error` is the reason, as spans name it.
    fn failed(&self, from: Side, error: &'static str);
}

/// A body, frame by frame as it came. It does not state its length, so that hyper adds no header.
pub(super) struct Observed<O: Observer> {
    body: Incoming,
    from: Side,
    observer: Arc<O>,
    shown: usize,
    is_over: bool,
}

impl<O: Observer> Observed<O> {
    /// The body that `from` sends.
    pub(super) fn new(body: Incoming, from: Side, observer: Arc<O>) -> Self {
        Self { body, from, observer, shown: 0, is_over: false }
    }
}

impl<O: Observer> Body for Observed<O> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.observer.saw(this.from, data, &mut this.shown);
                }
            }
            Some(Err(_)) => {
                this.is_over = true;
                this.observer.failed(this.from, ErrorType::CONNECTION_CLOSED);
            }
            None => {
                this.is_over = true;
                this.observer.ended(this.from);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// A body that is complete need not be asked for its end. One that is not has nobody any more who wants it.
impl<O: Observer> Drop for Observed<O> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        if self.body.is_end_stream() {
            self.observer.ended(self.from);
        } else {
            self.observer.failed(self.from, ErrorType::CLIENT_CLOSED);
        }
    }
}

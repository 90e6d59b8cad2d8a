//! Content on its way from one stream to another.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use redistributed_core::Side;

use super::exchange::StreamExchange;

/// Why content was not passed on to its end.
pub(super) enum Stopped {
    /// The one who sends it has broken off, or its connection has failed.
    Source(h2::Error),
    /// The one who gets it has reset the stream, for this reason, or its connection has failed.
    Sink(Result<Reason, h2::Error>),
}

/// One direction of a stream.
///
/// What comes is taken while it cannot be passed on, and counts against the sender's window until it has been. So a sender waits for
/// the reader, and many small frames take no more room than one long one.
struct Pump<'a> {
    from: RecvStream,
    to: &'a mut SendStream<Bytes>,
    /// The next bytes to be sent.
    first: Bytes,
    /// What has come behind them.
    behind: BytesMut,
    /// Whether all content has come. Trailers may follow.
    is_complete: bool,
}

/// What a pump waits for, whichever of these comes first.
enum Step {
    Left(Result<Reason, h2::Error>),
    Room(Option<Result<usize, h2::Error>>),
    Came(Option<Result<Bytes, h2::Error>>),
}

/// Passes on what `side` sends, trailers included. `exchange` is told of it.
///
/// # Errors
/// [`Stopped`]: one of the two has left.
pub(super) async fn pump(
    from: RecvStream,
    to: &mut SendStream<Bytes>,
    side: Side,
    exchange: &StreamExchange,
) -> Result<(), Stopped> {
    let mut pump = Pump { from, to, first: Bytes::new(), behind: BytesMut::new(), is_complete: false };
    let mut shown = 0;
    while !(pump.is_complete && pump.first.is_empty()) {
        match poll_fn(|cx| pump.poll_step(cx)).await {
            Step::Left(reset) => return Err(Stopped::Sink(reset)),
            Step::Came(Some(Ok(data))) => {
                exchange.saw(side, &data, &mut shown);
                pump.keep(data);
                if pump.first.is_empty() && pump.from.is_end_stream() {
                    break;
                }
            }
            Step::Came(Some(Err(error))) => return Err(Stopped::Source(error)),
            Step::Came(None) => pump.is_complete = true,
            Step::Room(Some(Ok(room))) => {
                let was_last = pump.send(room)?;
                if was_last {
                    exchange.ended(side);
                    return Ok(());
                }
            }
            Step::Room(None) => return Err(Stopped::Sink(Ok(Reason::CANCEL))),
            Step::Room(Some(Err(error))) => return Err(Stopped::Sink(Err(error))),
        }
    }
    let sent = match pump.from.trailers().await.map_err(Stopped::Source)? {
        Some(trailers) => pump.to.send_trailers(trailers),
        None => pump.to.send_data(Bytes::new(), true),
    };
    exchange.ended(side);
    sent.map_err(|error| Stopped::Sink(Err(error)))
}

impl Pump<'_> {
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        if let Poll::Ready(reset) = self.to.poll_reset(cx) {
            return Poll::Ready(Step::Left(reset));
        }
        if !self.first.is_empty() {
            self.to.reserve_capacity(self.first.len() + self.behind.len());
            // Only an increase is reported.
            match self.to.capacity() {
                0 => {
                    if let Poll::Ready(room) = self.to.poll_capacity(cx) {
                        return Poll::Ready(Step::Room(room));
                    }
                }
                room => return Poll::Ready(Step::Room(Some(Ok(room)))),
            }
        }
        if self.is_complete {
            return Poll::Pending;
        }
        self.from.poll_data(cx).map(Step::Came)
    }

    fn keep(&mut self, data: Bytes) {
        if self.first.is_empty() {
            self.first = data;
        } else {
            self.behind.extend_from_slice(&data);
        }
    }

    /// Sends as much as there is room for. Returns whether that was the end of the stream.
    fn send(&mut self, room: usize) -> Result<bool, Stopped> {
        let piece = self.first.split_to(room.min(self.first.len()));
        if self.first.is_empty() {
            self.first = std::mem::take(&mut self.behind).freeze();
        }
        let is_last = self.first.is_empty() && self.from.is_end_stream();
        let len = piece.len();
        self.to.send_data(piece, is_last).map_err(|error| Stopped::Sink(Err(error)))?;
        // It fails only for more than has come.
        let _ = self.from.flow_control().release_capacity(len);
        Ok(is_last)
    }
}

//! One direction of a connection.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use redistributed_core::trace::SpanRecord;
use redistributed_core::{Output, Side};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::mediator::Mediator;
use super::scratch::Scratch;
use super::spans::take_deliveries;
use super::write::write_pieces;
use crate::error::{IoOperation, Party, RelayError};

/// The most reads in one poll, so that a connection that always has more does not keep its thread from the others.
const READS_PER_POLL: usize = 8;

/// One direction: the bytes that come from one side, on their way to the other.
pub(super) struct Flow {
    from: Side,
    phase: Phase,
    /// Bytes that the destination has not taken yet. While there are any, nothing is read. They are at most the result of one read,
    /// what the session had held back before it, and what it added.
    unsent: Vec<u8>,
    sent: usize,
    /// The spans of the messages among the unsent bytes.
    deliveries: Vec<SpanRecord>,
    /// Whether bytes have been sent since the last flush.
    unflushed: bool,
    /// Whether the destination has been waited for since it last took everything. A TLS stream takes bytes before its socket
    /// does, and is waited for when it is flushed.
    stalled: bool,
    /// Whether the source has sent bytes or the destination has taken any, since this was last asked.
    moved: bool,
    /// Whether the source has sent bytes, which have been passed on, since this was last asked.
    received: bool,
    /// Whether other connections have their turn although more may have come from the source.
    behind: bool,
}

/// The phase of a direction, which only moves downwards in this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Bytes are read and sent.
    Open,
    /// The source has sent its last byte. What is left is sent, and then the destination's direction is shut.
    Ending,
    /// The destination is gone. Bytes are read and dropped until the source ends.
    Discarding,
    /// Nothing more is read or sent.
    Over,
}

impl Flow {
    /// A direction in which nothing has been sent.
    pub(super) fn new(from: Side) -> Self {
        Self {
            from,
            phase: Phase::Open,
            unsent: Vec::new(),
            sent: 0,
            deliveries: Vec::new(),
            unflushed: false,
            stalled: false,
            moved: false,
            received: false,
            behind: false,
        }
    }

    /// Sends the destination `bytes` of the proxy's own.
    pub(super) fn say(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        self.unflushed = true;
    }

    /// Whether bytes have moved since this was last asked.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Whether the source has sent bytes since the last [`take_received`](Self::take_received).
    pub(super) fn has_received(&self) -> bool {
        self.received
    }

    /// Whether the source has sent bytes since this was last asked.
    pub(super) fn take_received(&mut self) -> bool {
        std::mem::take(&mut self.received)
    }

    /// Whether the source has sent its last byte.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ending | Phase::Over)
    }

    /// Whether the source is not read for now, or not any more.
    pub(super) fn is_waiting(&self) -> bool {
        self.stalled || self.has_ended()
    }

    /// Whether the destination has not taken all that came.
    pub(super) fn has_unsent(&self) -> bool {
        self.stalled
    }

    /// Moves as many bytes as can be moved now. Ready when the direction is over.
    ///
    /// # Errors
    /// The error of one of the streams. The caller decides how the direction goes on: [`Flow::source_ended`] if the source
    /// failed, [`Flow::discard`] or [`Flow::abandon`] if the destination did.
    pub(super) fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        mediator: &mut impl Mediator,
    ) -> Poll<Result<(), RelayError>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        for _ in 0..READS_PER_POLL {
            ready!(self.poll_send(cx, to, mediator))?;
            match self.phase {
                Phase::Open => match self.poll_receive(cx, from, to, mediator) {
                    Poll::Ready(received) => received?,
                    Poll::Pending => {
                        self.set_behind(false, mediator);
                        return Poll::Pending;
                    }
                },
                Phase::Discarding => ready!(self.poll_discard(cx, from))?,
                Phase::Ending => {
                    // A destination that cannot be told any more has gone, and the other direction will notice.
                    let _ = ready!(Pin::new(&mut *to).poll_shutdown(cx));
                    self.phase = Phase::Over;
                }
                Phase::Over => return Poll::Ready(Ok(())),
            }
        }
        self.set_behind(true, mediator);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The source will send no more: what the session holds back is the last to be sent.
    pub(super) fn source_ended(&mut self, mediator: &mut impl Mediator) {
        if self.phase == Phase::Open {
            self.phase = Phase::Ending;
            let mut out = Output::default();
            mediator.end_of_stream(self.from, &mut out);
            // Where nothing was held back there is nothing to copy.
            out.chunks(&[]).for_each(|piece| self.unsent.extend_from_slice(piece));
            mediator.spans().hand_over(&mut out.events);
        }
    }

    /// Takes note that the destination is gone. The source is read to its end all the same.
    pub(super) fn discard(&mut self, mediator: &impl Mediator) {
        self.forget_unsent(mediator);
        self.phase = match self.phase {
            Phase::Open | Phase::Discarding => Phase::Discarding,
            Phase::Ending | Phase::Over => Phase::Over,
        };
    }

    /// Takes note that the destination is gone, and with it any reason to read.
    pub(super) fn abandon(&mut self, mediator: &impl Mediator) {
        self.forget_unsent(mediator);
        self.phase = Phase::Over;
    }

    fn forget_unsent(&mut self, mediator: &impl Mediator) {
        self.unsent = Vec::new();
        self.sent = 0;
        self.unflushed = false;
        mediator.spans().undelivered(&mut self.deliveries);
    }

    /// Ready when nothing is left to be sent. Until then the source is not read; if that is Redis, mode `auto` is told.
    fn poll_send<W>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut W,
        mediator: &impl Mediator,
    ) -> Poll<Result<(), RelayError>>
    where
        W: AsyncWrite + Unpin,
    {
        let sent = self.poll_hand_over(cx, to, mediator);
        if sent.is_pending() != self.stalled {
            self.stalled = sent.is_pending();
            if self.from == Side::Server {
                mediator.stalled(self.stalled);
            }
        }
        sent
    }

    fn set_behind(&mut self, behind: bool, mediator: &impl Mediator) {
        if behind != self.behind {
            self.behind = behind;
            if self.from == Side::Server {
                mediator.behind(behind);
            }
        }
    }

    fn poll_hand_over<W>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut W,
        mediator: &impl Mediator,
    ) -> Poll<Result<(), RelayError>>
    where
        W: AsyncWrite + Unpin,
    {
        while let Some(rest) = self.unsent.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut *to).poll_write(cx, rest)) {
                Ok(0) => {
                    return Poll::Ready(Err(self.failed(IoOperation::Write, std::io::ErrorKind::WriteZero.into())));
                }
                Ok(n) => {
                    self.sent += n;
                    self.moved = true;
                }
                Err(error) => return Poll::Ready(Err(self.failed(IoOperation::Write, error))),
            }
        }
        if self.sent > 0 {
            // The memory goes too: a connection that is read in time owns none.
            self.unsent = Vec::new();
            self.sent = 0;
        }
        mediator.spans().delivered(&mut self.deliveries);
        if self.unflushed {
            ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(|error| self.failed(IoOperation::Write, error))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_receive<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        mediator: &mut impl Mediator,
    ) -> Poll<Result<(), RelayError>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        Scratch::with(|Scratch { input, out }| {
            let mut buffer = ReadBuf::new(input);
            ready!(Pin::new(from).poll_read(cx, &mut buffer)).map_err(|error| self.failed(IoOperation::Read, error))?;
            let mut input = buffer.filled();
            if input.is_empty() {
                self.source_ended(mediator);
                return Poll::Ready(Ok(()));
            }
            if self.from == Side::Client {
                input = mediator.greet(input);
            }
            self.moved = true;
            self.received = true;
            mediator.receive(self.from, input, out);
            self.unflushed = true;
            // Before the error, so that the spans are closed as undelivered.
            let written = write_pieces(to, cx, || out.chunks(input), &mut self.unsent);
            // After the bytes, which somebody waits for.
            if written.is_err() || !self.unsent.is_empty() {
                self.deliveries.extend(take_deliveries(&mut out.events));
            }
            mediator.spans().hand_over(&mut out.events);
            Poll::Ready(written.map_err(|error| self.failed(IoOperation::Write, error)))
        })
    }

    fn poll_discard<R>(&mut self, cx: &mut Context<'_>, from: &mut R) -> Poll<Result<(), RelayError>>
    where
        R: AsyncRead + Unpin,
    {
        Scratch::with(|Scratch { input, .. }| {
            let mut buffer = ReadBuf::new(input);
            // Reset or finished makes no difference to a side that is not listened to.
            let ended = ready!(Pin::new(from).poll_read(cx, &mut buffer)).is_err() || buffer.filled().is_empty();
            if ended {
                self.phase = Phase::Over;
            }
            Poll::Ready(Ok(()))
        })
    }

    fn failed(&self, operation: IoOperation, source: std::io::Error) -> RelayError {
        let reading = operation == IoOperation::Read;
        let party = if (self.from == Side::Client) == reading { Party::Client } else { Party::Server };
        RelayError { party, operation, source }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Waker;

    use redistributed_core::trace::{ErrorType, Operation as Traced, SpanContext, UnixNanos};
    use tokio::io::{AsyncReadExt, duplex, empty, repeat, sink};

    use super::super::link::Link;
    use super::*;
    use crate::entropy::Entropy;
    use crate::live_policy::LivePolicy;
    use crate::telemetry::test_sink;

    fn link() -> (Link, impl Fn() -> Option<SpanRecord>) {
        let (sink, spans) = test_sink();
        (Link::new(&LivePolicy::new(Arc::default()), Entropy::from_os().unwrap(), sink, Arc::default()), spans)
    }

    fn delivery() -> SpanRecord {
        let context =
            SpanContext::parse_traceparent(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        let operation = Traced::Deliver { channel: "ch".into(), pattern: None, sharded: false, body_size: 3 };
        SpanRecord::new(context, UnixNanos(1), operation)
    }

    /// Ten bytes and a delivery on their way to a client that has taken none of them.
    fn stalled() -> Flow {
        Flow { unsent: b"0123456789".to_vec(), deliveries: vec![delivery()], ..Flow::new(Side::Server) }
    }

    #[tokio::test]
    async fn a_delivery_ends_when_its_last_byte_has_been_taken() {
        let (mut link, spans) = link();
        let mut flow = stalled();
        let (mut to_client, mut client) = duplex(6);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(flow.poll(&mut cx, &mut empty(), &mut to_client, &mut link).is_pending());
        assert!(spans().is_none(), "four bytes are still to be sent");

        let mut got = [0; 6];
        client.read_exact(&mut got).await.unwrap();
        let before = crate::clock::wall();
        assert!(flow.poll(&mut cx, &mut empty(), &mut to_client, &mut link).is_ready());
        let span = spans().unwrap();
        // To a millisecond: the span was measured by another clock.
        assert!(span.end.0 + 1_000_000 >= before.0 && span.error.is_none());
        assert!(flow.unsent.capacity() == 0, "the buffer is kept though nothing waits in it");
    }

    /// Takes bytes as a TLS stream does, whose socket does not take them.
    struct Buffering {
        is_blocked: bool,
    }

    impl AsyncWrite for Buffering {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            if self.is_blocked { Poll::Pending } else { Poll::Ready(Ok(())) }
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_client_that_is_waited_for_in_a_flush_stalls_as_one_that_takes_no_bytes() {
        let (mut link, _spans) = link();
        let mut flow = Flow::new(Side::Server);
        let mut cx = Context::from_waker(Waker::noop());
        let mut client = Buffering { is_blocked: true };
        assert!(flow.poll(&mut cx, &mut repeat(b'x'), &mut client, &mut link).is_pending());
        assert!(flow.stalled, "nothing is read from Redis now");
        client.is_blocked = false;
        assert!(flow.poll(&mut cx, &mut repeat(b'x'), &mut client, &mut link).is_pending());
        assert!(!flow.stalled);
    }

    #[test]
    fn a_delivery_to_a_client_that_has_gone_is_an_error() {
        let (link, spans) = link();
        let mut flow = stalled();
        flow.abandon(&link);
        let span = spans().unwrap();
        assert_eq!(span.error, Some(ErrorType::named(ErrorType::CLIENT_CLOSED)));
        assert!(span.end > span.start);
        assert!(spans().is_none());
    }

    #[test]
    fn a_source_that_never_pauses_does_not_keep_the_thread() {
        let (mut link, _spans) = link();
        let mut flow = Flow::new(Side::Client);
        let mut cx = Context::from_waker(Waker::noop());
        // The source always has more and the destination always takes it; only the budget ends the poll.
        assert!(flow.poll(&mut cx, &mut repeat(b'x'), &mut sink(), &mut link).is_pending());
        assert!(flow.behind);
        let (mut silent, _source) = duplex(1);
        assert!(flow.poll(&mut cx, &mut silent, &mut sink(), &mut link).is_pending());
        assert!(!flow.behind, "everything that came has been read");
    }

    #[test]
    fn nothing_is_read_while_something_waits_to_be_sent() {
        let (mut link, _spans) = link();
        let mut flow = stalled();
        let (mut to_client, _client) = duplex(6);
        let mut cx = Context::from_waker(Waker::noop());
        let mut source = &b"more"[..];
        assert!(flow.poll(&mut cx, &mut source, &mut to_client, &mut link).is_pending());
        assert_eq!(source, b"more");
    }
}

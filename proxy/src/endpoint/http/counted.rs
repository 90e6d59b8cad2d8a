//! A connection whose bytes are counted.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use redistributed_core::Side;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::telemetry::stats::Stats;

/// How much is read before the streams of the connection have their turn, in bytes.
///
/// The library reads as long as there is something to read, and breaks a connection off of which it holds too many small frames. Nobody
/// takes them from it meanwhile.
const READ_AT_ONCE: usize = 32 * 1024;

/// The connection to `side`. HTTP/2 is read and written by a library, so that what passes is counted at the connection itself.
pub(super) struct Counted<S> {
    stream: S,
    side: Side,
    stats: Arc<Stats>,
    /// The bytes that have been read since others had their turn.
    read: usize,
}

impl<S> Counted<S> {
    /// A connection of which nothing has been counted.
    pub(super) fn new(stream: S, side: Side, stats: &Arc<Stats>) -> Self {
        Self { stream, side, stats: Arc::clone(stats), read: 0 }
    }

    fn wrote(&self, written: io::Result<usize>) -> io::Result<usize> {
        let other = if self.side == Side::Client { Side::Server } else { Side::Client };
        written.inspect(|len| self.stats.add_bytes(other, 0, *len))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.read >= READ_AT_ONCE {
            this.read = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let Poll::Ready(outcome) = Pin::new(&mut this.stream).poll_read(cx, buf) else {
            this.read = 0;
            return Poll::Pending;
        };
        let len = buf.filled().len() - before;
        this.read += len;
        this.stats.add_bytes(this.side, len, 0);
        Poll::Ready(outcome)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes));
        Poll::Ready(this.wrote(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, pieces));
        Poll::Ready(this.wrote(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

//! The service's first frame, which has to be its SETTINGS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The length of a frame's header, in bytes (RFC 9113, section 4.1).
pub(in super::super) const FRAME_HEADER: usize = 9;

/// Whether a service that speaks first speaks HTTP/2: many send their SETTINGS without waiting for the client's preface, as they may
/// (RFC 9113, section 3.4).
pub(in super::super) fn begins_with_settings(first: &[u8]) -> bool {
    // The type SETTINGS, no flags, and the stream 0, behind a length of three bytes.
    matches!(first, [_, _, _, 4, 0, 0, 0, 0, 0])
}

/// A connection to a service, which says when its first frame has been read. The library that reads it does not say so.
pub(super) struct Opening<S> {
    stream: S,
    /// The header of the first frame, as far as it has come.
    header: Vec<u8>,
    /// The bytes of the frame that have not come yet, once its header is complete.
    missing: usize,
    is_open: IsOpen,
}

/// Whether the first frame has been read.
#[derive(Clone)]
pub(super) struct IsOpen(Arc<AtomicBool>);

impl IsOpen {
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<S> Opening<S> {
    /// A connection of which nothing has been read.
    pub(super) fn new(stream: S) -> (Self, IsOpen) {
        let is_open = IsOpen(Arc::default());
        (Self { stream, header: Vec::new(), missing: 0, is_open: is_open.clone() }, is_open)
    }

    /// Takes note of bytes that have been read.
    ///
    /// # Errors
    /// They are not the beginning of HTTP/2.
    fn take(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let lacks = (FRAME_HEADER - self.header.len()).min(bytes.len());
        if lacks > 0 {
            self.header.extend_from_slice(&bytes[..lacks]);
            bytes = &bytes[lacks..];
            let [high, middle, low, ..] = self.header[..] else { return Ok(()) };
            if self.header.len() < FRAME_HEADER {
                return Ok(());
            }
            if !begins_with_settings(&self.header) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the service does not speak HTTP/2"));
            }
            self.missing = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        }
        if self.header.len() == FRAME_HEADER {
            self.missing = self.missing.saturating_sub(bytes.len());
            self.is_open.0.store(self.missing == 0, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Opening<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if this.is_open.get() {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(this.take(&buf.filled()[before..]))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opening<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, pieces)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_open_when_its_settings_are_complete_however_they_come() {
        let settings = b"\0\0\x06\x04\0\0\0\0\0\0\x08\0\0\0\x01more";
        let len = settings.len() - "more".len();
        for piece in 1..=settings.len() {
            let (mut opening, is_open) = Opening::new(());
            let mut read = 0;
            for bytes in settings.chunks(piece) {
                assert!(!is_open.get() || read >= len);
                opening.take(bytes).unwrap();
                read += bytes.len();
                assert_eq!(is_open.get(), read >= len, "{read} bytes in pieces of {piece}");
                if is_open.get() {
                    break;
                }
            }
        }
        let (mut opening, is_open) = Opening::new(());
        opening.take(b"\0\0\0\x04\0\0\0\0\0").unwrap();
        assert!(is_open.get(), "settings that set nothing");
    }

    #[test]
    fn what_is_not_http2_is_an_error() {
        let (mut opening, is_open) = Opening::new(());
        opening.take(b"HTTP/1.1").unwrap();
        assert!(opening.take(b" 400 Bad Request").is_err() && !is_open.get());
    }
}

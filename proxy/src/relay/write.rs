//! Vectored writes: a list of pieces is sent without being joined first.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

/// The most pieces in one system call. More pieces than this are joined instead, because copying 64 KiB costs less than the
/// additional system calls.
const MAX_PIECES: usize = 64;

/// Sends the pieces in order, and appends to `rest` what `to` does not take now.
///
/// # Errors
/// The error of `to`. It is not known which bytes had been sent by then.
pub(super) fn write_pieces<'a, W, I>(
    to: &mut W,
    cx: &mut Context<'_>,
    pieces: impl Fn() -> I,
    rest: &mut Vec<u8>,
) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
    I: Iterator<Item = &'a [u8]>,
{
    let mut storage = [IoSlice::new(&[]); MAX_PIECES];
    let mut count = 0;
    for piece in pieces().filter(|piece| !piece.is_empty()) {
        let Some(slot) = storage.get_mut(count) else {
            rest.reserve_exact(pieces().map(<[u8]>::len).sum());
            pieces().for_each(|piece| rest.extend_from_slice(piece));
            return Ok(());
        };
        *slot = IoSlice::new(piece);
        count += 1;
    }
    let mut unsent = &mut storage[..count];
    while !unsent.is_empty() {
        let attempt = match &*unsent {
            [only] => Pin::new(&mut *to).poll_write(cx, only),
            several => Pin::new(&mut *to).poll_write_vectored(cx, several),
        };
        match attempt {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(sent)) => IoSlice::advance_slices(&mut unsent, sent),
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => {
                rest.reserve_exact(unsent.iter().map(|piece| piece.len()).sum());
                unsent.iter().for_each(|piece| rest.extend_from_slice(piece));
                return Ok(());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes `room` bytes, `at_once` of them in one call at most.
    #[derive(Default)]
    struct Slow {
        room: usize,
        at_once: usize,
        taken: Vec<u8>,
        calls: usize,
    }

    impl AsyncWrite for Slow {
        fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let n = bytes.len().min(self.at_once).min(self.room);
            self.calls += 1;
            if n == 0 {
                return Poll::Pending;
            }
            self.room -= n;
            self.taken.extend_from_slice(&bytes[..n]);
            Poll::Ready(Ok(n))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let joined: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
            self.poll_write(cx, &joined)
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn what_is_not_taken_is_kept_in_order_wherever_it_stops() {
        let pieces: Vec<Vec<u8>> = (0..10u8).map(|i| vec![i; usize::from(i)]).collect();
        let whole = pieces.concat();
        for at_once in [1, 2, 7, 100] {
            for room in 0..=whole.len() {
                let (mut to, mut rest) = (Slow { room, at_once, ..Slow::default() }, Vec::new());
                let mut cx = Context::from_waker(Waker::noop());
                write_pieces(&mut to, &mut cx, || pieces.iter().map(Vec::as_slice), &mut rest).unwrap();
                assert_eq!(to.taken.len(), room);
                assert_eq!([to.taken, rest].concat(), whole, "{at_once} at once, {room} in all");
            }
        }
    }

    #[test]
    fn pieces_are_not_joined_unless_there_are_too_many() {
        let mut cx = Context::from_waker(Waker::noop());
        let unlimited = || Slow { room: usize::MAX, at_once: usize::MAX, ..Slow::default() };
        let pieces = vec![b"ab"; MAX_PIECES + 1];

        let (mut to, mut rest) = (unlimited(), Vec::new());
        write_pieces(&mut to, &mut cx, || pieces[1..].iter().map(|piece| &piece[..]), &mut rest).unwrap();
        assert_eq!((to.calls, to.taken.len(), rest.len()), (1, 2 * MAX_PIECES, 0));

        let (mut to, mut rest) = (unlimited(), Vec::new());
        write_pieces(&mut to, &mut cx, || pieces.iter().map(|piece| &piece[..]), &mut rest).unwrap();
        assert_eq!((to.calls, rest), (0, b"ab".repeat(MAX_PIECES + 1)));
    }
}

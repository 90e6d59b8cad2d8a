//! Sending a list of pieces without joining them first.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

/// Most pieces in one system call. A read that became more pieces than this is joined instead, because copying 64 KiB
/// costs less than the system calls would.
const MAX_PIECES: usize = 64;

/// Sends what `pieces` gives, in order, and appends to `rest` what `to` does not take now.
///
/// # Errors
/// What `to` says. Which bytes had been sent by then is not known.
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

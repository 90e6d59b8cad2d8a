//! A connection by TCP, by TLS on TCP, or by a Unix socket, as one type.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::RecvFlags;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::sleep;
use tokio_rustls::TlsStream;

use crate::settings::TcpTimeouts;

/// A connection to a client or to Redis.
#[derive(Debug)]
pub enum Stream {
    /// A connection by TCP.
    Tcp(TcpStream),
    /// A connection by TLS on TCP, after its handshake.
    Tls(Box<TlsStream<TcpStream>>),
    /// A connection by a Unix socket.
    Unix(UnixStream),
}

impl Stream {
    /// The address of the other side; `None` on a Unix socket.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.tcp()?.peer_addr().ok()
    }

    /// Waits for the first bytes that are unread, and copies as many as `buffer` has room for. Nothing is read.
    ///
    /// # Errors
    /// The connection has failed.
    pub async fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.peek(buffer).await,
            Self::Tls(stream) => {
                let unread = stream.fill_buf().await?;
                let len = unread.len().min(buffer.len());
                buffer[..len].copy_from_slice(&unread[..len]);
                Ok(len)
            }
            Self::Unix(socket) => {
                let fd = socket.as_fd();
                let peek = || Ok(rustix::net::recv(fd, &mut *buffer, RecvFlags::PEEK)?.0);
                socket.async_io(Interest::READABLE, peek).await
            }
        }
    }

    /// Completes when the other side has left: it has reset the connection, or it has closed it, or shut its side of it, and no
    /// byte of it is unread. If there are unread bytes, its end counts from the moment at which `patience` completes: a client
    /// that asks something and shuts its side at once may still wait for the answer. `has_left` is asked then for an end that has
    /// not come yet, because there is no room for more bytes. Nothing is read.
    pub async fn hung_up(&mut self, patience: impl Future<Output = ()>, has_left: impl Fn(&Self) -> bool) {
        if !matches!(self.peek(&mut [0; 1]).await, Ok(1..)) {
            return;
        }
        let shut = async {
            patience.await;
            // With bytes to read, the socket is ready at once, whether more will follow or not.
            while !self.ready(Interest::READABLE).await.is_ok_and(|ready| ready.is_read_closed()) && !has_left(self) {
                sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            () = shut => {}
            // Ready or not to be watched, the connection is over.
            _ = self.ready(Interest::ERROR) => {}
        }
    }

    async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Self::Tcp(socket) => socket.ready(interest).await,
            Self::Tls(stream) => stream.get_ref().0.ready(interest).await,
            // A reset is reported as an end, too.
            Self::Unix(_) if interest == Interest::ERROR => std::future::pending().await,
            Self::Unix(socket) => socket.ready(interest).await,
        }
    }
}

/// The time between two looks at a client that has sent something and waits for Redis to be reached.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Tls(stream) => stream.get_ref().0.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

/// Sets the options that the sockets of both sides have: no delay for small writes, as Redis and its clients set it, and how soon
/// a path without answers is given up.
///
/// # Errors
/// The connection has already ended.
pub fn tune(stream: &TcpStream, timeouts: TcpTimeouts) -> io::Result<()> {
    const PROBES: u32 = 3;
    stream.set_nodelay(true)?;
    if let Some(idle) = timeouts.keepalive {
        let between = Duration::from_secs((idle.as_secs() / 2).max(1));
        let keepalive = TcpKeepalive::new().with_time(idle).with_interval(between).with_retries(PROBES);
        SockRef::from(stream).set_tcp_keepalive(&keepalive)?;
    }
    match timeouts.user_timeout {
        Some(limit) => set_user_timeout(stream, limit),
        None => Ok(()),
    }
}

/// Sets how long sent bytes may wait for their acknowledgement, where the system can do that.
#[cfg(target_os = "linux")]
pub(super) fn set_user_timeout(stream: &TcpStream, limit: Duration) -> io::Result<()> {
    let millis = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
    Ok(rustix::net::sockopt::set_tcp_user_timeout(stream, millis)?)
}

/// Leaves the limit to the system, which has no such option.
#[cfg(not(target_os = "linux"))]
pub(super) fn set_user_timeout(_stream: &TcpStream, _limit: Duration) -> io::Result<()> {
    Ok(())
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => match ready!(Pin::new(stream).poll_read(cx, buf)) {
                // RESP tells where a command ends, so that Redis, too, takes an end without `close_notify` for an end.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
                read => Poll::Ready(read),
            },
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{self, pending};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    /// Long enough for what is noticed at once, on a busy machine too; what is not noticed is waited for as long.
    const A_WHILE: Duration = Duration::from_millis(300);

    async fn tcp() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Stream::Tcp(listener.accept().await.unwrap().0), far)
    }

    async fn notices(stream: &mut Stream, limit: Duration) -> bool {
        timeout(limit, stream.hung_up(pending(), |_| false)).await.is_ok()
    }

    #[tokio::test]
    async fn a_peer_that_closes_without_a_word_has_hung_up() {
        let (mut stream, far) = tcp().await;
        assert!(!notices(&mut stream, A_WHILE).await);
        drop(far);
        assert!(notices(&mut stream, 60 * A_WHILE).await);

        let (near, far) = UnixStream::pair().unwrap();
        let mut stream = Stream::Unix(near);
        assert!(!notices(&mut stream, A_WHILE).await);
        drop(far);
        assert!(notices(&mut stream, 60 * A_WHILE).await);
    }

    #[tokio::test]
    async fn a_peer_that_has_asked_something_may_wait_for_the_answer_with_its_side_shut() {
        let (mut stream, mut far) = tcp().await;
        far.write_all(b"PING\r\n").await.unwrap();
        far.shutdown().await.unwrap();
        assert!(!notices(&mut stream, A_WHILE).await);
        // Until the one who asks for this has lost patience.
        timeout(60 * A_WHILE, stream.hung_up(future::ready(()), |_| false)).await.unwrap();
        let mut got = [0; 6];
        stream.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"PING\r\n", "what was sent is still there");
    }

    #[tokio::test]
    async fn a_reset_is_noticed_whatever_was_sent_before() {
        let (mut stream, mut far) = tcp().await;
        far.write_all(b"PING\r\n").await.unwrap();
        assert!(!notices(&mut stream, A_WHILE).await);
        SockRef::from(&far).set_linger(Some(Duration::ZERO)).unwrap();
        drop(far);
        assert!(notices(&mut stream, 60 * A_WHILE).await);
    }
}

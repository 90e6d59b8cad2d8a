//! A connection by TCP, by TLS on TCP, or by a Unix socket, as one type.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

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
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Tls(stream) => stream.get_ref().0.peer_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Completes when the other side has closed the connection, or shut its side of it, and no byte of it is unread. Nothing is
    /// read: while bytes wait to be read, only a reset is noticed.
    pub async fn hung_up(&mut self) {
        let socket = match self {
            Self::Tcp(socket) => {
                if has_ended(socket.peek(&mut [0; 1]).await) {
                    return;
                }
                socket
            }
            Self::Tls(stream) => {
                if has_ended(stream.fill_buf().await.map(<[u8]>::len)) {
                    return;
                }
                stream.get_ref().0
            }
            Self::Unix(socket) => {
                let peek = || SockRef::from(&*socket).peek(&mut [MaybeUninit::uninit(); 1]);
                if has_ended(socket.async_io(Interest::READABLE, peek).await) {
                    return;
                }
                return std::future::pending().await;
            }
        };
        // Ready or not to be watched, the connection is over.
        let _ = socket.ready(Interest::ERROR).await;
    }
}

fn has_ended(read: io::Result<usize>) -> bool {
    !matches!(read, Ok(1..))
}

/// Sets the options that the sockets of both sides have: no delay for small writes, as Redis and its clients set it, and
/// keep-alive probes that notice within two minutes that a silent peer's machine is gone.
///
/// # Errors
/// The connection has already ended.
pub fn tune(stream: &TcpStream) -> io::Result<()> {
    const IDLE: Duration = Duration::from_secs(60);
    const BETWEEN_PROBES: Duration = Duration::from_secs(15);
    const PROBES: u32 = 4;
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(IDLE).with_interval(BETWEEN_PROBES).with_retries(PROBES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
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
        timeout(limit, stream.hung_up()).await.is_ok()
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

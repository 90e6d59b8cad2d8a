//! The one at the other end of a connection: whether he is still there, and what has reached him.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::sock_diag::{Answer, ask};
use super::stream::{Stream, set_user_timeout};

/// What can be asked of a connection besides its bytes. Nothing here waits, reads or sends.
pub trait Peer: AsyncRead + AsyncWrite + Unpin {
    /// Whether the connection was reset, or has timed out.
    fn is_broken(&self) -> bool;

    /// Whether the other side has closed its socket, and not only shut its direction; `None` if that cannot be known. To the
    /// protocol the two look the same until something is sent.
    fn has_left(&self) -> Option<bool>;

    /// What the other side's system has not taken yet; `None` if that cannot be known.
    fn backlog(&self) -> Option<Backlog>;

    /// Sets how long sent bytes may wait for their acknowledgement, if the connection has such a limit.
    fn set_user_timeout(&self, limit: Duration);

    /// Has the system probe the connection from now on, every second. A peer that has closed its socket for good answers with a
    /// reset, sooner or later.
    fn probe(&self);

    /// Closes by a reset, when the connection is dropped. What the other side's system has not taken is lost.
    fn close_by_reset(&self);
}

/// What was sent and has not been taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backlog {
    /// Bytes that the other side's system has not acknowledged, the end of the stream included.
    pub untaken: u32,
    /// Whether they wait for room at the other side.
    pub lacks_room: bool,
    /// The time since the other side has acknowledged anything.
    pub since_acknowledgement: Duration,
}

impl Peer for Stream {
    fn is_broken(&self) -> bool {
        match self.tcp() {
            Some(socket) => signals(socket).intersects(PollFlags::ERR | PollFlags::HUP),
            None => signals(self).contains(PollFlags::ERR),
        }
    }

    fn has_left(&self) -> Option<bool> {
        let Some(socket) = self.tcp() else {
            return Some(signals(self).contains(PollFlags::HUP));
        };
        let (local, remote) = (socket.local_addr().ok()?, socket.peer_addr().ok()?);
        match ask(remote, local) {
            Answer::Socket(facts) => Some(!facts.is_open),
            // It may be another machine's, or have its packets redirected here. One of this machine that was closed is known to
            // the kernel for a minute.
            Answer::NoSocket | Answer::Unknown => None,
        }
    }

    fn backlog(&self) -> Option<Backlog> {
        let Some(socket) = self.tcp() else {
            // What was written is in the other side's buffer.
            return Some(Backlog::default());
        };
        match ask(socket.local_addr().ok()?, socket.peer_addr().ok()?) {
            Answer::Socket(facts) => Some(Backlog {
                untaken: facts.unacknowledged,
                lacks_room: facts.lacks_room,
                since_acknowledgement: facts.since_acknowledgement,
            }),
            Answer::NoSocket | Answer::Unknown => None,
        }
    }

    fn set_user_timeout(&self, limit: Duration) {
        if let Some(socket) = self.tcp() {
            let _ = set_user_timeout(socket, limit);
        }
    }

    fn probe(&self) {
        const EVERY: Duration = Duration::from_secs(1);
        if let Some(socket) = self.tcp() {
            let keepalive = TcpKeepalive::new().with_time(EVERY).with_interval(EVERY);
            // A connection that has ended needs no probes.
            let _ = SockRef::from(socket).set_tcp_keepalive(&keepalive);
        }
    }

    fn close_by_reset(&self) {
        if let Some(socket) = self.tcp() {
            let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
        }
    }
}

impl Stream {
    /// The socket, if it is one of TCP.
    pub(super) fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(socket) => Some(socket),
            Self::Tls(stream) => Some(stream.get_ref().0),
            Self::Unix(_) => None,
        }
    }
}

/// The conditions of a socket that are reported without being asked for.
fn signals(socket: &impl AsFd) -> PollFlags {
    let mut asked = [PollFd::new(socket, PollFlags::empty())];
    match poll(&mut asked, Some(&Timespec::default())) {
        Ok(1..) => asked[0].revents(),
        _ => PollFlags::empty(),
    }
}

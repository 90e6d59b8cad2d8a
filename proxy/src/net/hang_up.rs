//! Whether the other side of a connection has hung up, asked of the system without reading from the connection.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A second handle of a connection's socket. It must not outlive the connection, which it would keep open.
#[derive(Debug)]
pub struct HangUp {
    socket: OwnedFd,
}

impl HangUp {
    /// Takes a second handle of `socket`.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn of(socket: impl AsFd) -> io::Result<Self> {
        Ok(Self { socket: socket.as_fd().try_clone_to_owned()? })
    }

    /// Whether the other side has closed the connection or its sending half, or reset it. Bytes that have not been read do
    /// not hide that. Does not block.
    pub fn has_happened(&self) -> bool {
        // macOS has no RDHUP, and reports a connection whose other side has shut its half by HUP.
        #[cfg(target_os = "linux")]
        const ENDS: PollFlags = PollFlags::RDHUP;
        #[cfg(not(target_os = "linux"))]
        const ENDS: PollFlags = PollFlags::HUP;
        let mut sockets = [PollFd::new(&self.socket, ENDS)];
        // An error of poll itself says nothing of the connection.
        poll(&mut sockets, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn an_end_is_seen_behind_bytes_that_were_not_read() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let hang_up = HangUp::of(&near).unwrap();
        far.write_all(b"+OK\r\n").unwrap();
        assert!(!hang_up.has_happened());
        drop(far);
        assert!(hang_up.has_happened());
    }
}

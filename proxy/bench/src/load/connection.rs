//! A connection of the load generators: a non-blocking socket, and blocking helpers for what is not measured.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::STALLED_AFTER;
use crate::failure::Failure;

/// What one attempt to read or write came to.
pub(crate) enum Moved {
    Bytes(usize),
    Nothing,
}

pub(crate) struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Connects; the connection blocks, for as long as [`STALLED_AFTER`].
    pub(crate) fn open(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect_timeout(&address, STALLED_AFTER).map_err(Failure::io("connecting"))?;
        let set_up = || {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(STALLED_AFTER))?;
            stream.set_write_timeout(Some(STALLED_AFTER))
        };
        set_up().map_err(Failure::io("setting up a connection"))?;
        Ok(Self { stream })
    }

    /// From now on [`read`](Self::read) and [`write`](Self::write) return at once.
    pub(crate) fn stop_blocking(&self) -> Result<(), Failure> {
        self.stream.set_nonblocking(true).map_err(Failure::io("setting up a connection"))
    }

    /// Sends `request` and takes exactly `reply`, while the connection still blocks.
    pub(crate) fn exchange(&mut self, what: &'static str, request: &[u8], reply: &[u8]) -> Result<(), Failure> {
        self.stream.write_all(request).map_err(Failure::io(what))?;
        let mut got = vec![0; reply.len()];
        let mut len = 0;
        while len < got.len() && reply.starts_with(&got[..len]) {
            match self.stream.read(&mut got[len..]).map_err(Failure::io(what))? {
                0 => return Err(Failure::Closed { what }),
                n => len += n,
            }
        }
        if got == reply { Ok(()) } else { Err(Failure::wrong(what, reply, &got[..len])) }
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<Moved, Failure> {
        match self.stream.read(buffer) {
            Ok(0) => Err(Failure::Closed { what: "reading" }),
            Ok(n) => Ok(Moved::Bytes(n)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Moved::Nothing),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(Moved::Nothing),
            Err(error) => Err(Failure::io("reading")(error)),
        }
    }

    /// Sends a request that is smaller than the buffer of an idle socket, so that it goes at once.
    pub(crate) fn send(&mut self, request: &[u8]) -> Result<(), Failure> {
        match self.write(request)? {
            Moved::Bytes(n) if n == request.len() => Ok(()),
            Moved::Bytes(_) | Moved::Nothing => {
                Err(Failure::Stalled { what: "sending a command".to_owned(), waited: Duration::ZERO })
            }
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<Moved, Failure> {
        match self.stream.write(bytes) {
            Ok(n) => Ok(Moved::Bytes(n)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Moved::Nothing),
            Err(error) => Err(Failure::io("writing")(error)),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

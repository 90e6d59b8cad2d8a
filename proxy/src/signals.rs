//! The signals that the process handles: `SIGHUP` to read the settings again, `SIGINT` and `SIGTERM` to end.

use std::io;

use tokio::signal::unix::{self, SignalKind};

/// A signal that asks the process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `SIGINT`
    Interrupt,
    /// `SIGTERM`
    Terminate,
}

impl Signal {
    /// Exit code of a process that it ended: 128 and its number, as shells count.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }
}

/// `SIGHUP`, which asks to read the settings again, and from then on does not end the process.
#[derive(Debug)]
pub struct Hangups(unix::Signal);

impl Hangups {
    /// Takes over `SIGHUP`. Inside a tokio runtime.
    ///
    /// # Errors
    /// The system does not let a handler be installed.
    pub fn listen() -> io::Result<Self> {
        unix::signal(SignalKind::hangup()).map(Self)
    }

    /// The next one; several that came since the last call are one.
    pub async fn next(&mut self) {
        self.0.recv().await;
    }
}

/// The signals to end that are sent to this process from now on.
#[derive(Debug)]
pub struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    /// Takes over `SIGINT` and `SIGTERM`. Inside a tokio runtime.
    ///
    /// # Errors
    /// The system does not let a handler be installed.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}

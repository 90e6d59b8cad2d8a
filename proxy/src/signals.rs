//! The signals that the process handles: `SIGHUP` to read the settings again, `SIGINT` and `SIGTERM` to end.

use std::io;

use tokio::signal::unix::{self, SignalKind};

/// A signal that asks the process to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `SIGINT`
    Interrupt,
    /// `SIGTERM`
    Terminate,
}

impl Signal {
    /// The exit code of a process that this signal ended: 128 plus the signal's number, as shells report it.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }

    /// The signal's usual name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }
}

/// A handler for `SIGHUP`, which asks to read the settings again. The signal no longer ends the process.
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

    /// Waits for the next `SIGHUP`. Several that arrive between two calls count as one.
    pub async fn next(&mut self) {
        self.0.recv().await;
    }
}

/// A handler for the signals that ask the process to stop.
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

    /// Waits for the next of these signals.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}

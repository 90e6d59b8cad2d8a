//! The service as a child process: its start, the signals that are passed on to it, and its exit code.

use std::ffi::{OsStr, OsString};
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::task::Poll;

use rustix::process::{Pid, Signal, getpgrp, kill_process};
use rustix::termios::tcgetpgrp;
use tokio::process::Command;
use tokio::signal::unix::{self, SignalKind};

/// The exit code of shells for a program that is not there.
const NOT_FOUND: u8 = 127;

/// The exit code of shells for a program that cannot be executed.
const NOT_EXECUTABLE: u8 = 126;

/// The service cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start `{}`: {error}{}", .program.to_string_lossy(), remedy(.program, .error))]
pub struct StartError {
    program: OsString,
    error: io::Error,
}

impl StartError {
    /// The exit code, which is that of shells: 127 for a program that is not there, and 126 for one that cannot be executed.
    pub fn exit_code(&self) -> u8 {
        if self.error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE }
    }
}

fn remedy(program: &OsStr, error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied if Path::new(program).is_dir() => "; it is a directory",
        io::ErrorKind::NotFound => "; it is neither a path nor on PATH",
        io::ErrorKind::PermissionDenied => "; it is not executable",
        _ => "",
    }
}

/// A service that runs.
#[derive(Debug)]
pub(super) struct Child(tokio::process::Child);

impl Child {
    /// Starts `command` with this process's environment, in which `variables` have new values. It shares the terminal and the
    /// process group.
    ///
    /// # Errors
    /// [`StartError`], with what the system said.
    pub(super) fn start(command: &[OsString], variables: &[(String, String)]) -> Result<Self, StartError> {
        let program = command.first().cloned().unwrap_or_default();
        let variables = variables.iter().map(|(name, value)| (name, value));
        let started = Command::new(&program).args(command.iter().skip(1)).envs(variables).spawn();
        started.map(Self).map_err(|error| StartError { program, error })
    }

    /// Waits until the service has ended, and returns its exit code: 128 plus the signal's number if a signal ended it.
    pub(super) async fn ended(&mut self) -> io::Result<u8> {
        self.0.wait().await.map(exit_code)
    }

    /// Passes a signal on, unless the service has ended.
    pub(super) fn signal(&self, signal: Signal) {
        let pid = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid
            && let Err(error) = kill_process(pid, signal)
        {
            tracing::debug!(?signal, %error, "the signal has not reached the service");
        }
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;

    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// The signals that this process passes on instead of following them itself.
pub(super) struct Signals(Vec<(unix::Signal, Signal)>);

impl Signals {
    /// Takes over these signals. Inside a tokio runtime.
    ///
    /// # Errors
    /// The system does not let a handler be installed.
    pub(super) fn listen() -> io::Result<Self> {
        let kinds = [
            (SignalKind::interrupt(), Signal::INT),
            (SignalKind::terminate(), Signal::TERM),
            (SignalKind::hangup(), Signal::HUP),
            (SignalKind::quit(), Signal::QUIT),
            (SignalKind::user_defined1(), Signal::USR1),
            (SignalKind::user_defined2(), Signal::USR2),
        ];
        kinds.into_iter().map(|(kind, signal)| Ok((unix::signal(kind)?, signal))).collect::<io::Result<_>>().map(Self)
    }

    /// Waits for the next signal that the service has not got from the terminal itself.
    pub(super) async fn next(&mut self) -> Signal {
        loop {
            let signal = poll_fn(|context| {
                for (stream, signal) in &mut self.0 {
                    if stream.poll_recv(context).is_ready() {
                        return Poll::Ready(*signal);
                    }
                }
                Poll::Pending
            })
            .await;
            if !(matches!(signal, Signal::INT | Signal::QUIT) && is_in_foreground()) {
                return signal;
            }
        }
    }
}

/// Whether a terminal sends what is typed there, as Ctrl-C, to the whole process group, which the service belongs to.
fn is_in_foreground() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn exit_codes_are_those_of_shells() {
        for (raw, code) in [(0, 0), (3 << 8, 3), (255 << 8, 255), (15, 143), (9, 137)] {
            assert_eq!(exit_code(ExitStatus::from_raw(raw)), code);
        }
    }
}

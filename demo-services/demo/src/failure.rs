//! Everything that can go wrong, in the words the user reads.

use std::io;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

/// How many gaps of incomplete traces are listed.
const SHOWN: usize = 20;

/// Why the demo did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("cannot make a temporary folder: {0}")]
    Folder(io::Error),
    #[error("cannot listen on 127.0.0.1: {0}")]
    Port(io::Error),
    #[error("cannot watch for signals: {0}")]
    Signals(io::Error),
    #[error("{variable} cannot be used: {reason}")]
    Setting { variable: &'static str, reason: String },
    #[error("{} is missing: `make demo` builds it, and in an archive of the demo it stands beside `demo`", .0.display())]
    Program(PathBuf),
    #[error(
        "there is no redis-server on PATH, and the demo starts one: install Redis (apt-get install redis-server, brew install \
         redis), or name its program by --redis-server FILE"
    )]
    NoRedis,
    #[error("cannot start {name}: {cause}")]
    Start { name: String, cause: io::Error },
    #[error("{name} ended by itself ({status})")]
    Died { name: String, status: ExitStatus, log: PathBuf },
    #[error("{name}: not ready within {} s: {what}", waited.as_secs())]
    NotReady { name: String, what: &'static str, waited: Duration, log: PathBuf },
    #[error("{name} did not end cleanly: {how}")]
    UncleanEnd { name: String, how: String, log: PathBuf },
    #[error("the API did not do what was asked: {0}")]
    Api(String),
    #[error("the traces are not complete:\n{}", list(.0))]
    Incomplete(Vec<String>),
    #[error("not all spans could be sent on to {endpoint}: {reason}")]
    Relay { endpoint: String, reason: String },
    #[error("interrupted by a signal")]
    Interrupted { signal: u8 },
}

impl Failure {
    /// The log of the process that the failure is about.
    pub(crate) fn log(&self) -> Option<&PathBuf> {
        match self {
            Self::Died { log, .. } | Self::NotReady { log, .. } | Self::UncleanEnd { log, .. } => Some(log),
            _ => None,
        }
    }

    /// 2 for a wrong setting, what a shell reports for a signal, otherwise 1.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Setting { .. } => ExitCode::from(2),
            Self::Interrupted { signal } => ExitCode::from(128 + signal),
            _ => ExitCode::FAILURE,
        }
    }
}

fn list(problems: &[String]) -> String {
    let mut lines: Vec<String> = problems.iter().take(SHOWN).map(|problem| format!("  - {problem}")).collect();
    if let Some(more) = problems.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        lines.push(format!("  and {more} more"));
    }
    lines.join("\n")
}

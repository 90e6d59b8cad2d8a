//! Why a measurement could not be made, or must not be believed.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Everything ends the run: figures from a proxy that loses or changes bytes are worth nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("no temporary folder: {0}")]
    Folder(io::Error),
    #[error("no free port on 127.0.0.1: {0}")]
    Port(io::Error),
    #[error("{name} could not be started: {cause}")]
    Start { name: String, cause: io::Error },
    #[error("{name} ended by itself; the last it said:\n{said}")]
    Died { name: String, said: String },
    #[error("{name} was not ready after {waited:?}; the last it said:\n{said}")]
    NotReady { name: String, waited: Duration, said: String },
    #[error("cannot read {}: {cause}", path.display())]
    Read { path: PathBuf, cause: io::Error },
    #[error("cannot write {}: {cause}", path.display())]
    Write { path: PathBuf, cause: io::Error },
    #[error("{} does not say what it should: {what}", path.display())]
    Format { path: PathBuf, what: String },
    #[error("{what}: {cause}")]
    Io { what: &'static str, cause: io::Error },
    #[error("{what}: the connection was closed from the other side")]
    Closed { what: &'static str },
    #[error("{what}: nothing came for {waited:?}")]
    Stalled { what: String, waited: Duration },
    #[error("{what}: expected {expected:?}, got {got:?}")]
    Wrong { what: String, expected: String, got: String },
    #[error("{what} panicked")]
    Panicked { what: &'static str },
    #[error("no workload's name contains {0:?}; --list shows them")]
    NothingToDo(String),
    #[error("{0}")]
    Worse(String),
}

impl Failure {
    /// For `map_err`: what was being done when the system refused.
    pub(crate) fn io(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |cause| Self::Io { what, cause }
    }

    /// Bytes that differ, shown from the first difference on.
    pub(crate) fn wrong(what: impl Into<String>, expected: &[u8], got: &[u8]) -> Self {
        let same = expected.iter().zip(got).take_while(|(a, b)| a == b).count();
        let shown = |bytes: &[u8]| bytes.iter().skip(same).take(80).map(|&b| b.escape_ascii().to_string()).collect();
        Self::Wrong { what: what.into(), expected: shown(expected), got: shown(got) }
    }
}

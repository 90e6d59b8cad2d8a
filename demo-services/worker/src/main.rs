//! A worker of the report service. It hears of ordered reports on the Redis channel `reports`, makes its kind of part
//! for each, stores the part and announces it on `reports.done`.
//!
//! This is a plain service. It knows one Redis, by `REDIS_URL`, and nothing of who else listens to its traffic.
//!
//! Environment: `REDIS_URL` (default `redis://127.0.0.1:6379`) and `KIND` (`summary`, `chart`, `table` or `page`).
#![expect(clippy::print_stderr, reason = "a plain service logs to standard error")]

mod job;
mod kind;
mod worker;

use std::env;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::kind::{Kind, UnknownKind};
use crate::worker::Worker;

/// One thread is plenty: a worker makes one part at a time.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("worker: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), StartError> {
    let redis_url = env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let kind: Kind = env::var("KIND").unwrap_or_default().parse()?;

    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    let stop = async move {
        tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
    };

    Worker::new(&redis_url, kind).map_err(StartError::RedisUrl)?.run(stop).await;
    Ok(())
}

#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("REDIS_URL is not usable: {0}")]
    RedisUrl(redis::RedisError),
    #[error("KIND: {0}")]
    Kind(#[from] UnknownKind),
    #[error("cannot install signal handlers: {0}")]
    Signals(std::io::Error),
}

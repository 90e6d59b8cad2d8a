//! The API of the report service. A client orders a report by HTTP; the order is published on Redis; workers that
//! subscribe each make a part; the client fetches the parts here.
//!
//! This is a plain service. It knows one Redis, by `REDIS_URL`, and nothing of who else listens to its traffic.
//!
//! Environment: `REDIS_URL` (default `redis://127.0.0.1:6379`) and `LISTEN` (default `127.0.0.1:8080`; port 0 takes
//! any free port, which is logged).
#![expect(clippy::print_stderr, reason = "a plain service logs to standard error")]

mod announcements;
mod http;
mod id;
mod reports;

use std::env;
use std::process::ExitCode;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::announcements::Announcements;
use crate::reports::Reports;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("api: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), StartError> {
    let redis_url = env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let listen = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());

    let stop = stop_on_signal().map_err(StartError::Signals)?;
    let redis = redis::Client::open(redis_url).map_err(StartError::RedisUrl)?;
    let announcements = Announcements::default();
    let listening = tokio::spawn(announcements.clone().listen(redis.clone(), stop.clone()));
    let reports = Reports::new(&redis, announcements, stop.clone()).map_err(StartError::RedisUrl)?;

    let listener = TcpListener::bind(&listen).await.map_err(|cause| StartError::Listen { listen, cause })?;
    eprintln!("api: listening on {}", listener.local_addr().map_err(StartError::Serve)?);
    axum::serve(listener, http::routes(reports))
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
        .map_err(StartError::Serve)?;
    // The listener ends by the same token; a panic in it has been printed already.
    let _ = listening.await;
    Ok(())
}

/// A token that is cancelled by SIGTERM or SIGINT.
fn stop_on_signal() -> std::io::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
        cancel.cancel();
    });
    Ok(stop)
}

#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("REDIS_URL is not usable: {0}")]
    RedisUrl(redis::RedisError),
    #[error("cannot listen on {listen} (LISTEN): {cause}")]
    Listen { listen: String, cause: std::io::Error },
    #[error("cannot install signal handlers: {0}")]
    Signals(std::io::Error),
    #[error("HTTP server: {0}")]
    Serve(std::io::Error),
}

//! The readiness check: whether every Redis can be reached.
//!
//! The services behind HTTP ports are not asked. Each of them would see a connection that no client of its has made, and one that
//! waits for the sidecar before it starts would be waited for by the sidecar.
//!
//! A check costs every Redis a connection, so there is one under way at a time, and its answer counts for a second, however many
//! ask.

use std::sync::Arc;
use std::time::Duration;

use redistributed_core::printable::printable;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::endpoint::redis::RedisEndpoint;
use crate::net::upstream::Dialer;
use crate::redis::{Connection, Error};
use crate::settings::credentials::Credentials;

/// The longest wait for a Redis: less than the second that Kubernetes grants a probe by default.
const PATIENCE: Duration = Duration::from_millis(900);

/// How long an answer counts after its check.
const KEPT: Duration = Duration::from_secs(1);

/// The readiness of all endpoints.
#[derive(Debug)]
pub(super) struct Readiness {
    endpoints: Vec<Arc<RedisEndpoint>>,
    last: Mutex<Option<Answer>>,
}

#[derive(Debug)]
struct Answer {
    at: Instant,
    failures: Arc<str>,
}

impl Readiness {
    /// Of endpoints that have not been checked.
    pub(super) fn new(endpoints: Vec<Arc<RedisEndpoint>>) -> Arc<Self> {
        Arc::new(Self { endpoints, last: Mutex::new(None) })
    }

    /// Returns a line for each Redis that does not answer a `PING`, or that rejects the login of services; empty if there is
    /// none.
    pub(super) async fn failures(self: &Arc<Self>) -> Arc<str> {
        let this = Arc::clone(self);
        // On a task of its own, so that a client that does not wait for the answer leaves no check behind that others do not
        // know of.
        let asking = tokio::spawn(async move { this.ask().await });
        asking.await.unwrap_or_else(|error| format!("cannot try: {}\n", printable(error)).into())
    }

    async fn ask(&self) -> Arc<str> {
        // Held during the check: whoever comes meanwhile waits for its answer.
        let mut last = self.last.lock().await;
        if let Some(answer) = last.as_ref().filter(|answer| answer.at.elapsed() < KEPT) {
            return Arc::clone(&answer.failures);
        }
        let failures: Arc<str> = check(&self.endpoints).await.into();
        *last = Some(Answer { at: Instant::now(), failures: Arc::clone(&failures) });
        failures
    }
}

async fn check(endpoints: &[Arc<RedisEndpoint>]) -> String {
    // All at once, so that several that do not answer take no longer than one.
    let attempts: Vec<_> = endpoints
        .iter()
        .map(|endpoint| {
            let dialer = endpoint.dialer();
            let impatient = dialer.within(PATIENCE);
            let late = Err(Error::Late(PATIENCE));
            let attempt = async move { timeout(PATIENCE, reach(&impatient)).await.unwrap_or(late) };
            (dialer.upstream(), tokio::spawn(attempt))
        })
        .collect();
    let mut lines = String::new();
    for (upstream, attempt) in attempts {
        match attempt.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => lines += &format!("cannot reach {}: {}\n", printable(upstream), printable(error)),
            Err(error) => lines += &format!("cannot try {}: {}\n", printable(upstream), printable(error)),
        }
    }
    lines
}

/// With the proxy's credentials, if it has some. If Redis does not accept them, that is a failure only where services
/// are logged in with them: others may know better.
async fn reach(dialer: &Dialer) -> Result<(), Error> {
    match ping(dialer, dialer.credentials().as_ref()).await {
        Err(Error::Credentials(_)) if dialer.logs_clients_in().is_none() => ping(dialer, None).await,
        answer => answer,
    }
}

async fn ping(dialer: &Dialer, credentials: Option<&Credentials>) -> Result<(), Error> {
    let mut connection = Connection::open(dialer, credentials, PATIENCE).await?;
    match connection.call(&[b"PING"]).await {
        // It serves those who say who they are, or it will as soon as a script has ended. Not so with LOADING, DENIED
        // (protected mode) and the limit on clients.
        Err(Error::Refused(refusal)) if matches!(refusal.code(), "NOAUTH" | "NOPERM" | "BUSY") => {}
        answer => drop(answer?),
    }
    connection.select_as_for_services(dialer).await
}

//! The readiness check: whether every Redis can be reached.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::endpoint::redis::RedisEndpoint;
use crate::net::upstream::Dialer;
use crate::redis::{Connection, Error};
use crate::settings::credentials::Credentials;

/// The longest wait for a Redis: less than the second that Kubernetes grants a probe by default.
const PATIENCE: Duration = Duration::from_millis(900);

/// Returns a line for each Redis that does not answer a `PING` now, or that rejects the login of services; empty if there is none.
pub(super) async fn failures(endpoints: &[Arc<RedisEndpoint>]) -> String {
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
            Ok(Err(error)) => lines += &format!("cannot reach {upstream}: {error}\n"),
            Err(error) => lines += &format!("cannot try {upstream}: {error}\n"),
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

//! Whether every Redis can be reached.

use std::time::Duration;

use crate::upstream::Dialer;

/// How long a Redis may take to accept a connection: below the second that Kubernetes grants a probe by default.
const PATIENCE: Duration = Duration::from_millis(900);

/// One line for each Redis that does not accept a connection now; empty if all do.
pub(super) async fn failures(dialers: &[Dialer]) -> String {
    // All at once, so that several that do not answer take no longer than one.
    let attempts: Vec<_> = dialers
        .iter()
        .map(|dialer| {
            let impatient = dialer.within(PATIENCE);
            (dialer.upstream(), tokio::spawn(async move { impatient.connect().await.map(drop) }))
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

//! Whether every Redis can be reached.

use std::time::Duration;

use crate::config::Settings;
use crate::upstream;

/// How long a Redis may take to accept a connection: below the second that Kubernetes grants a probe by default.
const PATIENCE: Duration = Duration::from_millis(900);

/// One line for each route whose Redis does not accept a connection now; empty if all do.
pub(super) async fn failures(settings: &Settings) -> String {
    let mut lines = String::new();
    let limit = settings.limits.connect_timeout.min(PATIENCE);
    let attempts: Vec<_> = settings
        .routes
        .iter()
        .map(|route| {
            let upstream = route.upstream.clone();
            (&route.upstream, tokio::spawn(async move { upstream::connect(&upstream, limit).await.map(drop) }))
        })
        .collect();
    for (upstream, attempt) in attempts {
        match attempt.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => lines += &format!("cannot reach {upstream}: {error}\n"),
            Err(error) => lines += &format!("cannot try {upstream}: {error}\n"),
        }
    }
    lines
}

//! Publishes news, over a connection of its own: the connection that announces is subscribed, and in RESP2 a
//! subscribed connection may not publish.

use std::sync::Arc;

use tokio::time::sleep;

use super::connect;
use crate::auto::AutoMode;
use crate::auto::news::CHANNEL;
use crate::redis::{Connection, Error, Purpose};

const PURPOSE: Purpose = Purpose {
    feature: "mode auto",
    task: "telling of subscriptions that have begun or ended",
    without: "other proxies learn of them only by their own snapshots",
    page: "proxy/docs/auto.md",
};

/// Publishes what is queued for as long as the future is polled. Does not connect before there is something to publish.
pub(in crate::auto) async fn run(mode: Arc<AutoMode>) {
    let mut backoff = mode.backoff(PURPOSE);
    let mut connection = None;
    loop {
        let payloads = mode.news.take().await;
        match publish_all(&mode, &mut connection, &payloads).await {
            Ok(()) => backoff.succeeded(),
            Err(error) => {
                connection = None;
                // The news are not queued again: by the time of the next attempt, snapshots have shown the change.
                sleep(backoff.failed(&error)).await;
            }
        }
    }
}

async fn publish_all(mode: &AutoMode, connection: &mut Option<Connection>, payloads: &[Vec<u8>]) -> Result<(), Error> {
    for payload in payloads {
        publish(mode, connection, payload).await?;
    }
    Ok(())
}

async fn publish(mode: &AutoMode, connection: &mut Option<Connection>, payload: &[u8]) -> Result<(), Error> {
    let words = [&b"PUBLISH"[..], CHANNEL, payload];
    if let Some(connection) = connection {
        match connection.call(&words).await {
            // Redis may have closed a connection that was idle for long.
            Err(Error::Closed | Error::Broken(_)) => {}
            answer => return answer.map(drop),
        }
    }
    let connection = connection.insert(connect(mode).await?.0);
    connection.call(&words).await.map(drop)
}

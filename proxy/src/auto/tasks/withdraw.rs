//! Publishes withdrawals, over a connection of its own: the connection that announces is subscribed, and in RESP2 a
//! subscribed connection may not publish.

use std::sync::Arc;

use tokio::time::sleep;

use super::backoff::{Backoff, Purpose};
use super::connect;
use crate::auto::AutoMode;
use crate::auto::withdrawal::{CHANNEL, Withdrawal};
use crate::redis::{Connection, Error};

const PURPOSE: Purpose = Purpose {
    task: "telling of subscriptions that have ended",
    without: "other proxies learn of them only by their next snapshot",
};

/// Publishes what is queued for as long as the future is polled. Does not connect before there is something to publish.
pub(in crate::auto) async fn run(mode: Arc<AutoMode>) {
    let mut backoff = Backoff::new(PURPOSE, &mode);
    let mut connection = None;
    loop {
        let topics = mode.withdrawals.take().await;
        match publish(&mode, &mut connection, &Withdrawal::encode(&topics)).await {
            Ok(()) => backoff.succeeded(),
            Err(error) => {
                connection = None;
                // The topics are not queued again: by the time of the next attempt, snapshots have shown the change.
                sleep(backoff.failed(&error)).await;
            }
        }
    }
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

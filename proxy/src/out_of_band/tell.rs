//! Tells other proxies what the outbox has, over a connection of its own.

use std::sync::Arc;
use std::time::Instant;

use tokio::time::sleep;

use super::outbox::{Message, messages};
use super::{OutOfBand, REPLY_TIMEOUT};
use crate::redis::{Connection, Error, Reply, Requests};
use crate::telemetry::stats::ProxyCounter;

/// What the task is, as the log says it.
const TASK: &str = "telling contexts of queues and streams";

/// Publishes what is queued for as long as the future is polled. Does not connect before there is something to tell.
pub(super) async fn run(out_of_band: Arc<OutOfBand>) {
    let mut backoff = out_of_band.backoff(TASK);
    let mut connection = None;
    loop {
        let queued = out_of_band.outbox.take().await;
        let policy = out_of_band.policy.current();
        if !policy.tells_contexts() {
            connection = None;
            continue;
        }
        let messages = messages(&queued, &policy.keys);
        match publish(&out_of_band, &mut connection, &messages).await {
            Ok(()) => backoff.succeeded(),
            Err(error) => {
                connection = None;
                let lost = messages.iter().map(|message| message.notices).sum();
                out_of_band.stats.add(ProxyCounter::ContextsNotTold, lost);
                sleep(backoff.failed(&error)).await;
            }
        }
    }
}

async fn publish(
    out_of_band: &OutOfBand,
    connection: &mut Option<Connection>,
    messages: &[Message],
) -> Result<(), Error> {
    let mut requests = Requests::new();
    for Message { channel, payload, .. } in messages {
        requests.push([&b"PUBLISH"[..], channel.as_bytes(), payload]);
    }
    let replies = match connection {
        Some(connection) => connection.pipeline(&requests).await,
        None => Err(Error::Closed),
    };
    let replies = match replies {
        // Redis may have closed a connection that was idle for long.
        Err(Error::Closed | Error::Broken(_)) => {
            let dialer = &out_of_band.dialer;
            let opened = Connection::open(dialer, dialer.credentials().as_ref(), REPLY_TIMEOUT).await?;
            connection.insert(opened).pipeline(&requests).await?
        }
        replies => replies?,
    };
    let now = Instant::now();
    for (message, reply) in messages.iter().zip(replies) {
        match reply.accepted()? {
            Reply::Integer(0) => out_of_band.outbox.silence(message.companion, now),
            _ => out_of_band.stats.add(ProxyCounter::ContextsTold, message.notices),
        }
    }
    Ok(())
}

//! Tells other proxies what the outbox has, over a connection of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use redistributed_core::carrier::ContextKeys;
use redistributed_core::carrier::out_of_band::{CompanionChannel, Notice};
use tokio::time::sleep;

use super::outbox::{Message, messages};
use super::patterns::Patterns;
use super::{OutOfBand, REPLY_TIMEOUT};
use crate::redis::{Connection, Error, Reply, Requests};
use crate::telemetry::stats::ProxyCounter;

/// What the task is, as the log says it.
const TASK: &str = "telling contexts";

/// Publishes what is queued for as long as the future is polled. Does not connect before there is something to tell.
pub(super) async fn run(out_of_band: Arc<OutOfBand>) {
    let mut backoff = out_of_band.backoff(TASK);
    let (mut connection, mut patterns) = (None, Patterns::default());
    loop {
        let queued = out_of_band.outbox.take().await;
        match tell(&out_of_band, &queued, &mut connection, &mut patterns).await {
            Ok(()) => backoff.succeeded(),
            Err(error) => {
                connection = None;
                out_of_band.stats.add(ProxyCounter::ContextsNotTold, queued.len() as u64);
                sleep(backoff.failed(&error)).await;
            }
        }
    }
}

async fn tell(
    out_of_band: &OutOfBand,
    queued: &[(CompanionChannel, Notice)],
    connection: &mut Option<Connection>,
    patterns: &mut Patterns,
) -> Result<(), Error> {
    let policy = out_of_band.policy.current();
    if !policy.tells_anything() {
        *connection = None;
        return Ok(());
    }
    let replies = match connection {
        Some(connection) => publish(connection, queued, patterns, &policy.keys).await,
        None => Err(Error::Closed),
    };
    let (messages, replies) = match replies {
        // Redis may have closed a connection that was idle for long.
        Err(Error::Closed | Error::Broken(_)) => {
            let dialer = &out_of_band.dialer;
            let opened = Connection::open(dialer, dialer.credentials().as_ref(), REPLY_TIMEOUT).await?;
            publish(connection.insert(opened), queued, patterns, &policy.keys).await?
        }
        replies => replies?,
    };
    let now = Instant::now();
    for (message, reply) in messages.iter().zip(replies) {
        match reply.accepted()? {
            Reply::Integer(0) if patterns.matches(&message.companion) => {}
            Reply::Integer(0) => out_of_band.outbox.silence(&message.companion, now),
            _ => out_of_band.stats.add(ProxyCounter::ContextsTold, message.notices),
        }
    }
    Ok(())
}

/// Publishes the messages that tell all of this. Returns them with Redis's replies.
async fn publish(
    connection: &mut Connection,
    queued: &[(CompanionChannel, Notice)],
    patterns: &mut Patterns,
    keys: &ContextKeys,
) -> Result<(Vec<Message>, VecDeque<Reply>), Error> {
    patterns.refresh(queued, connection).await?;
    let messages = messages(patterns.spread(queued), keys);
    let mut requests = Requests::new();
    for Message { channel, payload, .. } in &messages {
        requests.push([&b"PUBLISH"[..], channel, payload]);
    }
    let replies = connection.pipeline(&requests).await?;
    Ok((messages, replies))
}

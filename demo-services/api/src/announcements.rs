//! Hears from the workers, on the channel `reports.done`, that a part is ready.
//!
//! Announcements only wake requests that wait; what is true is read from the keys. So nothing is lost when Redis
//! Pub/Sub, which promises nothing, loses one: after every new subscription all waiting requests look again.

use std::time::Duration;

use redis::Client;
use serde::Deserialize;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::id::ReportId;

const CHANNEL: &str = "reports.done";

/// Announcements kept for a slow waiter; one that falls behind looks at the keys instead.
const BACKLOG: usize = 256;

/// Pause before the next attempt after the connection failed; doubles up to the maximum.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// How long connecting and subscribing may take together.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a silent subscription is asked whether it still lives: a lost connection does not always say so.
const CHECK_EVERY: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
enum News {
    /// A part of this report is ready.
    Done(ReportId),
    /// The subscription is new: announcements may have been missed before.
    Resubscribed,
}

#[derive(Deserialize)]
struct Announcement {
    id: ReportId,
}

/// Spreads announcements to the requests that wait. Clones share one source.
#[derive(Clone)]
pub(crate) struct Announcements {
    news: broadcast::Sender<News>,
}

/// One request's ear, opened before it first looks at the keys.
pub(crate) struct Ear {
    news: broadcast::Receiver<News>,
}

impl Default for Announcements {
    fn default() -> Self {
        Self { news: broadcast::Sender::new(BACKLOG) }
    }
}

impl Announcements {
    pub(crate) fn ear(&self) -> Ear {
        Ear { news: self.news.subscribe() }
    }

    /// Subscribes, and subscribes again whenever the connection is lost, until `stop`.
    pub(crate) async fn listen(self, redis: Client, stop: CancellationToken) {
        let mut pause = RETRY_MIN;
        loop {
            let lost = tokio::select! {
                lost = self.listen_once(&redis, &mut pause) => lost,
                () = stop.cancelled() => return,
            };
            eprintln!("api: not subscribed to {CHANNEL}: {lost}; trying again in {} ms", pause.as_millis());
            tokio::select! { () = tokio::time::sleep(pause) => (), () = stop.cancelled() => return }
            pause = RETRY_MAX.min(pause * 2);
        }
    }

    /// Ends with the reason when the subscription cannot be made or is lost.
    async fn listen_once(&self, redis: &Client, pause: &mut Duration) -> String {
        let subscribe = async {
            let mut subscription = redis.get_async_pubsub().await?;
            subscription.subscribe(CHANNEL).await?;
            redis::RedisResult::Ok(subscription)
        };
        let subscription = match tokio::time::timeout(SUBSCRIBE_TIMEOUT, subscribe).await {
            Ok(Ok(subscription)) => subscription,
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return format!("no answer within {} s", SUBSCRIBE_TIMEOUT.as_secs()),
        };
        eprintln!("api: subscribed to {CHANNEL}");
        *pause = RETRY_MIN;
        self.spread(News::Resubscribed);
        let (mut sink, mut messages) = subscription.split();
        let mut check = tokio::time::interval(CHECK_EVERY);
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                _ = check.tick() => match tokio::time::timeout(SUBSCRIBE_TIMEOUT, sink.ping::<()>()).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => return error.to_string(),
                    Err(_) => return format!("no answer within {} s", SUBSCRIBE_TIMEOUT.as_secs()),
                },
            };
            let Some(message) = message else { return "the connection was closed".to_owned() };
            match serde_json::from_slice::<Announcement>(message.get_payload_bytes()) {
                Ok(announcement) => self.spread(News::Done(announcement.id)),
                Err(error) => eprintln!("api: skipped a malformed announcement: {error}"),
            }
        }
    }

    fn spread(&self, news: News) {
        // An error only says that no request waits now.
        let _ = self.news.send(news);
    }
}

impl Ear {
    /// Returns when it is worth looking at `id` again.
    pub(crate) async fn hear(&mut self, id: &ReportId) {
        loop {
            match self.news.recv().await {
                Ok(News::Done(done)) if done != *id => {}
                Ok(News::Done(_) | News::Resubscribed) | Err(RecvError::Lagged(_)) => return,
                // Cannot happen while the caller holds the source; nothing more will be heard.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

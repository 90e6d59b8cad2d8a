//! Subscribes, works, stores, announces; subscribes again whenever the connection is lost.

use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncCommands, Client, RedisError, RedisResult};
use tokio_stream::StreamExt;

use crate::job::{Announcement, Job};
use crate::kind::Kind;

const JOBS: &str = "reports";
const ANNOUNCEMENTS: &str = "reports.done";

/// How long a finished part is kept, in seconds.
const EXPIRY_SECONDS: i64 = 3600;

/// Pause before the next attempt after the connection failed; doubles up to the maximum.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// How long connecting and subscribing may take together.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a silent subscription is asked whether it still lives: a lost connection does not always say so.
const CHECK_EVERY: Duration = Duration::from_secs(2);

pub(crate) struct Worker {
    client: Client,
    /// For everything but the subscription; connects at its first use.
    redis: ConnectionManager,
    kind: Kind,
}

/// Why a subscription ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("{0}")]
    Redis(#[from] RedisError),
    #[error("no answer within {} s", SUBSCRIBE_TIMEOUT.as_secs())]
    Timeout,
    #[error("the connection was closed")]
    Closed,
}

impl Worker {
    /// Must be called on a tokio runtime.
    ///
    /// # Errors
    /// If the URL is not one of Redis.
    pub(crate) fn new(redis_url: &str, kind: Kind) -> RedisResult<Self> {
        let client = Client::open(redis_url)?;
        let config = ConnectionManagerConfig::new().set_max_delay(RETRY_MAX);
        let redis = ConnectionManager::new_lazy_with_config(client.clone(), config)?;
        Ok(Self { client, redis, kind })
    }

    /// Works until `stop`. A part that is being made then is finished first.
    pub(crate) async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut pause = RETRY_MIN;
        loop {
            let ended = match self.serve(stop.as_mut(), &mut pause).await {
                Ok(()) => return,
                Err(ended) => ended,
            };
            self.log(format_args!("not subscribed to {JOBS}: {ended}; trying again in {} ms", pause.as_millis()));
            tokio::select! { () = tokio::time::sleep(pause) => (), () = &mut stop => return }
            pause = RETRY_MAX.min(pause * 2);
        }
    }

    /// One subscription. `Ok` means that it is time to stop.
    async fn serve(&mut self, mut stop: Pin<&mut impl Future<Output = ()>>, pause: &mut Duration) -> Result<(), Ended> {
        let subscribe = async {
            let mut subscription = self.client.get_async_pubsub().await?;
            subscription.subscribe(JOBS).await?;
            RedisResult::Ok(subscription)
        };
        let subscription = tokio::select! {
            subscribed = tokio::time::timeout(SUBSCRIBE_TIMEOUT, subscribe) => subscribed.map_err(|_| Ended::Timeout)??,
            () = &mut stop => return Ok(()),
        };
        self.log(format_args!("subscribed to {JOBS}"));
        *pause = RETRY_MIN;
        let (mut sink, mut jobs) = subscription.split();
        let mut check = tokio::time::interval(CHECK_EVERY);
        loop {
            let message = tokio::select! {
                message = jobs.next() => message.ok_or(Ended::Closed)?,
                _ = check.tick() => {
                    tokio::time::timeout(SUBSCRIBE_TIMEOUT, sink.ping::<()>()).await.map_err(|_| Ended::Timeout)??;
                    continue;
                }
                () = &mut stop => return Ok(()),
            };
            match Job::parse(message.get_payload_bytes()) {
                Ok(job) => self.work(&job).await,
                Err(error) => self.log(format_args!("skipped a message on {JOBS}: {error}")),
            }
        }
    }

    async fn work(&mut self, job: &Job) {
        let started = Instant::now();
        tokio::time::sleep(self.kind.effort(job)).await;
        match self.deliver(job).await {
            Ok(bytes) => {
                let took = started.elapsed().as_millis();
                self.log(format_args!("report {}: {bytes} bytes in {took} ms", job.id));
            }
            Err(error) => self.log(format_args!("report {}: could not store the part: {error}", job.id)),
        }
    }

    /// Stores the part, then says so. Returns the part's size as it is stored.
    async fn deliver(&mut self, job: &Job) -> RedisResult<usize> {
        let kind = self.kind.name();
        let part = to_json(&self.kind.make(job));
        let bytes = part.len();
        let parts_key = format!("report-parts:{}", job.id);
        let () = redis::pipe()
            .cmd("SET")
            .arg(format!("report:{}:{kind}", job.id))
            .arg(part)
            .arg("EX")
            .arg(EXPIRY_SECONDS)
            .ignore()
            .hincr(&parts_key, kind, 1)
            .ignore()
            .expire(&parts_key, EXPIRY_SECONDS)
            .ignore()
            .query_async(&mut self.redis)
            .await?;
        let () = self.redis.publish(ANNOUNCEMENTS, to_json(&Announcement { id: &job.id, kind })).await?;
        Ok(bytes)
    }

    fn log(&self, line: std::fmt::Arguments<'_>) {
        eprintln!("worker {}: {line}", self.kind.name());
    }
}

fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("structs of strings always have a JSON form")
}

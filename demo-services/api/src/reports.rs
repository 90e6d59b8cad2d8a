//! The reports: what is kept in Redis, and how an order becomes a job for the workers.
//!
//! | key | content | written by |
//! |---|---|---|
//! | `report:{id}` | the accepted order and how many workers got the job, JSON | this service |
//! | `report:{id}:{kind}` | one finished part, JSON | the worker of that kind |
//! | `report-parts:{id}` | hash: for each finished kind, how many workers made it | the workers |
//!
//! Every key expires. A job is published on `reports`; Redis answers how many workers got it, and when that many have
//! finished, the report is complete. Replicas of a worker make the same part twice, which does no harm.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncCommands, Client, RedisError, RedisResult};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::announcements::Announcements;
use crate::id::ReportId;

const CHANNEL: &str = "reports";

/// How long an order is kept, in seconds. Workers keep their parts as long.
const EXPIRY_SECONDS: u64 = 3600;

/// How long Redis may take for everything that one request asks of it, reconnecting included.
const REDIS_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest pause between two attempts to reach Redis.
const RECONNECT_MAX: Duration = Duration::from_millis(500);

/// The reports, as one Redis knows them.
#[derive(Clone)]
pub(crate) struct Reports {
    redis: ConnectionManager,
    announcements: Announcements,
    stop: CancellationToken,
}

/// What a client orders.
pub(crate) struct Order {
    pub(crate) title: String,
    /// The client's own number for the order.
    pub(crate) number: Option<String>,
}

/// What workers are told.
#[derive(Serialize)]
struct Job<'a> {
    id: &'a ReportId,
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<&'a str>,
}

/// The order as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<String>,
    expected: u64,
}

/// A report as it stands.
#[derive(Serialize)]
pub(crate) struct Report {
    id: ReportId,
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<String>,
    /// Every worker that got the job has finished.
    complete: bool,
    /// How many workers got the job.
    expected: u64,
    /// How many of them have finished.
    finished: u64,
    /// Finished parts by kind.
    parts: BTreeMap<String, Value>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportsError {
    #[error("Redis: {0}")]
    Redis(#[from] RedisError),
    #[error("Redis did not answer within {} s", REDIS_TIMEOUT.as_secs())]
    Timeout,
    #[error("no worker listens to the channel `{CHANNEL}`, so nobody would make the report")]
    NoWorker,
    #[error("the system's random source failed: {0}")]
    Random(getrandom::Error),
    #[error("key `{key}` does not hold what this service writes there: {cause}")]
    Corrupt { key: String, cause: serde_json::Error },
}

impl Reports {
    /// Connects at the first use, and again whenever the connection is lost.
    ///
    /// Requests that wait for parts return early once `stop` is cancelled.
    pub(crate) fn new(client: &Client, announcements: Announcements, stop: CancellationToken) -> RedisResult<Self> {
        // The manager never gives up, so that the first request after an outage finds a connection. How long a request
        // waits for one is REDIS_TIMEOUT's business.
        let config = ConnectionManagerConfig::new().set_max_delay(RECONNECT_MAX).set_number_of_retries(usize::MAX);
        let redis = ConnectionManager::new_lazy_with_config(client.clone(), config)?;
        Ok(Self { redis, announcements, stop })
    }

    /// Hands the order to the workers and remembers it.
    pub(crate) async fn accept(&self, order: Order) -> Result<ReportId, ReportsError> {
        let id = ReportId::random().map_err(ReportsError::Random)?;
        let job = to_json(&Job { id: &id, title: &order.title, order: order.number.as_deref() });
        let mut redis = self.redis.clone();
        within_deadline(async {
            let expected: u64 = redis.publish(CHANNEL, job).await?;
            if expected == 0 {
                return Err(ReportsError::NoWorker);
            }
            let stored = to_json(&Stored { title: order.title, order: order.number, expected });
            let () = redis.set_ex(order_key(&id), stored, EXPIRY_SECONDS).await?;
            Ok(())
        })
        .await?;
        Ok(id)
    }

    /// The report as it stands now; `None` if there is none of this name, or no more.
    pub(crate) async fn find(&self, id: &ReportId) -> Result<Option<Report>, ReportsError> {
        let mut redis = self.redis.clone();
        let (order, finished, parts) = within_deadline(async {
            let (order, made): (Option<String>, BTreeMap<String, u64>) =
                redis::pipe().get(order_key(id)).hgetall(format!("report-parts:{id}")).query_async(&mut redis).await?;
            let mut parts = BTreeMap::new();
            let finished: u64 = made.values().sum();
            if !made.is_empty() {
                let keys: Vec<String> = made.keys().map(|kind| format!("report:{id}:{kind}")).collect();
                let values: Vec<Option<String>> = redis.mget(&keys).await?;
                for ((kind, key), value) in made.into_keys().zip(keys).zip(values) {
                    // A part may expire between the two commands.
                    let Some(value) = value else { continue };
                    parts.insert(kind, from_json(key, &value)?);
                }
            }
            Ok((order, finished, parts))
        })
        .await?;
        let Some(order) = order else { return Ok(None) };
        let Stored { title, order, expected } = from_json(order_key(id), &order)?;
        Ok(Some(Report { id: id.clone(), title, order, complete: finished >= expected, expected, finished, parts }))
    }

    /// Like [`Reports::find`], but waits up to `patience` for the report to be complete.
    pub(crate) async fn find_complete(
        &self,
        id: &ReportId,
        patience: Duration,
    ) -> Result<Option<Report>, ReportsError> {
        let mut ear = self.announcements.ear();
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let report = self.find(id).await?;
            if report.as_ref().is_none_or(|report| report.complete) {
                return Ok(report);
            }
            tokio::select! {
                () = ear.hear(id) => {}
                () = tokio::time::sleep_until(deadline) => return Ok(report),
                () = self.stop.cancelled() => return Ok(report),
            }
        }
    }

    /// Whether Redis answers.
    pub(crate) async fn ping(&self) -> Result<(), ReportsError> {
        let mut redis = self.redis.clone();
        within_deadline(async { Ok(redis.ping().await?) }).await
    }
}

async fn within_deadline<T>(work: impl Future<Output = Result<T, ReportsError>>) -> Result<T, ReportsError> {
    tokio::time::timeout(REDIS_TIMEOUT, work).await.unwrap_or(Err(ReportsError::Timeout))
}

fn order_key(id: &ReportId) -> String {
    format!("report:{id}")
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("structs of strings and numbers always have a JSON form")
}

fn from_json<T: serde::de::DeserializeOwned>(key: String, text: &str) -> Result<T, ReportsError> {
    serde_json::from_str(text).map_err(|cause| ReportsError::Corrupt { key, cause })
}

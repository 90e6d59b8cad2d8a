//! Contexts out of band: proxies tell each other the contexts of what their services add to queues and streams, and of messages that carry
//! none.
//!
//! ```text
//! spans that end ──▶ Outbox ──▶ tell ══ PUBLISH ══▶ Redis            (companion channels: the core's carrier::out_of_band)
//!         reads ──▶ Interests ─────┬▶ listen ══ SUBSCRIBE ══▶ Redis
//! subscriptions ──▶ Subscriptions ─╯    │
//!                           Hearer ◀── listen ◀══ messages ════╯
//! ```
//!
//! Each endpoint has its own, because a name means something at its Redis only. The connections to Redis are the proxy's own, and are
//! made when there is something to tell, or to listen to. Nothing is written to Redis, and a message that is lost costs no more than the
//! context in it.

mod interests;
mod listen;
mod outbox;
mod patterns;
mod subscriptions;
mod tell;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redistributed_core::carrier::out_of_band::{CompanionChannel, Notice};
use tokio::task::JoinSet;

use crate::live_policy::LivePolicy;
use crate::net::upstream::Dialer;
use crate::redis::{Backoff, Purpose};
use crate::telemetry::stats::Stats;
pub use interests::Interests;
pub use outbox::Outbox;
pub use subscriptions::{Subscriptions, SubscriptionsOfConnection};

/// The longest wait for Redis to reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// How often it is looked whether contexts are told at all, while they are not.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Takes what other proxies have told.
pub trait Hearer: fmt::Debug + Send + Sync {
    /// Other proxies of the Redis with this number have told contexts on this channel.
    fn hear(&self, redis: u64, channel: &CompanionChannel, notices: Vec<Notice>);

    /// Nothing was heard for a while of keys of the Redis with this number, so that some of what was told may be missing.
    fn missed(&self, redis: u64);
}

/// What is told and heard at the Redis of one endpoint.
#[derive(Debug)]
pub struct OutOfBand {
    policy: Arc<LivePolicy>,
    dialer: Dialer,
    stats: Arc<Stats>,
    outbox: Arc<Outbox>,
    interests: Arc<Interests>,
    subscriptions: Arc<Subscriptions>,
}

impl OutOfBand {
    /// Nothing is told and heard before [`start`](Self::start).
    pub fn new(policy: Arc<LivePolicy>, dialer: Dialer, stats: Arc<Stats>) -> Arc<Self> {
        let outbox = Outbox::new(Arc::clone(&stats));
        Arc::new(Self { policy, dialer, stats, outbox, interests: Arc::default(), subscriptions: Arc::default() })
    }

    /// Takes the spans of which others are told.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Takes the keys that services read.
    pub fn interests(&self) -> &Arc<Interests> {
        &self.interests
    }

    /// Takes the subscriptions of clients.
    pub fn subscriptions(&self) -> &Arc<Subscriptions> {
        &self.subscriptions
    }

    /// Spawns the tasks that tell and listen. What is heard goes to `hearer`.
    pub fn start(self: &Arc<Self>, hearer: Arc<dyn Hearer>, tasks: &mut JoinSet<()>) {
        tasks.spawn(tell::run(Arc::clone(self)));
        tasks.spawn(listen::run(Arc::clone(self), hearer));
    }

    /// No failure so far of this task.
    fn backoff(&self, task: &'static str) -> Backoff {
        let purpose = Purpose {
            feature: "--out-of-band",
            task,
            without: "items of queues, and messages that hold an id, are joined to where they come from by links \
                      only, and other messages that carry no context have no span",
            page: "proxy/docs/queues.md",
        };
        Backoff::new(purpose, self.dialer.clone(), LOOK_AGAIN)
    }
}

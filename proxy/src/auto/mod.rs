//! Mode `auto`: contexts are added only where every subscriber is known to be behind a proxy that removes them.
//!
//! ```text
//! sessions ── confirmed subscriptions ──▶ registry ──▶ announcement_state ──▶ announce ══ SUBSCRIBE ══▶ Redis
//!                                                                         news ──▶ tell ══ PUBLISH ═══▶ Redis
//!                                                        other proxies' news ──▶ announce ──▶ poll        │
//! sessions ◀── who receives this publish? ── cache ◀── decision ◀── snapshot ◀── poll ◀══ transaction ════╯
//!     ╰── a reply with another number of receivers ──▶ cache
//! ```
//!
//! | module | contents |
//! |---|---|
//! | `topic` | what clients subscribe to: channels, patterns, shard channels |
//! | `announcement`, `news` | what proxies tell each other, and its format |
//! | `registry` | how many connections of this proxy are subscribed to each topic |
//! | `announcement_state` | what has been announced, and how that is brought up to date |
//! | `snapshot` | what Redis reports at one instant |
//! | `discovery` | the announcements that are known, so that most snapshots need no search |
//! | `patterns` | who receives messages on channels that Redis has not been asked about |
//! | `decision` | from snapshots to decisions, with the reasoning why they are right |
//! | `cache` | the latest decisions, which sessions look up at each publish |
//! | `server_identity` | which server all of this is about |
//! | `tasks` | `announce`, `tell` and `poll`: the only part that talks to Redis |
//!
//! Whatever is unknown means that no context is added.

pub mod announcement;
mod announcement_state;
pub mod cache;
pub mod decision;
mod discovery;
pub mod news;
pub mod patterns;
pub mod registry;
pub mod server_identity;
pub mod snapshot;
mod tasks;
pub mod topic;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redistributed_core::policy::Mode;
use redistributed_core::service::{Audience, ExpectedReceivers, NotProven, SubscriptionChange, SubscriptionKind};
use redistributed_core::trace::Ids;
use tokio::task::JoinSet;

use crate::clock;
use crate::entropy::Entropy;
use crate::live_policy::LivePolicy;
use crate::net::upstream::Dialer;
use crate::redis::{Backoff, Purpose};
use crate::settings::auto::AutoSettings;
use crate::workers::Workers;
use announcement::AnnouncerId;
use cache::{DecisionCache, DecisionCounts};
use news::NewsQueue;
use registry::{Registration, SubscriptionRegistry};
use server_identity::{Destination, ServerTracker, Watched};
use tasks::{announce, poll, tell};

/// Mode `auto` for the connections of one route.
#[derive(Debug)]
pub struct AutoMode {
    settings: AutoSettings,
    policy: Arc<LivePolicy>,
    dialer: Dialer,
    workers: Arc<Workers>,
    ids: Mutex<Entropy>,
    server: Arc<ServerTracker>,
    registry: Arc<SubscriptionRegistry>,
    cache: DecisionCache,
    news: NewsQueue,
    heard: Mutex<Heard>,
    /// The number of connections that are subscribed to anything.
    subscribed: AtomicUsize,
}

impl AutoMode {
    /// Nothing is announced or polled before [`start`](Self::start).
    pub fn new(
        settings: AutoSettings,
        policy: Arc<LivePolicy>,
        dialer: Dialer,
        workers: Arc<Workers>,
        ids: Entropy,
    ) -> Arc<Self> {
        let server = Arc::<ServerTracker>::default();
        Arc::new(Self {
            settings,
            policy,
            dialer,
            workers,
            ids: Mutex::new(ids),
            registry: SubscriptionRegistry::new(Arc::clone(&server)),
            server,
            cache: DecisionCache::default(),
            news: NewsQueue::default(),
            heard: Mutex::default(),
            subscribed: AtomicUsize::new(0),
        })
    }

    /// Spawns the tasks that announce and poll. They connect to Redis only while the policy in force needs it.
    pub fn start(self: &Arc<Self>, tasks: &mut JoinSet<()>) {
        tasks.spawn(announce::run(Arc::clone(self)));
        tasks.spawn(poll::run(Arc::clone(self)));
        tasks.spawn(tell::run(Arc::clone(self)));
    }

    /// Begins to track a connection that was opened for a service, to the Redis at `peer`. Call it before the connection is
    /// used.
    pub fn track(self: &Arc<Self>, peer: Option<SocketAddr>) -> TrackedConnection {
        if self.server.notice_lost() {
            self.cache.clear();
        }
        let destination = self.server.destination(peer);
        let registration = self.announces().then(|| self.registry.register(destination));
        TrackedConnection { mode: Arc::clone(self), destination, registration, subscriptions: Default::default() }
    }

    /// Counts the channels on which services publish in mode `auto`, by what is known about their receivers.
    pub fn decision_counts(&self) -> DecisionCounts {
        self.cache.counts(clock::now().0)
    }

    /// The number of services' connections that are subscribed to anything, whether or not that is announced.
    pub fn subscribed(&self) -> usize {
        self.subscribed.load(Ordering::Relaxed)
    }

    fn announces(&self) -> bool {
        self.settings.announce || self.policy.current().uses(Mode::Auto)
    }

    /// Takes over announcements that another proxy has told of, or that there are some if it has named none.
    fn hear(&self, announcements: Vec<Vec<u8>>) {
        if !self.policy.current().uses(Mode::Auto) {
            return;
        }
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = heard.announcements.len() + announcements.len() <= MAX_HEARD;
        if has_room && !announcements.is_empty() {
            heard.announcements.extend(announcements);
        } else {
            heard.more = true;
        }
        drop(heard);
        self.cache.outdated.notify_one();
    }

    /// What has been heard since the previous call.
    fn take_heard(&self) -> Heard {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Voids what is known, because the address may lead to another server from now on.
    fn lost_connection(&self, watched: &Watched) {
        self.cache.clear();
        self.server.lost(watched);
    }

    fn backoff(&self, purpose: Purpose) -> Backoff {
        Backoff::new(purpose, self.dialer.clone(), self.settings.interval)
    }

    fn new_announcer_id(&self) -> AnnouncerId {
        AnnouncerId(self.ids.lock().unwrap_or_else(PoisonError::into_inner).trace_id().low_u64())
    }
}

/// The largest number of announcements that are kept until the next snapshot.
const MAX_HEARD: usize = 4096;

/// What other proxies have told of.
#[derive(Debug, Default)]
struct Heard {
    /// The channels of announcements.
    announcements: Vec<Vec<u8>>,
    /// Whether there are announcements that were not named.
    more: bool,
}

/// One connection of a service.
#[derive(Debug)]
pub struct TrackedConnection {
    mode: Arc<AutoMode>,
    destination: Destination,
    /// `None` if the connection was opened while nothing was announced. Its subscriptions are then never announced.
    registration: Option<Registration>,
    /// The connection's subscriptions as the server has counted them: to channels and patterns, and to shard channels.
    subscriptions: [AtomicU64; 2],
}

impl TrackedConnection {
    /// Takes over a change of the connection's subscriptions, to be announced.
    pub fn subscription_changed(&self, change: SubscriptionChange) {
        let [others, shard_channels] = &self.subscriptions;
        match &change {
            SubscriptionChange::Confirmed { kind: SubscriptionKind::Shard, count, .. } => {
                self.count_subscriptions(others.load(Ordering::Relaxed), *count);
            }
            SubscriptionChange::Confirmed { count, .. } => {
                self.count_subscriptions(*count, shard_channels.load(Ordering::Relaxed));
            }
            SubscriptionChange::Reset => self.count_subscriptions(0, 0),
            SubscriptionChange::Untracked => {}
        }
        if let Some(registration) = &self.registration {
            registration.apply(change);
        }
    }

    /// Voids the decision that `evidence` stands for, because Redis has reported another number of receivers.
    pub fn contradicted(&self, evidence: u64) {
        self.mode.cache.contradict(evidence);
    }

    /// Records whether the proxy has stopped reading the connection, because the client does not take what has come.
    pub fn set_stalled(&self, stalled: bool) {
        if let Some(registration) = &self.registration {
            registration.set_stalled(stalled);
        }
    }

    /// Records whether Redis may have sent more than the proxy has read, because other connections have their turn.
    pub fn set_behind(&self, behind: bool) {
        if let Some(registration) = &self.registration {
            registration.set_behind(behind);
        }
    }

    /// Ends the subscriptions of the connection, because one of its sides has ended or failed.
    pub fn close(&self) {
        self.count_subscriptions(0, 0);
        if let Some(registration) = &self.registration {
            registration.close();
        }
    }

    fn count_subscriptions(&self, others: u64, shard_channels: u64) {
        // The connection's task is the only one that changes them.
        let before = self.subscriptions.each_ref().map(|count| count.load(Ordering::Relaxed));
        for (count, now) in self.subscriptions.iter().zip([others, shard_channels]) {
            count.store(now, Ordering::Relaxed);
        }
        match (before == [0, 0], [others, shard_channels] == [0, 0]) {
            (true, false) => drop(self.mode.subscribed.fetch_add(1, Ordering::Relaxed)),
            (false, true) => drop(self.mode.subscribed.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
    }
}

impl Drop for TrackedConnection {
    fn drop(&mut self) {
        self.close();
    }
}

impl Audience for TrackedConnection {
    fn expected_receivers(&self, channel: &[u8], sharded: bool) -> Result<ExpectedReceivers, NotProven> {
        let kind = if sharded { SubscriptionKind::Shard } else { SubscriptionKind::Channel };
        let receivers = self.mode.cache.receivers(kind, channel, clock::now().0)?;
        if self.mode.server.is_reached_by(self.destination) { Ok(receivers) } else { Err(NotProven::NoEvidence) }
    }

    fn companions_are_unseen(&self) -> bool {
        self.mode.cache.companions_are_unseen(clock::now().0)
    }
}

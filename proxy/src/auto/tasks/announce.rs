//! Announces what this proxy's connections are subscribed to, over a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use redistributed_core::policy::{Mode, Policy};
use redistributed_core::service::SubscriptionKind;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use crate::auto::AutoMode;
use crate::auto::announcement::{Announcement, check_channel, parse_token};
use crate::auto::announcement_state::{AnnouncementState, Changes};
use crate::auto::news::{self, News};
use crate::auto::server_identity::{ServerIdentity, Watched};
use crate::auto::topic::Topic;
use crate::redis::{Backoff, Connection, Error, Purpose, Reply};

const PURPOSE: Purpose = Purpose {
    feature: "mode auto",
    task: "announcing subscriptions",
    without: "no context is added where this proxy's services subscribe",
    page: "proxy/docs/auto.md",
};

/// The shortest time between two announcements of subscriptions that have begun. What begins in between is announced together.
const ANNOUNCING_PAUSE: Duration = Duration::from_millis(2);

/// The largest number of requests for a check that are answered together; further ones get no answer.
const MAX_REQUESTS: usize = 256;

/// How often a proxy that has not read everything yet tries whether it has, before it answers a request for a check.
const CHECK_ATTEMPTS: u32 = 5;

/// The pause between two of these attempts.
const CHECK_PAUSE: Duration = Duration::from_millis(2);

/// Announces for as long as the future is polled. Does not connect before something is to be announced.
pub(in crate::auto) async fn run(mode: Arc<AutoMode>) {
    let mut backoff = mode.backoff(PURPOSE);
    loop {
        // While nothing is announced, changes would only pile up.
        mode.registry.take_changes();
        if !mode.announces() {
            sleep(mode.settings.interval).await;
            continue;
        }
        let result = match Announcer::connect(&mode).await {
            Ok(mut announcer) => {
                announcer.run(&mut backoff).await.inspect_err(|_| mode.lost_connection(&announcer.watched))
            }
            Err(error) => Err(error),
        };
        let Err(error) = result else { continue };
        sleep(backoff.failed(&error)).await;
    }
}

/// A connection that announces.
struct Announcer<'a> {
    mode: &'a AutoMode,
    watched: Watched,
    connection: Connection,
    server: ServerIdentity,
    state: AnnouncementState,
    /// The policy by which subscriptions are announced.
    policy: Arc<Policy>,
    /// The channel on which this announcer is asked for a check.
    check_channel: Vec<u8>,
    /// When subscriptions that have begun are to be announced; `None` if there are none.
    announce_at: Option<Instant>,
    /// When subscriptions that have begun were last announced.
    announced_at: Option<Instant>,
    /// The tokens of those who have asked for a check.
    requests: Vec<u64>,
}

impl<'a> Announcer<'a> {
    async fn connect(mode: &'a AutoMode) -> Result<Self, Error> {
        let (connection, server, watched) = super::connect_and_track(mode).await?;
        mode.registry.review();
        mode.registry.mark_all_changed();
        let state = AnnouncementState::new(mode.new_announcer_id());
        // What was told while there was no connection was not heard.
        mode.hear(Vec::new());
        Ok(Self {
            mode,
            watched,
            connection,
            server,
            check_channel: check_channel(state.announcer()),
            state,
            policy: mode.policy.current(),
            announce_at: None,
            announced_at: None,
            requests: Vec::new(),
        })
    }

    /// Returns `Ok` once nothing is to be announced any more.
    async fn run(&mut self, backoff: &mut Backoff) -> Result<(), Error> {
        let mut ticks = interval(self.mode.settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.mode.registry.decreased.notified() => {
                    self.withdraw().await?;
                    // What has increased meanwhile has been taken with it.
                    self.announce_soon();
                }
                () = self.mode.registry.increased.notified() => self.announce_soon(),
                () = sleep_until(self.announce_at.unwrap_or_else(Instant::now)), if self.announce_at.is_some() => {
                    self.announce().await?;
                }
                () = std::future::ready(()), if !self.requests.is_empty() => self.check().await?,
                _ = ticks.tick() => {
                    if !self.mode.announces() {
                        return Ok(());
                    }
                    self.heartbeat().await?;
                }
                reply = self.connection.next() => match reply? {
                    Reply::Error(refusal) => return Err(refusal.into()),
                    Reply::Array(parts) => {
                        if !self.heard(&parts) {
                            backoff.succeeded();
                        }
                    }
                    _ => backoff.succeeded(),
                }
            }
        }
    }

    /// Takes a message or a confirmation. Returns whether it was a message.
    fn heard(&mut self, parts: &[Reply]) -> bool {
        let [kind, channel, payload] = parts else { return false };
        let channel = channel.text().unwrap_or_default();
        match kind.text() {
            Some(b"message") if channel == news::CHANNEL => {
                match News::parse(payload.text().unwrap_or_default()) {
                    News::Withdrawn(withdrawal) => self.mode.cache.withdraw(&withdrawal),
                    News::Announced(announcements) => self.mode.hear(announcements),
                }
                true
            }
            Some(b"message") => {
                let token = payload.text().and_then(parse_token).filter(|_| channel == self.check_channel);
                let has_room = self.requests.len() < MAX_REQUESTS;
                self.requests.extend(token.filter(|_| has_room));
                true
            }
            Some(b"subscribe") => {
                // From here on a snapshot shows it.
                if matches!(Announcement::parse(channel), Some((_, Announcement::Subscribers { .. }))) {
                    let heartbeat = self.state.latest_heartbeat().map(<[u8]>::to_vec);
                    self.mode.news.announced(heartbeat.into_iter().chain([channel.to_vec()]));
                }
                false
            }
            _ => false,
        }
    }

    /// Has subscriptions that have begun announced as soon as the last such announcement is a while ago.
    fn announce_soon(&mut self) {
        let now = Instant::now();
        let not_before = self.announced_at.map_or(now, |last| last + ANNOUNCING_PAUSE);
        self.announce_at.get_or_insert(now.max(not_before));
    }

    /// Announces what has begun, after what has ended has been withdrawn.
    async fn announce(&mut self) -> Result<(), Error> {
        self.announce_at = None;
        self.announced_at = Some(Instant::now());
        self.withdraw().await?;
        let changes = self.state.announce();
        self.send(&changes).await
    }

    /// Answers those who have asked for a check, if this proxy has read everything that had come when they asked.
    async fn check(&mut self) -> Result<(), Error> {
        let requests = std::mem::take(&mut self.requests);
        self.check_server()?;
        for _ in 0..CHECK_ATTEMPTS {
            if timeout(self.mode.settings.interval, self.mode.workers.turn()).await.is_err() {
                return Ok(());
            }
            if !self.mode.registry.is_behind() {
                self.follow_policy();
                self.withdraw().await?;
                let changes = self.state.answer(requests);
                return self.send(&changes).await;
            }
            sleep(CHECK_PAUSE).await;
        }
        Ok(())
    }

    /// Withdraws what is announced with too high a count.
    async fn withdraw(&mut self) -> Result<(), Error> {
        let policy = &self.policy;
        let announceable = |topic: &Topic, count| if is_searched(policy, topic) { count } else { 0 };
        let changes = self.mode.registry.take_changes().into_iter();
        self.state.set_counts(changes.map(|(topic, count)| (Arc::clone(&topic), announceable(&topic, count))));
        let (topics, changes) = self.state.withdraw_decreased();
        self.mode.news.withdrawn(topics);
        self.send(&changes).await
    }

    /// Announces all changes and a new heartbeat. Without a turn of every thread that carries connections there is no
    /// heartbeat, because a thread that hangs does not notice that its connections have ended.
    async fn heartbeat(&mut self) -> Result<(), Error> {
        self.check_server()?;
        if timeout(self.mode.settings.interval, self.mode.workers.turn()).await.is_err() {
            tracing::debug!("a thread that carries connections is late; no beat is announced");
            return Ok(());
        }
        self.mode.registry.review();
        self.follow_policy();
        self.withdraw().await?;
        let changes = self.state.heartbeat(self.mode.settings.interval, self.policy.strip_limit() as u64);
        self.send(&changes).await
    }

    /// Fails if the connection that polls leads to another server.
    fn check_server(&self) -> Result<(), Error> {
        if self.mode.server.is_current(&self.server) { Ok(()) } else { Err(Error::Closed) }
    }

    /// Takes over the policy in force.
    fn follow_policy(&mut self) {
        let policy = self.mode.policy.current();
        if !Arc::ptr_eq(&policy, &self.policy) {
            self.policy = policy;
            // Each topic may be announced now that was not before, or the other way round.
            self.mode.registry.mark_all_changed();
        }
    }

    async fn send(&mut self, changes: &Changes) -> Result<(), Error> {
        let requests = changes.requests();
        if requests.is_empty() { Ok(()) } else { self.connection.send(&requests).await }
    }
}

/// Whether every message of a subscription to `topic` is searched for a context.
fn is_searched(policy: &Policy, topic: &Topic) -> bool {
    match topic.kind {
        // A message by a pattern may be on any channel.
        SubscriptionKind::Pattern => !policy.uses(Mode::Observe) && !policy.keeps_unproven(),
        SubscriptionKind::Channel | SubscriptionKind::Shard => policy.strips(&topic.name),
    }
}

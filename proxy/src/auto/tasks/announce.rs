//! Announces what this proxy's connections are subscribed to, over a connection of its own.

use std::sync::Arc;

use redistributed_core::policy::{Mode, Policy};
use redistributed_core::service::SubscriptionKind;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::backoff::{Backoff, Purpose};
use crate::auto::AutoMode;
use crate::auto::announcement_state::{AnnouncementState, Changes};
use crate::auto::server_identity::ServerIdentity;
use crate::auto::topic::Topic;
use crate::auto::withdrawal::{self, Withdrawal};
use crate::redis::{Connection, Error, Reply};

const PURPOSE: Purpose =
    Purpose { task: "announcing subscriptions", without: "no context is added where this proxy's services subscribe" };

/// Announces for as long as the future is polled. Does not connect before something is to be announced.
pub(in crate::auto) async fn run(mode: Arc<AutoMode>) {
    let mut backoff = Backoff::new(PURPOSE, &mode);
    loop {
        // While nothing is announced, changes would only pile up.
        mode.registry.take_changes();
        if !mode.announces() {
            sleep(mode.settings.interval).await;
            continue;
        }
        let result = match Announcer::connect(&mode).await {
            Ok(mut announcer) => announcer.run(&mut backoff).await.inspect_err(|_| mode.lost_connection()),
            Err(error) => Err(error),
        };
        let Err(error) = result else { continue };
        sleep(backoff.failed(&error)).await;
    }
}

/// A connection that announces.
struct Announcer<'a> {
    mode: &'a AutoMode,
    connection: Connection,
    server: ServerIdentity,
    state: AnnouncementState,
    /// The policy by which subscriptions are announced.
    policy: Arc<Policy>,
}

impl<'a> Announcer<'a> {
    async fn connect(mode: &'a AutoMode) -> Result<Self, Error> {
        let (connection, server) = super::connect_and_track(mode).await?;
        mode.registry.review();
        mode.registry.mark_all_changed();
        let state = AnnouncementState::new(mode.new_announcer_id());
        Ok(Self { mode, connection, server, state, policy: mode.policy.current() })
    }

    /// Returns `Ok` once nothing is to be announced any more.
    async fn run(&mut self, backoff: &mut Backoff) -> Result<(), Error> {
        let mut ticks = interval(self.mode.settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.mode.registry.decreased.notified() => self.withdraw().await?,
                _ = ticks.tick() => {
                    if !self.mode.announces() {
                        return Ok(());
                    }
                    if !self.mode.server.is_current(&self.server) {
                        // The connection that polls leads to another server.
                        return Err(Error::Closed);
                    }
                    self.heartbeat().await?;
                }
                reply = self.connection.next() => match reply? {
                    Reply::Error(refusal) => return Err(refusal.into()),
                    Reply::Array(parts) if is_withdrawal(&parts) => {
                        let payload = parts.get(2).and_then(Reply::text).unwrap_or_default();
                        self.mode.cache.withdraw(&Withdrawal::parse(payload));
                    }
                    _ => backoff.succeeded(),
                }
            }
        }
    }

    /// Withdraws what is announced with too high a count.
    async fn withdraw(&mut self) -> Result<(), Error> {
        let policy = &self.policy;
        let announceable = |topic: &Topic, count| if is_searched(policy, topic) { count } else { 0 };
        let changes = self.mode.registry.take_changes().into_iter();
        self.state.set_counts(changes.map(|(topic, count)| (Arc::clone(&topic), announceable(&topic, count))));
        let (topics, changes) = self.state.withdraw_decreased();
        self.mode.withdrawals.push(topics);
        self.send(&changes).await
    }

    /// Announces all changes and a new heartbeat. Without a turn of every thread that carries connections there is no
    /// heartbeat, because a thread that hangs does not notice that its connections have ended.
    async fn heartbeat(&mut self) -> Result<(), Error> {
        if timeout(self.mode.settings.interval, self.mode.workers.turn()).await.is_err() {
            tracing::debug!("a thread that carries connections is late; no beat is announced");
            return Ok(());
        }
        self.mode.registry.review();
        let policy = self.mode.policy.current();
        if !Arc::ptr_eq(&policy, &self.policy) {
            self.policy = policy;
            // Each topic may be announced now that was not before, or the other way round.
            self.mode.registry.mark_all_changed();
        }
        self.withdraw().await?;
        let changes = self.state.heartbeat(self.mode.settings.interval, self.policy.strip_limit() as u64);
        self.send(&changes).await
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
        SubscriptionKind::Pattern => !policy.uses(Mode::Observe),
        SubscriptionKind::Channel | SubscriptionKind::Shard => policy.strips(&topic.name),
    }
}

/// Whether these are the elements of a message on the channel for withdrawals.
fn is_withdrawal(message: &[Reply]) -> bool {
    matches!(message, [kind, channel, _]
        if kind.text() == Some(b"message") && channel.text() == Some(withdrawal::CHANNEL))
}

//! Polls Redis for snapshots, over a connection of its own, and evaluates them.
//!
//! There is one snapshot in each interval, and only while services publish in mode `auto`.

use std::sync::Arc;
use std::time::Duration;

use redistributed_core::service::SubscriptionKind;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::backoff::{Backoff, Purpose};
use crate::auto::AutoMode;
use crate::auto::decision::Evaluator;
use crate::auto::discovery::{DiscoveredAnnouncements, SearchSchedule};
use crate::auto::server_identity::ServerIdentity;
use crate::auto::snapshot::{Query, QueryResult, Snapshot, Unanswered};
use crate::auto::topic::Topic;
use crate::clock;
use crate::redis::{Connection, Error, ProtocolError};

const PURPOSE: Purpose = Purpose { task: "the snapshots", without: "no context is added in this mode" };

/// After this many intervals without a publish, Redis is no longer asked about a channel.
const IDLE_INTERVALS: u32 = 30;

/// Polls for as long as the future is polled.
pub(in crate::auto) async fn run(mode: Arc<AutoMode>) {
    let mut backoff = Backoff::new(PURPOSE, &mode);
    loop {
        // There is no connection before a service publishes in this mode.
        mode.cache.added.notified().await;
        while !mode.cache.topics_to_poll(idle_since(&mode)).is_empty() {
            let result = match Poller::connect(&mode).await {
                Ok(mut poller) => poller.run(&mut backoff).await.inspect_err(|_| mode.lost_connection()),
                Err(error) => Err(error),
            };
            let Err(error) = result else { break };
            sleep(backoff.failed(&error)).await;
        }
    }
}

fn idle_since(mode: &AutoMode) -> u64 {
    clock::now().0.saturating_sub(nanos(mode.settings.interval * IDLE_INTERVALS))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A connection that polls.
struct Poller<'a> {
    mode: &'a AutoMode,
    connection: Connection,
    server: ServerIdentity,
    evaluator: Evaluator,
    discovered: DiscoveredAnnouncements,
    search: SearchSchedule,
    /// Redis does not let the proxy list clients.
    client_list_refused: bool,
    /// Redis does not tell the subscribers of shard channels.
    shard_channels_refused: bool,
}

impl<'a> Poller<'a> {
    async fn connect(mode: &'a AutoMode) -> Result<Self, Error> {
        let (connection, server) = super::connect_and_track(mode).await?;
        Ok(Self {
            mode,
            connection,
            server,
            evaluator: Evaluator::new(),
            discovered: DiscoveredAnnouncements::default(),
            search: SearchSchedule::default(),
            client_list_refused: false,
            shard_channels_refused: false,
        })
    }

    /// Returns `Ok` once no service publishes in this mode any more.
    async fn run(&mut self, backoff: &mut Backoff) -> Result<(), Error> {
        let mut ticks = interval(self.mode.settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                // No reply is outstanding here, so the only thing to come is the end of the connection.
                unexpected = self.connection.next() => {
                    unexpected?;
                    return Err(ProtocolError::Unexpected.into());
                }
            }
            let topics = self.mode.cache.topics_to_poll(idle_since(self.mode));
            if topics.is_empty() {
                self.mode.cache.clear();
                return Ok(());
            }
            if !self.mode.server.is_current(&self.server) {
                // The connection that announces leads to another server.
                return Err(Error::Closed);
            }
            for (topic, _) in topics.iter().filter(|(_, invalidated)| *invalidated) {
                self.evaluator.invalidate(topic);
            }
            let Some(snapshot) = self.snapshot(topics.iter().map(|(topic, _)| topic)).await? else { continue };
            let decisions = self.evaluator.evaluate(&snapshot);
            let fresh_until = snapshot.at.saturating_add(nanos(self.mode.settings.interval * 2));
            for topic in self.mode.cache.update(decisions, fresh_until) {
                self.evaluator.invalidate(&topic);
            }
            backoff.succeeded();
        }
    }

    /// Takes a snapshot. Returns `None` if Redis refused a question that the next snapshot does without.
    async fn snapshot(&mut self, topics: impl Iterator<Item = &Topic>) -> Result<Option<Snapshot>, Error> {
        let (channels, mut shard_channels): (Vec<_>, Vec<_>) =
            topics.partition(|topic| topic.kind == SubscriptionKind::Channel);
        if self.shard_channels_refused {
            shard_channels.clear();
        }
        let (at, started) = (clock::now().0, Instant::now());
        let polled = || channels.iter().chain(&shard_channels).copied();
        let known = (!self.search.is_due(started)).then(|| self.discovered.expected(polled(), at));
        let with_clients = self.evaluator.needs_client_list() && !self.client_list_refused;
        let ignore_replicas = self.mode.settings.ignore_replicas;
        let query = Query { channels, shard_channels, known, with_clients, ignore_replicas };
        let replies = self.connection.pipeline(&query.requests()).await?;
        match query.read(at, replies) {
            Ok(QueryResult { snapshot, searched_channels }) => {
                if let Some(channels) = searched_channels {
                    self.search.searched(started, channels);
                }
                self.discovered.update(searched_channels.is_some(), &snapshot.announcements, at);
                Ok(Some(snapshot))
            }
            Err(Unanswered::ClientListRefused) => {
                self.client_list_refused = true;
                tracing::warn!(
                    "Redis does not let the proxy list clients (its user needs +client|list): in mode auto, channels \
                     that a pattern subscription matches get no context"
                );
                Ok(None)
            }
            Err(Unanswered::ShardChannelsRefused) => {
                self.shard_channels_refused = true;
                tracing::warn!(
                    "Redis does not tell who is subscribed to shard channels (7.0 does, to a user with \
                     +pubsub|shardnumsub): in mode auto they get no context"
                );
                Ok(None)
            }
            Err(Unanswered::Failed(error)) => Err(error),
        }
    }
}

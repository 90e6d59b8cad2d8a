//! Polls Redis for snapshots, over a connection of its own, and evaluates them.
//!
//! There is one snapshot in each interval, and only while services publish in mode `auto` or proxies announce subscribers. When
//! something has changed, there are more of them until the receivers are proven again: each asks the announcers concerned for a
//! check (see [`Evaluator`]), and the next ones look for their answers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use redistributed_core::policy::Mode;
use redistributed_core::service::{NotProven, SubscriptionKind};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use crate::auto::AutoMode;
use crate::auto::announcement::check_channel;
use crate::auto::decision::Evaluator;
use crate::auto::discovery::{DiscoveredAnnouncements, SearchSchedule};
use crate::auto::server_identity::{ServerIdentity, Watched};
use crate::auto::snapshot::{Query, QueryResult, Snapshot, Unanswered};
use crate::auto::topic::Topic;
use crate::clock;
use crate::redis::{Backoff, Connection, Error, ProtocolError, Purpose, Requests};

const PURPOSE: Purpose = Purpose {
    feature: "mode auto",
    task: "the snapshots",
    without: "no context is added in this mode",
    page: "proxy/docs/auto.md",
};

/// After this many intervals without a publish, Redis is no longer asked about a channel that nobody announces.
const IDLE_INTERVALS: u32 = 30;

/// After this many intervals without a publish, Redis is no longer asked about a channel without subscribers.
const GONE_INTERVALS: u32 = 2;

/// The least time from one snapshot to an additional one, and what is added to it for each proxy that announces. With one more
/// after each request for a check, all proxies together take no more than about two thousand additional snapshots in a
/// second.
const PAUSE: Duration = Duration::from_millis(2);
const PAUSE_FOR_EACH_PROXY: Duration = Duration::from_millis(1);

/// The largest number of channels with subscribers among which a new channel is looked for.
const MAX_ACTIVE: usize = 65_536;

/// The time from a request for a check to the snapshot that looks for the answer first.
const ANSWERING: Duration = Duration::from_millis(1);

/// An additional snapshot waits for at least this many times as long as the previous one took.
const PAUSE_BY_DURATION: u32 = 5;

/// Polls for as long as the future is polled.
pub(in crate::auto) async fn run(mode: Arc<AutoMode>) {
    let mut backoff = mode.backoff(PURPOSE);
    loop {
        // There is no connection before a service publishes in this mode or a proxy announces a subscriber.
        mode.cache.outdated.notified().await;
        while mode.policy.current().uses(Mode::Auto) {
            let result = match Poller::connect(&mode).await {
                Ok(mut poller) => poller.run(&mut backoff).await.inspect_err(|_| mode.lost_connection(&poller.watched)),
                Err(error) => Err(error),
            };
            let Err(error) = result else { break };
            sleep(backoff.failed(&error)).await;
        }
    }
}

/// The time so many intervals ago.
fn intervals_ago(mode: &AutoMode, count: u32) -> u64 {
    // A channel without a publish has the time 0.
    clock::now().0.saturating_sub(nanos(mode.settings.interval * count)).max(1)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A connection that polls.
struct Poller<'a> {
    mode: &'a AutoMode,
    watched: Watched,
    connection: Connection,
    server: ServerIdentity,
    evaluator: Evaluator,
    discovered: DiscoveredAnnouncements,
    search: SearchSchedule,
    /// When Redis was last asked for all channels that anybody is subscribed to, and these channels.
    active: Option<(u64, Arc<HashSet<Vec<u8>>>)>,
    /// The token of the next request for a check.
    next_token: u64,
    /// The earliest time of an additional snapshot.
    not_before: Instant,
    /// Whether there is to be an additional snapshot then.
    is_outdated: bool,
    /// Whether to prove who receives messages on channels that only patterns match.
    wants_patterns: bool,
    /// Redis does not let the proxy list clients.
    client_list_refused: bool,
    /// Redis does not tell the subscribers of shard channels.
    shard_channels_refused: bool,
}

impl<'a> Poller<'a> {
    async fn connect(mode: &'a AutoMode) -> Result<Self, Error> {
        let (connection, server, watched) = super::connect_and_track(mode).await?;
        Ok(Self {
            mode,
            watched,
            connection,
            server,
            evaluator: Evaluator::new(),
            discovered: DiscoveredAnnouncements::default(),
            search: SearchSchedule::default(),
            active: None,
            next_token: mode.new_announcer_id().0,
            not_before: Instant::now(),
            is_outdated: false,
            wants_patterns: false,
            client_list_refused: false,
            shard_channels_refused: false,
        })
    }

    /// Returns `Ok` once no service publishes in this mode any more, and no proxy announces a subscriber.
    async fn run(&mut self, backoff: &mut Backoff) -> Result<(), Error> {
        let mut ticks = interval(self.mode.settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = sleep_until(self.not_before), if self.is_outdated => {}
                () = self.mode.cache.outdated.notified(), if !self.is_outdated => {
                    self.is_outdated = true;
                    continue;
                }
                // No reply is outstanding here, so the only thing to come is the end of the connection.
                unexpected = self.connection.next() => {
                    unexpected?;
                    return Err(ProtocolError::Unexpected.into());
                }
            }
            let topics = self.topics();
            if topics.is_empty() && !self.search.is_wanted() || !self.mode.policy.current().uses(Mode::Auto) {
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
            if self.mode.cache.take_patterns_invalidated() {
                self.evaluator.invalidate_patterns();
            }
            self.look_for_patterns();
            let asked_at = Instant::now();
            let Some(snapshot) = self.snapshot(topics.iter().map(|(topic, _)| topic)).await? else { continue };
            let decisions = self.evaluator.evaluate(&snapshot);
            if decisions.iter().any(|(_, decision)| matches!(decision, Err(NotProven::Unproxied | NotProven::Pattern)))
            {
                // Perhaps there is an announcement that nobody has told of.
                self.search.want();
            }
            let fresh_until = self.holds_until(snapshot.at);
            self.mode.cache.update_unseen(if self.evaluator.companions_are_unseen() { fresh_until } else { 0 });
            for topic in self.mode.cache.update(decisions, fresh_until) {
                self.evaluator.invalidate(&topic);
            }
            let shown = self.evaluator.patterns().cloned().zip(self.active.clone());
            let fresh_until = fresh_until.min(self.active.as_ref().map_or(0, |(at, _)| self.holds_until(*at)));
            self.mode.cache.update_patterns(shown.map(|(patterns, (_, active))| (patterns, active)), fresh_until);
            let took = asked_at.elapsed();
            let has_asked = self.ask_for_checks().await?;
            let proxies = u32::try_from(self.discovered.announcers()).unwrap_or(u32::MAX);
            let pause = PAUSE + PAUSE_FOR_EACH_PROXY.saturating_mul(proxies).max(took * PAUSE_BY_DURATION);
            let pause = if has_asked { ANSWERING } else { pause };
            self.not_before = Instant::now() + pause.min(self.mode.settings.interval);
            // The first search may have found channels to ask about.
            let has_found = topics.is_empty() && self.discovered.channels().next().is_some();
            self.is_outdated = has_found || self.evaluator.awaits_answer();
            backoff.succeeded();
        }
    }

    /// Until when that holds which Redis has shown at the time `at`.
    fn holds_until(&self, at: u64) -> u64 {
        at.saturating_add(nanos(self.mode.settings.interval * 2))
    }

    /// Where services publish on channels that only patterns match, all channels have to be known that anybody is subscribed to.
    fn look_for_patterns(&mut self) {
        let publishes = || self.mode.cache.has_publishes(intervals_ago(self.mode, IDLE_INTERVALS));
        let is_wanted = self.discovered.has_patterns() && (self.search.is_cheap() || publishes());
        self.evaluator.want_patterns(is_wanted);
        self.wants_patterns = is_wanted;
        if is_wanted {
            self.search.want();
        } else {
            self.active = None;
        }
    }

    /// The channels to ask about, each with whether its decision was voided since the previous call.
    fn topics(&mut self) -> Vec<(Topic, bool)> {
        let at = clock::now().0;
        let heard = self.mode.take_heard();
        heard.announcements.into_iter().for_each(|channel| self.discovered.hear(channel, at));
        if heard.more {
            self.search.want();
        }
        let policy = self.mode.policy.current();
        let cache = &self.mode.cache;
        cache.adopt(self.discovered.channels().filter(|topic| policy.mode_of(&topic.name) == Mode::Auto));
        let (idle, gone) = (intervals_ago(self.mode, IDLE_INTERVALS), intervals_ago(self.mode, GONE_INTERVALS));
        cache.topics_to_poll(idle, gone, |topic| self.discovered.is_announced(topic))
    }

    /// Asks the announcers that a proof waits for to make sure that what the latest snapshot has shown is true. Returns whether
    /// there are any.
    async fn ask_for_checks(&mut self) -> Result<bool, Error> {
        let announcers: Vec<_> = self.evaluator.to_ask().collect();
        if announcers.is_empty() {
            return Ok(false);
        }
        let (mut requests, at) = (Requests::new(), clock::now().0);
        for announcer in announcers {
            let token = self.next_token;
            self.next_token = token.wrapping_add(1);
            self.evaluator.ask(announcer, token, at);
            let (channel, token) = (check_channel(announcer), token.to_string());
            requests.push([&b"PUBLISH"[..], &channel, token.as_bytes()]);
        }
        // Where Redis refuses, heartbeats complete the proof.
        self.connection.pipeline(&requests).await.map(|_| true)
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
        let known = (!self.search.is_due(started)).then(|| {
            let expected = self.discovered.expected(polled(), at).into_iter();
            expected.chain(self.evaluator.expected_answers()).collect()
        });
        let with_clients = self.evaluator.needs_client_list() && !self.client_list_refused;
        let ignore_replicas = self.mode.settings.ignore_replicas;
        let all_channels = self.wants_patterns;
        let query = Query { channels, shard_channels, known, all_channels, with_clients, ignore_replicas };
        let replies = self.connection.pipeline(&query.requests()).await?;
        match query.read(at, replies) {
            Ok(QueryResult { mut snapshot, searched_channels }) => {
                let active = snapshot.active.take().filter(|active| active.len() <= MAX_ACTIVE);
                self.active = active.map(|active| (at, Arc::new(active))).or(self.active.take());
                if let Some(channels) = searched_channels {
                    self.search.searched(started, channels);
                }
                self.discovered.update(query.known.as_deref(), &snapshot.announcements, at);
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

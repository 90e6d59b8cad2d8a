//! Whether every subscriber of a channel is known to be behind a proxy, decided from snapshots of Redis alone.
//!
//! A snapshot shows, for one instant, how many clients are subscribed and how many of them proxies have announced. If both
//! numbers are equal, and no proxy announces more clients than it has, then every subscriber is behind a proxy. But for a
//! moment a proxy does announce more than it has: when a client has left Redis and the proxy has not withdrawn it yet. If
//! a client without a proxy subscribes in that moment, the numbers are equal and the conclusion is wrong.
//!
//! So one matching snapshot proves nothing. A later snapshot completes the proof, once every announcer concerned has made
//! sure that it has noticed what happened before the first snapshot, and every announcement concerned has stayed in place,
//! which its serial number shows. A client that had left before the first snapshot would have been withdrawn by then. The
//! numbers at the first snapshot were therefore equal because every subscriber was behind a proxy.
//!
//! An announcer shows in either of two ways that it has noticed:
//!
//! - It has sent [`HEARTBEATS_TO_PROVE`] more heartbeats. Before each, a proxy makes sure that all of its connections are
//!   being read, and withdraws those that have ended.
//! - It has answered a request for a check ([`Evaluator::ask`]), which was sent after the first snapshot had arrived. Before it
//!   answers, a proxy makes sure that all of its connections have been read to the end of what has come, and withdraws those
//!   that have ended. That takes a round trip instead of three intervals. A proxy that cannot make sure does not answer.
//!
//! A client that subscribes after a snapshot is seen by the next one. Until then, the reply to each publish shows it (see
//! [`super::cache`]).
//!
//! Times are in nanoseconds of a clock that never goes back. The caller passes them in.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use redistributed_core::service::{NotProven, SubscriptionKind};

use super::announcement::{Announcement, AnnouncerId, Heartbeat};
use super::patterns::{PatternCounts, PatternReceivers};
use super::snapshot::Snapshot;
use super::topic::Topic;

/// The number of heartbeats after which what an announcer announced in a snapshot is proven. The first heartbeat after the
/// snapshot may have been prepared before it. Before the second, the proxy notices a connection that it does not read.
/// Before the third, it withdraws that connection.
pub const HEARTBEATS_TO_PROVE: u64 = 3;

/// How long an announcer that was asked for a check is expected to answer, in nanoseconds.
const ANSWER_TIME: u64 = 100_000_000;

/// How long an announcer that has not answered is not asked again, in nanoseconds.
const ASKING_PAUSE: u64 = 1_000_000_000;

/// The largest number of requests for a check that are remembered of one announcer.
const MAX_ASKED: usize = 8;

/// An announcer that has sent no heartbeat for this many of its intervals is no longer trusted.
pub const MISSED_HEARTBEATS: u32 = 3;

/// The receivers of a publish, if all of them are known to be behind proxies; otherwise the reason why they are not.
pub type Decision = Result<ProvenReceivers, NotProven>;

/// Receivers that are all known to be behind proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvenReceivers {
    /// The number of receivers that Redis will report for a publish.
    pub count: u32,
    /// The length in bytes of the longest message that all of their proxies search for a context.
    pub search_limit: u64,
    /// The snapshot, counted from 1, at which every subscriber was behind a proxy.
    pub proven_at: u64,
}

/// Decides from each snapshot and from what it remembers of those before.
#[derive(Debug, Default)]
pub struct Evaluator {
    /// The number of snapshots so far, which is also the number of the latest one.
    snapshots: u64,
    heartbeats: BTreeMap<AnnouncerId, HeartbeatHistory>,
    matches: HashMap<Topic, MatchingRun>,
    hasher: RandomState,
    needs_client_list: bool,
    /// Whether to prove that all subscriptions to patterns are behind proxies.
    wants_patterns: bool,
    /// The subscriptions to patterns, if the latest snapshot has shown that all of them are behind proxies.
    patterns: Option<PatternReceivers>,
    /// Whether the latest snapshot has shown that nobody is subscribed to a pattern that may match companion channels.
    companions_are_unseen: bool,
    /// The announcers that a proof waits for, and that have not been asked for a check that could complete it.
    to_ask: BTreeSet<AnnouncerId>,
    /// Whether a proof waits for an announcer at all.
    is_proving: bool,
}

/// The heartbeats of one announcer.
#[derive(Debug)]
struct HeartbeatHistory {
    /// The sequence number of each of the latest heartbeats, with the last snapshot that showed it.
    recent: VecDeque<(u64, u64)>,
    /// When the latest heartbeat was first seen.
    latest_seen: u64,
    /// The last snapshot that has been followed by [`HEARTBEATS_TO_PROVE`] heartbeats; 0 if there is none.
    proven_up_to: u64,
    search_limit: u64,
    /// The latest requests for a check.
    asked: VecDeque<Asked>,
}

/// A request for a check.
#[derive(Clone, Copy, Debug)]
struct Asked {
    token: u64,
    /// The snapshot that had arrived before the request was sent.
    snapshot: u64,
    at: u64,
}

/// Consecutive snapshots in which all subscribers of a topic were announced, by the same announcements.
#[derive(Clone, Copy, Debug)]
struct MatchingRun {
    first: u64,
    last: u64,
    /// A hash of the announcements.
    announcements: u64,
}

/// An announcement of subscribers by an announcer that is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Announced {
    announcer: AnnouncerId,
    serial: u64,
    count: u32,
}

/// The subscribers that the announcements of one snapshot announce.
#[derive(Default)]
struct AnnouncedSubscribers {
    channels: HashMap<Topic, Vec<Announced>>,
    patterns: Vec<(Box<[u8]>, Announced)>,
}

impl Evaluator {
    /// Creates an evaluator that has seen no snapshot.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requires a new proof for the receivers of `topic`, from the next snapshot on.
    pub fn invalidate(&mut self, topic: &Topic) {
        self.matches.remove(topic);
    }

    /// Says whether to prove that all subscriptions to patterns are behind proxies, from the next snapshot on.
    pub fn want_patterns(&mut self, wanted: bool) {
        self.wants_patterns = wanted;
        self.needs_client_list |= wanted;
    }

    /// The subscriptions to patterns, if the latest snapshot has shown that all of them are behind proxies.
    pub fn patterns(&self) -> Option<&PatternReceivers> {
        self.patterns.as_ref()
    }

    /// Whether the latest snapshot has shown that nobody is subscribed to a pattern that may match companion channels.
    pub fn companions_are_unseen(&self) -> bool {
        self.companions_are_unseen
    }

    /// Requires a new proof for the subscriptions to patterns.
    pub fn invalidate_patterns(&mut self) {
        self.matches.remove(&all_patterns());
    }

    /// Whether the next snapshot should report the pattern subscriptions of all clients.
    pub fn needs_client_list(&self) -> bool {
        self.needs_client_list
    }

    /// The announcers to ask for a check now, so that what the latest snapshot has shown is proven soon.
    pub fn to_ask(&self) -> impl Iterator<Item = AnnouncerId> {
        self.to_ask.iter().copied()
    }

    /// Whether an announcer has been asked for a check that would complete a proof, and may still answer.
    pub fn awaits_answer(&self) -> bool {
        self.is_proving
    }

    /// Records that a request for a check with this token, which is not used again, is sent to `announcer` at the time `at`,
    /// after the latest snapshot.
    pub fn ask(&mut self, announcer: AnnouncerId, token: u64, at: u64) {
        let Some(history) = self.heartbeats.get_mut(&announcer) else { return };
        if history.asked.len() >= MAX_ASKED {
            history.asked.pop_front();
        }
        history.asked.push_back(Asked { token, snapshot: self.snapshots, at });
        self.is_proving = true;
    }

    /// The channels of the answers that may come.
    pub fn expected_answers(&self) -> impl Iterator<Item = Vec<u8>> {
        self.heartbeats.iter().flat_map(|(announcer, history)| {
            history.asked.iter().map(|asked| Announcement::Checked { token: asked.token }.to_channel(*announcer))
        })
    }

    /// Decides about every topic whose subscribers the snapshot reports.
    pub fn evaluate(&mut self, snapshot: &Snapshot) -> Vec<(Topic, Decision)> {
        self.snapshots += 1;
        let announced = self.announced_subscribers(snapshot);
        let patterns = Patterns::new(&announced, snapshot);
        // Those who are subscribed on other servers are not known.
        self.companions_are_unseen = snapshot.other_servers.is_none()
            && patterns.all_announced
            && !announced.patterns.iter().any(|(pattern, _)| may_match_companions(pattern));
        self.needs_client_list = false;
        self.to_ask.clear();
        self.is_proving = false;
        let previous = std::mem::take(&mut self.matches);
        let mut decisions = Vec::with_capacity(snapshot.subscribers.len());
        for (topic, &subscribers) in &snapshot.subscribers {
            let exact = announced.channels.get(topic).map_or(&[][..], Vec::as_slice);
            let by_pattern = if topic.kind == SubscriptionKind::Channel { &*announced.patterns } else { &[] };
            let decision = match self.matching_receivers(topic, subscribers, exact, &patterns, snapshot) {
                Err(reason) => Err(reason),
                Ok(receivers) => {
                    let concerned = || exact.iter().chain(by_pattern.iter().map(|(_, announced)| announced));
                    let run = self.extend_run(previous.get(topic), concerned());
                    self.matches.insert(topic.clone(), run);
                    self.prove(run, receivers, concerned(), snapshot.at)
                }
            };
            decisions.push((topic.clone(), decision));
        }
        self.patterns = self.prove_patterns(&announced, patterns, snapshot, previous.get(&all_patterns()));
        decisions
    }

    /// The subscriptions to patterns, if this snapshot shows that all of them are behind proxies.
    fn prove_patterns(
        &mut self,
        announced: &AnnouncedSubscribers,
        patterns: Patterns,
        snapshot: &Snapshot,
        previous: Option<&MatchingRun>,
    ) -> Option<PatternReceivers> {
        let is_complete = patterns.all_announced && snapshot.pattern_subscriptions == Some(patterns.counts.total());
        if !self.wants_patterns || snapshot.other_servers.is_some() || announced.patterns.is_empty() || !is_complete {
            return None;
        }
        self.needs_client_list = true;
        let concerned = || announced.patterns.iter().map(|(_, announced)| announced);
        let run = self.extend_run(previous, concerned());
        self.matches.insert(all_patterns(), run);
        let ProvenReceivers { search_limit, .. } = self.prove(run, 0, concerned(), snapshot.at).ok()?;
        Some(PatternReceivers { counts: Arc::new(patterns.counts), search_limit })
    }

    /// Parses the announcements of the snapshot, and keeps those of announcers that are trusted.
    fn announced_subscribers(&mut self, snapshot: &Snapshot) -> AnnouncedSubscribers {
        let announcements: Vec<_> =
            snapshot.announcements.iter().filter_map(|channel| Announcement::parse(channel)).collect();
        let trusted = self.trusted_announcers(&announcements, snapshot.at);
        let mut smallest: HashMap<(AnnouncerId, Topic), Announced> = HashMap::new();
        for (announcer, announcement) in announcements {
            let Announcement::Subscribers { topic, serial, count } = announcement else { continue };
            if !trusted.contains(&announcer) {
                continue;
            }
            let announced = Announced { announcer, serial, count };
            match smallest.entry((announcer, topic)) {
                Entry::Vacant(entry) => drop(entry.insert(announced)),
                // An announcer that changes its count may show both. Then at most the smaller is true.
                Entry::Occupied(mut entry) if announced.count < entry.get().count => drop(entry.insert(announced)),
                Entry::Occupied(_) => {}
            }
        }
        let mut subscribers = AnnouncedSubscribers::default();
        for ((_, topic), announced) in smallest {
            match topic.kind {
                SubscriptionKind::Pattern => subscribers.patterns.push((topic.name, announced)),
                _ => subscribers.channels.entry(topic).or_default().push(announced),
            }
        }
        subscribers
    }

    /// Records the heartbeats of a snapshot, and returns the announcers whose latest heartbeat is recent enough.
    fn trusted_announcers(&mut self, announcements: &[(AnnouncerId, Announcement)], at: u64) -> HashSet<AnnouncerId> {
        let mut latest: HashMap<AnnouncerId, Heartbeat> = HashMap::new();
        for (announcer, announcement) in announcements {
            if let Announcement::Heartbeat(heartbeat) = announcement {
                // There are two from the moment at which the new one begins until the old one has ended.
                let latest = latest.entry(*announcer).or_insert(*heartbeat);
                *latest = (*latest).max(*heartbeat);
            }
        }
        self.heartbeats.retain(|announcer, _| latest.contains_key(announcer));
        let mut trusted = HashSet::new();
        for (announcer, heartbeat) in latest {
            let history = self.heartbeats.entry(announcer).or_insert_with(|| HeartbeatHistory::new(at));
            history.record(self.snapshots, heartbeat, at);
            history.asked.retain(|asked| at.saturating_sub(asked.at) <= ASKING_PAUSE);
            let limit = u64::try_from((heartbeat.interval * MISSED_HEARTBEATS).as_nanos()).unwrap_or(u64::MAX);
            if at.saturating_sub(history.latest_seen) <= limit {
                trusted.insert(announcer);
            }
        }
        for (announcer, announcement) in announcements {
            if let Announcement::Checked { token } = announcement
                && let Some(history) = self.heartbeats.get_mut(announcer)
            {
                history.answered(*token);
            }
        }
        trusted
    }

    /// The number of receivers, if every one of them is announced in this snapshot.
    fn matching_receivers(
        &mut self,
        topic: &Topic,
        subscribers: u64,
        exact: &[Announced],
        patterns: &Patterns,
        snapshot: &Snapshot,
    ) -> Result<u32, NotProven> {
        if let Some(reason) = snapshot.other_servers {
            return Err(reason);
        }
        let announced = exact.iter().map(|announced| u64::from(announced.count)).sum::<u64>();
        if announced != subscribers {
            return Err(NotProven::Unproxied);
        }
        let mut receivers = announced;
        if topic.kind == SubscriptionKind::Channel {
            if !patterns.all_announced {
                return Err(NotProven::Pattern);
            }
            let matching = patterns.counts.matching(&topic.name);
            if matching > 0 {
                self.needs_client_list = true;
                if snapshot.pattern_subscriptions != Some(patterns.counts.total()) {
                    return Err(NotProven::Pattern);
                }
            }
            receivers += matching;
        }
        match u32::try_from(receivers) {
            Ok(0) => Err(NotProven::Nobody),
            Ok(receivers) => Ok(receivers),
            Err(_) => Err(NotProven::NoEvidence),
        }
    }

    fn extend_run<'a>(
        &self,
        previous: Option<&MatchingRun>,
        concerned: impl Iterator<Item = &'a Announced>,
    ) -> MatchingRun {
        // Their order does not matter, so each is hashed by itself.
        let hashes = concerned.map(|announced| self.hasher.hash_one(announced));
        let announcements = hashes.fold(0, u64::wrapping_add);
        let last = self.snapshots;
        match previous {
            Some(run) if run.last + 1 == last && run.announcements == announcements => MatchingRun { last, ..*run },
            _ => MatchingRun { first: last, last, announcements },
        }
    }

    fn prove<'a>(
        &mut self,
        run: MatchingRun,
        count: u32,
        concerned: impl Iterator<Item = &'a Announced>,
        at: u64,
    ) -> Decision {
        let (mut proven_at, mut search_limit) = (u64::MAX, u64::MAX);
        for announcer in concerned.map(|announced| announced.announcer) {
            let Some(history) = self.heartbeats.get(&announcer) else { continue };
            proven_at = proven_at.min(history.proven_up_to);
            search_limit = search_limit.min(history.search_limit);
            if history.proven_up_to < run.first {
                if history.may_answer(run.first, at) {
                    self.is_proving = true;
                } else if !history.has_not_answered(at) {
                    self.to_ask.insert(announcer);
                }
            }
        }
        if proven_at < run.first {
            return Err(NotProven::Proving);
        }
        Ok(ProvenReceivers { count, search_limit, proven_at })
    }
}

impl HeartbeatHistory {
    fn new(at: u64) -> Self {
        Self { recent: VecDeque::new(), latest_seen: at, proven_up_to: 0, search_limit: 0, asked: VecDeque::new() }
    }

    /// Takes over that the announcer has answered the request with this token.
    fn answered(&mut self, token: u64) {
        let Some(index) = self.asked.iter().position(|asked| asked.token == token) else { return };
        let requests = self.asked.drain(..=index);
        self.proven_up_to = requests.map(|asked| asked.snapshot).fold(self.proven_up_to, u64::max);
    }

    /// Whether the announcer has lately left a request unanswered. The heartbeats have to complete the proof then.
    fn has_not_answered(&self, at: u64) -> bool {
        self.asked.iter().any(|asked| at.saturating_sub(asked.at) > ANSWER_TIME)
    }

    /// Whether the announcer was asked for a check after the snapshot `first`, and may still answer at the time `at`.
    fn may_answer(&self, first: u64, at: u64) -> bool {
        self.asked.iter().any(|asked| asked.snapshot >= first && at.saturating_sub(asked.at) <= ANSWER_TIME)
    }

    fn record(&mut self, snapshot: u64, heartbeat: Heartbeat, at: u64) {
        match self.recent.back_mut() {
            Some((sequence, last_shown)) if *sequence == heartbeat.sequence => *last_shown = snapshot,
            Some((sequence, _)) if *sequence > heartbeat.sequence => *self = Self::new(at),
            _ => {
                self.latest_seen = at;
                self.recent.push_back((heartbeat.sequence, snapshot));
            }
        }
        self.search_limit = heartbeat.search_limit;
        while let Some(&(sequence, last_shown)) = self.recent.front()
            && heartbeat.sequence.saturating_sub(sequence) >= HEARTBEATS_TO_PROVE
        {
            self.proven_up_to = self.proven_up_to.max(last_shown);
            self.recent.pop_front();
        }
    }
}

/// The patterns of one snapshot.
struct Patterns {
    /// The announced subscriptions.
    counts: PatternCounts,
    /// Whether every pattern that clients are subscribed to is announced.
    all_announced: bool,
}

/// Whether a pattern may match a companion channel. Their names begin with `__`.
fn may_match_companions(pattern: &[u8]) -> bool {
    pattern.first().is_some_and(|first| b"_*?[\\".contains(first))
}

/// The key of the run in which all subscriptions to patterns were announced. Nobody publishes on it.
fn all_patterns() -> Topic {
    Topic::new(SubscriptionKind::Pattern, b"")
}

impl Patterns {
    fn new(announced: &AnnouncedSubscribers, snapshot: &Snapshot) -> Self {
        let mut counts: BTreeMap<&[u8], u64> = BTreeMap::new();
        for (pattern, announced) in &announced.patterns {
            *counts.entry(pattern).or_default() += u64::from(announced.count);
        }
        let all_announced = counts.len() as u64 == snapshot.patterns;
        Self { counts: PatternCounts::new(counts.into_iter()), all_announced }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

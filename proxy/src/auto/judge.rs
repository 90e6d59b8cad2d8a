//! Whether every subscriber of a channel is known to be behind a proxy: the verdict, from snapshots of Redis alone.
//!
//! A snapshot shows, at one instant, how many clients are subscribed and how many of them proxies have announced. If both
//! numbers are equal, and no proxy announces more than it has, everybody is behind a proxy. A proxy does announce more
//! than it has for a moment: a client leaves Redis, and the proxy has not retracted it yet. If just then somebody else
//! stands in the gap, the numbers are equal and the conclusion is wrong.
//!
//! So one equal snapshot proves nothing. It is proven by a later one, when each proxy concerned has beaten
//! [`BEATS`] times since, and every announcement concerned has stood unchanged, as its serial number tells. For whoever had
//! left before the first snapshot would have been retracted by then: before a beat a proxy makes sure that all of its
//! connections are being read, and retracts those that ended. Hence at the first snapshot the equality was a true one.
//!
//! Whoever comes after a snapshot is seen by the next one. Until then the reply of each publish tells (see
//! [`super::watch`]).
//!
//! Nothing here has a clock or a socket: times are given, in nanoseconds of a clock that only goes forward.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use redistributed_core::glob::Glob;
use redistributed_core::service::{SubscriptionKind, Unknown};

use super::marker::{Marker, Name, ProxyId};

/// How often a proxy must have beaten for what it announced to count as proven. The beat after the first snapshot may
/// have been prepared before it; before the second a connection that is not read is noticed, before the third it is
/// retracted.
pub const BEATS: u64 = 3;

/// After so many periods without a beat a proxy is not believed any more.
pub const MISSED_BEATS: u32 = 3;

/// What Redis said at one instant.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// When it was asked for, in nanoseconds.
    pub at: u64,
    /// The channels of all markers.
    pub markers: Vec<Vec<u8>>,
    /// Of each channel and shard channel that is watched: how many clients are subscribed.
    pub subscribers: HashMap<Name, u64>,
    /// How many different patterns are subscribed to.
    pub patterns: u64,
    /// How many subscriptions to patterns all clients have together, if that was asked for and answered.
    pub pattern_subscriptions: Option<u64>,
    /// Why subscribers elsewhere may get messages too.
    pub elsewhere: Option<Unknown>,
}

/// An audience that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// How many receivers a publish has.
    pub receivers: u32,
    /// Longest message that all of their proxies search, in bytes.
    pub longest: u64,
    /// The snapshot, counted from 1, at which everybody was certainly behind a proxy.
    pub proven: u64,
}

/// What is remembered from snapshot to snapshot.
#[derive(Debug, Default)]
pub struct Judge {
    snapshots: u64,
    pulses: BTreeMap<ProxyId, Pulse>,
    streaks: HashMap<Name, Streak>,
    hasher: RandomState,
    needs_clients: bool,
}

/// What the beats of one proxy tell.
#[derive(Debug)]
struct Pulse {
    /// The last snapshot that showed each of the latest beats.
    beats: VecDeque<(u64, u64)>,
    /// When the last beat was first seen.
    since: u64,
    /// The last snapshot since which there have been enough beats; 0 if there is none.
    settled: u64,
    longest: u64,
}

/// Equal snapshots in a row, with the same announcements.
#[derive(Clone, Copy, Debug)]
struct Streak {
    first: u64,
    last: u64,
    announcements: u64,
}

/// An announcement of a proxy that is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Claim {
    proxy: ProxyId,
    serial: u64,
    count: u32,
}

/// The announcements of one snapshot.
#[derive(Default)]
struct Claims {
    exact: HashMap<Name, Vec<Claim>>,
    patterns: Vec<(Box<[u8]>, Claim)>,
}

impl Judge {
    /// Nothing has been seen.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing that was seen counts any more: snapshots could not be had, or come from elsewhere.
    pub fn forget(&mut self) {
        let snapshots = self.snapshots;
        *self = Self { snapshots, ..Self::default() };
    }

    /// A channel must be proven anew, from the next snapshot on.
    pub fn doubt(&mut self, name: &Name) {
        self.streaks.remove(name);
    }

    /// Whether the next snapshot should say how many subscriptions to patterns all clients have.
    pub fn needs_clients(&self) -> bool {
        self.needs_clients
    }

    /// The number of the last snapshot, from 1.
    pub fn snapshots(&self) -> u64 {
        self.snapshots
    }

    /// The verdict about every channel that the snapshot says something of.
    pub fn judge(&mut self, snapshot: &Snapshot) -> Vec<(Name, Result<Known, Unknown>)> {
        self.snapshots += 1;
        let claims = self.claims(snapshot);
        let patterns = Patterns::of(&claims, snapshot);
        self.needs_clients = false;
        let streaks = std::mem::take(&mut self.streaks);
        let mut verdicts = Vec::with_capacity(snapshot.subscribers.len());
        for (name, &subscribers) in &snapshot.subscribers {
            let exact = claims.exact.get(name).map_or(&[][..], Vec::as_slice);
            let of_patterns = if name.kind == SubscriptionKind::Channel { &*claims.patterns } else { &[] };
            let verdict = match self.equal(name, subscribers, exact, &patterns, snapshot) {
                Err(unknown) => Err(unknown),
                Ok(receivers) => {
                    let concerned = || exact.iter().chain(of_patterns.iter().map(|(_, claim)| claim));
                    let streak = self.streak(streaks.get(name), concerned());
                    self.streaks.insert(name.clone(), streak);
                    self.proven(streak, receivers, concerned())
                }
            };
            verdicts.push((name.clone(), verdict));
        }
        verdicts
    }

    /// What the proxies that are believed announce.
    fn claims(&mut self, snapshot: &Snapshot) -> Claims {
        let markers: Vec<_> = snapshot.markers.iter().filter_map(|channel| Marker::read(channel)).collect();
        let mut beats = HashMap::new();
        for (proxy, marker) in &markers {
            if let Marker::Beat { number, period, longest } = marker {
                // Between a beat and the end of the one before there are two.
                let latest = beats.entry(*proxy).or_insert((*number, *period, *longest));
                *latest = (*latest).max((*number, *period, *longest));
            }
        }
        self.pulses.retain(|proxy, _| beats.contains_key(proxy));
        let mut believed = HashSet::new();
        for (proxy, (number, period, longest)) in beats {
            let pulse = self.pulses.entry(proxy).or_insert_with(|| Pulse::new(snapshot.at));
            pulse.beat(self.snapshots, number, longest, snapshot.at);
            let limit = u64::try_from((period * MISSED_BEATS).as_nanos()).unwrap_or(u64::MAX);
            if snapshot.at.saturating_sub(pulse.since) <= limit {
                believed.insert(proxy);
            }
        }
        let mut claims = Claims::default();
        let mut seen: HashMap<(ProxyId, Name), Claim> = HashMap::new();
        for (proxy, marker) in markers {
            let Marker::Claim { name, serial, count } = marker else { continue };
            if !believed.contains(&proxy) {
                continue;
            }
            let claim = Claim { proxy, serial, count };
            match seen.entry((proxy, name)) {
                Entry::Vacant(entry) => drop(entry.insert(claim)),
                // Two of one proxy for one channel: at most the smaller is true.
                Entry::Occupied(mut entry) if claim.count < entry.get().count => drop(entry.insert(claim)),
                Entry::Occupied(_) => {}
            }
        }
        for ((_, name), claim) in seen {
            match name.kind {
                SubscriptionKind::Pattern => claims.patterns.push((name.text, claim)),
                _ => claims.exact.entry(name).or_default().push(claim),
            }
        }
        claims
    }

    /// How many receivers there are, if all are announced.
    fn equal(
        &mut self,
        name: &Name,
        subscribers: u64,
        exact: &[Claim],
        patterns: &Patterns,
        snapshot: &Snapshot,
    ) -> Result<u32, Unknown> {
        if let Some(elsewhere) = snapshot.elsewhere {
            return Err(elsewhere);
        }
        let announced = exact.iter().map(|claim| u64::from(claim.count)).sum::<u64>();
        if announced != subscribers {
            return Err(Unknown::Unproxied);
        }
        let mut receivers = announced;
        if name.kind == SubscriptionKind::Channel {
            if !patterns.all_announced {
                return Err(Unknown::Pattern);
            }
            let matching = patterns.matching(&name.text);
            if matching > 0 {
                self.needs_clients = true;
                if snapshot.pattern_subscriptions != Some(patterns.subscriptions) {
                    return Err(Unknown::Pattern);
                }
            }
            receivers += matching;
        }
        match u32::try_from(receivers) {
            Ok(0) => Err(Unknown::Nobody),
            Ok(receivers) => Ok(receivers),
            Err(_) => Err(Unknown::NoEvidence),
        }
    }

    fn streak<'a>(&self, before: Option<&Streak>, concerned: impl Iterator<Item = &'a Claim>) -> Streak {
        // Order does not matter, so each is hashed apart.
        let announcements = concerned.fold(0, |sum: u64, claim| sum.wrapping_add(self.hasher.hash_one(claim)));
        let last = self.snapshots;
        match before {
            Some(streak) if streak.last + 1 == last && streak.announcements == announcements => {
                Streak { last, ..*streak }
            }
            _ => Streak { first: last, last, announcements },
        }
    }

    fn proven<'a>(
        &self,
        streak: Streak,
        receivers: u32,
        concerned: impl Iterator<Item = &'a Claim>,
    ) -> Result<Known, Unknown> {
        let (mut proven, mut longest) = (u64::MAX, u64::MAX);
        for pulse in concerned.filter_map(|claim| self.pulses.get(&claim.proxy)) {
            proven = proven.min(pulse.settled);
            longest = longest.min(pulse.longest);
        }
        if proven < streak.first { Err(Unknown::Proving) } else { Ok(Known { receivers, longest, proven }) }
    }
}

impl Pulse {
    fn new(at: u64) -> Self {
        Self { beats: VecDeque::new(), since: at, settled: 0, longest: 0 }
    }

    fn beat(&mut self, snapshot: u64, number: u64, longest: u64, at: u64) {
        match self.beats.back_mut() {
            Some((last, before)) if *before == number => *last = snapshot,
            Some((_, before)) if *before > number => *self = Self::new(at),
            _ => {
                self.since = at;
                self.beats.push_back((snapshot, number));
            }
        }
        self.longest = longest;
        while let Some(&(settled, before)) = self.beats.front()
            && number.saturating_sub(before) >= BEATS
        {
            self.settled = settled;
            self.beats.pop_front();
        }
    }
}

/// The patterns of one snapshot.
struct Patterns {
    /// Of each pattern: how it matches, if we read it as Redis does, and how many are subscribed.
    counts: Vec<(Option<Glob>, u64)>,
    /// Whether there is none that nobody has announced.
    all_announced: bool,
    subscriptions: u64,
}

impl Patterns {
    fn of(claims: &Claims, snapshot: &Snapshot) -> Self {
        let mut counts: BTreeMap<&[u8], u64> = BTreeMap::new();
        for (text, claim) in &claims.patterns {
            *counts.entry(text).or_default() += u64::from(claim.count);
        }
        let all_announced = counts.len() as u64 == snapshot.patterns;
        let subscriptions = counts.values().sum();
        let compile = |text: &[u8]| std::str::from_utf8(text).ok().and_then(|text| Glob::new(text).ok());
        let counts = counts.into_iter().map(|(text, count)| (compile(text), count)).collect();
        Self { counts, all_announced, subscriptions }
    }

    /// How many subscriptions may match. A pattern that we do not read as Redis does may.
    fn matching(&self, channel: &[u8]) -> u64 {
        let matches = |glob: &Option<Glob>| glob.as_ref().is_none_or(|glob| glob.matches(channel));
        self.counts.iter().filter(|(glob, _)| matches(glob)).map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests;

//! The channels on which services publish in mode `auto`, and what is known of each: asked at every publish, so that
//! asking takes a look-up and waits for nobody.
//!
//! A channel comes here by a publish, and goes when there has been none for a while. What the snapshots say holds for two
//! intervals. In between, the reply of every publish with a context says how many received it: another number than
//! expected ends what was known of the channel, until it has been proven anew.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use redistributed_core::service::{Audience, SubscriptionKind, Unknown};
use tokio::sync::Notify;

use super::herald::Retracted;
use super::judge::Known;
use super::marker::Name;
use crate::clock;

/// Most channels that are watched for a route; on others nothing is known.
pub const MAX_CHANNELS: usize = 4096;

/// Set in a state that says how many receivers there are.
const KNOWN: u64 = 1 << 63;

/// In the order of their codes.
const UNKNOWN: [Unknown; 9] = [
    Unknown::NoEvidence,
    Unknown::Unproxied,
    Unknown::Pattern,
    Unknown::Replicas,
    Unknown::Cluster,
    Unknown::Nobody,
    Unknown::Proving,
    Unknown::Contradicted,
    Unknown::Order,
];

/// The watched channels of one route.
#[derive(Debug)]
pub struct Watch {
    table: RwLock<Table>,
    /// Until when what is known holds, in nanoseconds of [`clock::now`].
    fresh_until: AtomicU64,
    /// A channel has come.
    pub arrived: Notify,
}

#[derive(Debug, Default)]
struct Table {
    channels: HashMap<Box<[u8]>, usize>,
    shards: HashMap<Box<[u8]>, usize>,
    places: Vec<Place>,
    free: Vec<usize>,
}

/// Room for a channel, used again by another one when it has gone.
#[derive(Debug)]
struct Place {
    /// Told apart from the channels that were here before.
    generation: u32,
    name: Option<Name>,
    /// [`KNOWN`] and the receivers, or an index into [`UNKNOWN`].
    state: AtomicU64,
    longest: AtomicU64,
    used: AtomicU64,
    /// Contradicted, or some of its subscribers gone, since the last snapshot was asked for.
    contradicted: AtomicBool,
}

/// How many watched channels have which verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// Everybody is known to be behind a proxy.
    pub proxied: u64,
    /// By the reason, as in [`Unknown`].
    pub unknown: HashMap<Unknown, u64>,
}

impl std::iter::Sum for Verdicts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, Self { proxied, unknown }| {
            sum.proxied += proxied;
            unknown.into_iter().for_each(|(reason, count)| *sum.unknown.entry(reason).or_default() += count);
            sum
        })
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self { table: RwLock::default(), fresh_until: AtomicU64::new(0), arrived: Notify::new() }
    }
}

impl Watch {
    /// Who gets what is published on the channel, if that is known.
    ///
    /// # Errors
    /// Why it is not.
    pub fn audience(&self, kind: SubscriptionKind, channel: &[u8]) -> Result<Audience, Unknown> {
        let now = clock::now().0;
        let table = self.read();
        let Some(&index) = table.by_kind(kind).get(channel) else {
            // On a channel for each request it is always so: they need not queue for the lock.
            let full = table.is_full();
            drop(table);
            if full {
                return Err(Unknown::NoEvidence);
            }
            self.add(Name::new(kind, channel), now);
            return Err(Unknown::NoEvidence);
        };
        let place = table.places.get(index).ok_or(Unknown::NoEvidence)?;
        place.used.store(now, Ordering::Relaxed);
        if now > self.fresh_until.load(Ordering::Acquire) {
            return Err(Unknown::NoEvidence);
        }
        let state = place.state.load(Ordering::Acquire);
        if state & KNOWN == 0 {
            return Err(unknown(state));
        }
        let longest = usize::try_from(place.longest.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        // The count was put in as 32 bits.
        Ok(Audience { receivers: state as u32, longest, token: token(index, place.generation) })
    }

    /// Redis reported another number of receivers than [`audience`](Self::audience) led to expect.
    pub fn contradict(&self, token: u64) {
        let table = self.read();
        let place = usize::try_from(token & u64::from(u32::MAX)).ok().and_then(|index| table.places.get(index));
        if let Some(place) = place.filter(|place| u64::from(place.generation) == token >> 32) {
            place.contradicted.store(true, Ordering::Release);
            place.state.store(code(Unknown::Contradicted), Ordering::Release);
        }
    }

    /// Subscriptions have ended: what was known of these channels must be proven anew. A pattern concerns all.
    pub fn retracted(&self, retracted: &Retracted) {
        let table = self.read();
        let revoke = |place: &Place| {
            place.contradicted.store(true, Ordering::Release);
            place.state.store(code(Unknown::Proving), Ordering::Release);
        };
        match retracted {
            Retracted::Names(names) if names.iter().all(|name| name.kind != SubscriptionKind::Pattern) => {
                let places = names.iter().filter_map(|name| table.by_kind(name.kind).get(&name.text));
                places.filter_map(|&index| table.places.get(index)).for_each(revoke);
            }
            _ => table.places.iter().for_each(revoke),
        }
    }

    /// The channels to ask about, and of each whether it has been contradicted since the last call. Those on which nothing
    /// was published since `since` are dropped. What contradicts from here on is not overruled by the answer.
    pub fn ask(&self, since: u64) -> Vec<(Name, bool)> {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let Table { channels, shards, places, free } = &mut *table;
        let mut names = Vec::with_capacity(places.len());
        for (index, place) in places.iter_mut().enumerate() {
            let contradicted = place.contradicted.swap(false, Ordering::AcqRel);
            if place.used.load(Ordering::Relaxed) >= since {
                names.extend(place.name.clone().map(|name| (name, contradicted)));
            } else if let Some(name) = place.name.take() {
                place.generation = place.generation.wrapping_add(1);
                let by_kind = if name.kind == SubscriptionKind::Shard { &mut *shards } else { &mut *channels };
                by_kind.remove(&name.text);
                free.push(index);
            }
        }
        names
    }

    /// Puts in what a snapshot says, to hold until `fresh_until`. Returns the channels that have been contradicted since
    /// it was asked for: of those it says nothing.
    pub fn answer(&self, verdicts: Vec<(Name, Result<Known, Unknown>)>, fresh_until: u64) -> Vec<Name> {
        // No contradiction can come in between, for that takes the other side of this lock.
        let table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let mut contradicted = Vec::new();
        for (name, verdict) in verdicts {
            let Some(place) = table.by_kind(name.kind).get(&name.text).and_then(|&index| table.places.get(index))
            else {
                continue;
            };
            if place.contradicted.load(Ordering::Acquire) {
                contradicted.push(name);
                continue;
            }
            let state = match verdict {
                Ok(Known { receivers, longest, .. }) => {
                    place.longest.store(longest, Ordering::Relaxed);
                    KNOWN | u64::from(receivers)
                }
                Err(reason) => code(reason),
            };
            place.state.store(state, Ordering::Release);
        }
        self.fresh_until.store(fresh_until, Ordering::Release);
        contradicted
    }

    /// Nothing is known any more.
    pub fn forget(&self) {
        self.fresh_until.store(0, Ordering::Release);
        for place in &self.read().places {
            place.state.store(code(Unknown::NoEvidence), Ordering::Release);
        }
    }

    /// What is known of how many channels.
    pub fn verdicts(&self) -> Verdicts {
        let fresh = clock::now().0 <= self.fresh_until.load(Ordering::Acquire);
        let mut verdicts = Verdicts::default();
        for place in self.read().places.iter().filter(|place| place.name.is_some()) {
            match place.state.load(Ordering::Acquire) {
                state if fresh && state & KNOWN != 0 => verdicts.proxied += 1,
                state => {
                    let reason = if fresh { unknown(state) } else { Unknown::NoEvidence };
                    *verdicts.unknown.entry(reason).or_default() += 1;
                }
            }
        }
        verdicts
    }

    fn add(&self, name: Name, now: u64) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if table.is_full() || table.by_kind(name.kind).contains_key(&name.text) {
            return;
        }
        let index = table.free.pop().unwrap_or_else(|| {
            table.places.push(Place {
                generation: 0,
                name: None,
                state: AtomicU64::new(0),
                longest: AtomicU64::new(0),
                used: AtomicU64::new(0),
                contradicted: AtomicBool::new(false),
            });
            table.places.len() - 1
        });
        if let Some(place) = table.places.get_mut(index) {
            place.name = Some(name.clone());
            place.state.store(code(Unknown::NoEvidence), Ordering::Release);
            place.used.store(now, Ordering::Relaxed);
        }
        let by_kind = if name.kind == SubscriptionKind::Shard { &mut table.shards } else { &mut table.channels };
        by_kind.insert(name.text, index);
        drop(table);
        self.arrived.notify_one();
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        // Every change is complete in itself.
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn is_full(&self) -> bool {
        self.channels.len() + self.shards.len() >= MAX_CHANNELS
    }

    fn by_kind(&self, kind: SubscriptionKind) -> &HashMap<Box<[u8]>, usize> {
        if kind == SubscriptionKind::Shard { &self.shards } else { &self.channels }
    }
}

fn token(index: usize, generation: u32) -> u64 {
    // There are at most MAX_CHANNELS places.
    u64::from(generation) << 32 | index as u64
}

fn code(reason: Unknown) -> u64 {
    UNKNOWN.iter().position(|other| *other == reason).unwrap_or_default() as u64
}

fn unknown(code: u64) -> Unknown {
    usize::try_from(code).ok().and_then(|code| UNKNOWN.get(code)).copied().unwrap_or(Unknown::NoEvidence)
}

#[cfg(test)]
mod tests;

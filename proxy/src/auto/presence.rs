//! Announces what this proxy's connections are subscribed to, by subscribing to markers.
//!
//! A marker lives as long as the connection that subscribes to it: nothing is written to Redis, nothing has to expire, and no
//! clock is shared. What has become less is retracted at once. What has become more is announced with the next beat, so
//! that subscriptions which come and go in a moment cost nothing. Old and new marker never stand side by side: the old one
//! goes first.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use redistributed_core::policy::{Mode, Policy};
use redistributed_core::service::SubscriptionKind;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::herald::{self, Retracted};
use super::home::Server;
use super::marker::{Marker, Name, ProxyId};
use super::{Doing, Evidence, Trouble};
use crate::redis::{Connection, Error, Reply, Requests};

/// Most announcements that are made with one beat, so that their confirmations stay far below what Redis lets a
/// subscriber leave unread (8 MiB); what is left over waits for the next beat.
const MAX_CLAIMS_OF_BEAT: usize = 4096;

const DOING: Doing =
    Doing { what: "announcing subscriptions", without: "no context is added where this proxy's services subscribe" };

/// Announces for as long as it is polled.
pub(super) async fn run(evidence: Arc<Evidence>) {
    let mut trouble = Trouble::default();
    let period = evidence.settings.interval;
    loop {
        // What nobody is to be told is not kept.
        evidence.ledger.changes();
        if !evidence.announces() {
            sleep(period).await;
            continue;
        }
        let error = match Presence::open(&evidence).await {
            Ok(mut presence) => match presence.run(&mut trouble).await {
                Ok(()) => continue,
                Err(error) => error,
            },
            Err(error) => error,
        };
        evidence.watch.forget();
        evidence.home.broke();
        trouble.report(&evidence, &error, DOING);
        sleep(trouble.delay(&error, period)).await;
    }
}

/// A connection that announces.
struct Presence<'a> {
    evidence: &'a Evidence,
    connection: Connection,
    server: Server,
    id: ProxyId,
    beats: u64,
    serial: u64,
    /// The marker of the last beat.
    beat: Option<Vec<u8>>,
    announced: HashMap<Arc<Name>, (u32, Vec<u8>)>,
    /// Names that are to be announced otherwise than they are.
    pending: HashSet<Arc<Name>>,
    /// What they have become.
    counts: HashMap<Arc<Name>, u32>,
    policy: Arc<Policy>,
}

impl<'a> Presence<'a> {
    async fn open(evidence: &'a Evidence) -> Result<Self, Error> {
        let (connection, server) = evidence.connect().await?;
        evidence.home.found(server.clone());
        evidence.ledger.inspect();
        evidence.ledger.tell_all();
        Ok(Self {
            evidence,
            connection,
            server,
            id: evidence.new_id(),
            beats: 0,
            serial: 0,
            beat: None,
            announced: HashMap::new(),
            pending: HashSet::new(),
            counts: HashMap::new(),
            policy: evidence.policy.current(),
        })
    }

    /// Until nothing is to be announced any more.
    async fn run(&mut self, trouble: &mut Trouble) -> Result<(), Error> {
        let mut ticks = interval(self.evidence.settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.evidence.ledger.shrunk.notified() => self.retract().await?,
                _ = ticks.tick() => {
                    if !self.evidence.announces() {
                        return Ok(());
                    }
                    if !self.evidence.home.is(&self.server) {
                        // The connection that takes snapshots has found another server.
                        return Err(Error::Closed);
                    }
                    self.beat().await?;
                }
                reply = self.connection.next() => match reply? {
                    Reply::Error(refusal) => return Err(refusal.into()),
                    Reply::Array(parts) if is_message(&parts) => {
                        let payload = parts.get(2).and_then(Reply::text).unwrap_or_default();
                        self.evidence.watch.retracted(&Retracted::read(payload));
                    }
                    _ => trouble.settled(self.evidence, DOING),
                }
            }
        }
    }

    /// Retracts what is announced too high.
    async fn retract(&mut self) -> Result<(), Error> {
        self.take_changes();
        let counts = &self.counts;
        let too_high = |name: &Arc<Name>, count: u32| counts.get(name).is_some_and(|now| *now < count);
        let old = self.announced.extract_if(|name, (count, _)| too_high(name, *count));
        let (names, old): (Vec<_>, Vec<_>) = old.map(|(name, (_, marker))| (name, marker)).unzip();
        self.evidence.retractions.add(names);
        self.send(&[(b"UNSUBSCRIBE", &old)]).await
    }

    /// Says that the proxy lives, and all that has changed; not if its own threads do not.
    async fn beat(&mut self) -> Result<(), Error> {
        if timeout(self.evidence.settings.interval, self.evidence.workers.turn()).await.is_err() {
            tracing::debug!("a thread that carries connections is late; no beat is announced");
            return Ok(());
        }
        self.evidence.ledger.inspect();
        let policy = self.evidence.policy.current();
        if !Arc::ptr_eq(&policy, &self.policy) {
            self.policy = policy;
            // Each may have become one that is announced, or is not any more.
            self.evidence.ledger.tell_all();
        }
        // All of them, for that is what a beat says.
        self.retract().await?;
        let names: Vec<_> = self.pending.iter().take(MAX_CLAIMS_OF_BEAT).cloned().collect();
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for name in names {
            self.pending.remove(&name);
            let count = self.counts.remove(&name).unwrap_or_default();
            // What is announced is not too high, so that it is either right or too low.
            let announced = self.announced.get(&name).map_or(0, |(announced, _)| *announced);
            if announced == count {
                continue;
            }
            self.serial += 1;
            let marker = Marker::Claim { name: Name::clone(&name), serial: self.serial, count }.write(self.id);
            new.push(marker.clone());
            old.extend(self.announced.insert(name, (count, marker)).map(|(_, marker)| marker));
        }
        self.beats += 1;
        let (period, longest) = (self.evidence.settings.interval, self.policy.strip_limit() as u64);
        if self.beats == 1 {
            new.push(herald::CHANNEL.to_vec());
        }
        let beat = Marker::Beat { number: self.beats, period, longest }.write(self.id);
        new.push(beat.clone());
        let last: Vec<_> = self.beat.replace(beat).into_iter().collect();
        self.send(&[(b"UNSUBSCRIBE", &old), (b"SUBSCRIBE", &new), (b"UNSUBSCRIBE", &last)]).await
    }

    fn take_changes(&mut self) {
        for (name, count) in self.evidence.ledger.changes() {
            let count = if is_searched(&self.policy, &name) { count } else { 0 };
            self.pending.insert(Arc::clone(&name));
            self.counts.insert(name, count);
        }
    }

    async fn send(&mut self, commands: &[(&[u8], &[Vec<u8>])]) -> Result<(), Error> {
        let mut requests = Requests::new();
        for (command, markers) in commands {
            // Without names UNSUBSCRIBE would end all.
            if !markers.is_empty() {
                let words: Vec<&[u8]> = std::iter::once(*command).chain(markers.iter().map(Vec::as_slice)).collect();
                requests.push(words);
            }
        }
        if requests.is_empty() { Ok(()) } else { self.connection.send(&requests).await }
    }
}

/// Whether every message that comes by this subscription is searched for a context.
fn is_searched(policy: &Policy, name: &Name) -> bool {
    match name.kind {
        // What comes by a pattern may be on any channel.
        SubscriptionKind::Pattern => !policy.uses(Mode::Observe),
        SubscriptionKind::Channel | SubscriptionKind::Shard => policy.strips(&name.text),
    }
}

/// Whether these are the parts of a message of another proxy's herald.
fn is_message(parts: &[Reply]) -> bool {
    matches!(parts, [word, channel, _] if word.text() == Some(b"message") && channel.text() == Some(herald::CHANNEL))
}

/// How long a failed connection is left alone.
pub(super) fn delay(failures: u32, period: Duration) -> Duration {
    const LONGEST: Duration = Duration::from_secs(30);
    (period.min(Duration::from_millis(250)) * 2_u32.saturating_pow(failures.min(10))).min(LONGEST)
}

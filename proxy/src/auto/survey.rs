//! Takes the snapshots: asks Redis, over a connection of the proxy's own, all that a verdict needs at one instant.
//!
//! One transaction an interval, and only while something is published in mode `auto`. To find markers, Redis looks at all
//! of its channels, which takes it about a millisecond for each 10,000 of them. So that is asked for seldom where it takes
//! long; in between it is enough to ask whether the markers that are known still stand.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use redistributed_core::service::{SubscriptionKind, Unknown};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::home::Server;
use super::judge::{Judge, Snapshot};
use super::known::{KnownMarkers, ScanTimer};
use super::marker::{self, Name};
use super::{Doing, Evidence, Trouble};
use crate::clock;
use crate::redis::{Connection, Error, ProtocolError, Reply, Requests};

const DOING: Doing = Doing { what: "the snapshots", without: "no context is added in this mode" };

/// After so many intervals without a publish a channel is not asked about any more.
const KEPT_INTERVALS: u32 = 30;

/// Asks Redis for as long as it is polled.
pub(super) async fn run(evidence: Arc<Evidence>) {
    let mut trouble = Trouble::default();
    loop {
        // Nothing is asked, and no connection made, before somebody publishes in this mode.
        evidence.watch.arrived.notified().await;
        while !evidence.watch.ask(oldest(&evidence)).is_empty() {
            let result = Survey::open(&evidence).await;
            let error = match result {
                Ok(mut survey) => match survey.run(&mut trouble).await {
                    Ok(()) => break,
                    Err(error) => error,
                },
                Err(error) => error,
            };
            evidence.watch.forget();
            evidence.home.broke();
            trouble.report(&evidence, &error, DOING);
            sleep(trouble.delay(&error, evidence.settings.interval)).await;
        }
    }
}

fn oldest(evidence: &Evidence) -> u64 {
    let kept = evidence.settings.interval * KEPT_INTERVALS;
    clock::now().0.saturating_sub(nanos(kept))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A connection that asks.
struct Survey<'a> {
    evidence: &'a Evidence,
    connection: Connection,
    server: Server,
    judge: Judge,
    known: KnownMarkers,
    scan: ScanTimer,
    /// Redis does not let us list clients.
    clients_refused: bool,
    /// Nor ask about shard channels.
    shards_refused: bool,
}

impl<'a> Survey<'a> {
    async fn open(evidence: &'a Evidence) -> Result<Self, Error> {
        let (connection, server) = evidence.connect().await?;
        evidence.home.found(server.clone());
        Ok(Self {
            evidence,
            connection,
            server,
            judge: Judge::new(),
            known: KnownMarkers::default(),
            scan: ScanTimer::default(),
            clients_refused: false,
            shards_refused: false,
        })
    }

    /// Until nobody publishes any more.
    async fn run(&mut self, trouble: &mut Trouble) -> Result<(), Error> {
        let mut ticks = interval(self.evidence.settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                // Nobody is asked anything now: this is the end of the connection, and with it of all that is known.
                unasked = self.connection.next() => {
                    unasked?;
                    return Err(ProtocolError::Unexpected.into());
                }
            }
            let names = self.evidence.watch.ask(oldest(self.evidence));
            if names.is_empty() {
                self.evidence.watch.forget();
                return Ok(());
            }
            if !self.evidence.home.is(&self.server) {
                // The connection that announces has found another server.
                return Err(Error::Closed);
            }
            let mut asked = Vec::with_capacity(names.len());
            for (name, contradicted) in names {
                if contradicted {
                    self.judge.doubt(&name);
                }
                asked.push(name);
            }
            let Some(snapshot) = self.snapshot(&asked).await? else { continue };
            let verdicts = self.judge.judge(&snapshot);
            let fresh_until = snapshot.at.saturating_add(nanos(self.evidence.settings.interval * 2));
            for name in self.evidence.watch.answer(verdicts, fresh_until) {
                self.judge.doubt(&name);
            }
            trouble.settled(self.evidence, DOING);
        }
    }

    /// What Redis says now; `None` if it refused only what can be done without.
    async fn snapshot(&mut self, names: &[Name]) -> Result<Option<Snapshot>, Error> {
        let with_clients = self.judge.needs_clients() && !self.clients_refused;
        let (channels, mut shards): (Vec<_>, Vec<_>) =
            names.iter().partition(|name| name.kind == SubscriptionKind::Channel);
        if self.shards_refused {
            shards.clear();
        }
        let at = clock::now().0;
        let started = Instant::now();
        let candidates = (!self.scan.is_due(started)).then(|| self.known.candidates(names, at));
        let requests = requests(&channels, &shards, candidates.as_deref(), with_clients);
        let mut replies = self.connection.pipeline(&requests).await?;
        let answer = replies.pop_back().unwrap_or(Reply::Null);
        // The transaction's commands have been queued, or refused one by one.
        for (index, reply) in replies.into_iter().enumerate() {
            match reply.accepted() {
                Ok(_) => {}
                Err(refusal) if with_clients && index == requests.len() - 2 && refusal.is_permission() => {
                    self.clients_refused = true;
                    tracing::warn!(
                        "Redis does not let the proxy list clients (its user needs +client|list): in mode auto, channels \
                         that a pattern subscription matches get no context"
                    );
                    return Ok(None);
                }
                Err(_) if !shards.is_empty() && index == requests.len() - 2 - usize::from(with_clients) => {
                    // Redis before 7.0 knows no shard channels, though a client may have tried one.
                    self.shards_refused = true;
                    tracing::warn!(
                        "Redis does not tell who is subscribed to shard channels (7.0 does, to a user with \
                         +pubsub|shardnumsub): in mode auto they get no context"
                    );
                    return Ok(None);
                }
                Err(refusal) => return Err(refusal.into()),
            }
        }
        let answers = match answer.accepted()? {
            Reply::Array(answers) => answers,
            _ => return Err(ProtocolError::Unexpected.into()),
        };
        let mut answers = answers.into_iter();
        let mut next = || -> Result<Reply, Error> { Ok(answers.next().ok_or(ProtocolError::Unexpected)?.accepted()?) };
        let elsewhere = elsewhere(&next()?, &next()?, self.evidence.settings.ignore_replicas);
        let markers = match &candidates {
            None => {
                let channels = field(&next()?, "pubsub_channels").and_then(|count| count.parse().ok());
                self.scan.searched(started, channels.ok_or(ProtocolError::Unexpected)?);
                strings(next()?)?
            }
            Some(_) => standing(&next()?)?,
        };
        self.known.learn(candidates.is_none(), &markers, at);
        let patterns = next()?.integer().and_then(|count| u64::try_from(count).ok());
        let patterns = patterns.ok_or(ProtocolError::Unexpected)?;
        let mut subscribers = HashMap::with_capacity(names.len());
        for (kind, wanted) in [(SubscriptionKind::Channel, channels), (SubscriptionKind::Shard, shards)] {
            if !wanted.is_empty() {
                numbers(kind, &next()?, &mut subscribers)?;
            }
        }
        let pattern_subscriptions = if with_clients { pattern_subscriptions(&next()?) } else { None };
        Ok(Some(Snapshot { at, markers, subscribers, patterns, pattern_subscriptions, elsewhere }))
    }
}

fn requests(channels: &[&Name], shards: &[&Name], candidates: Option<&[Vec<u8>]>, with_clients: bool) -> Requests {
    let mut requests = Requests::new();
    requests.line("MULTI").line("INFO replication").line("INFO cluster");
    match candidates {
        None => requests.line("INFO stats").push([&b"PUBSUB"[..], b"CHANNELS", marker::ALL]),
        Some(markers) => {
            let words = [&b"PUBSUB"[..], b"NUMSUB"].into_iter().chain(markers.iter().map(Vec::as_slice));
            requests.push(words.collect::<Vec<_>>())
        }
    };
    requests.line("PUBSUB NUMPAT");
    for (subcommand, names) in [(&b"NUMSUB"[..], channels), (b"SHARDNUMSUB", shards)] {
        if !names.is_empty() {
            let words: Vec<&[u8]> =
                [&b"PUBSUB"[..], subcommand].into_iter().chain(names.iter().map(|name| &*name.text)).collect();
            requests.push(words);
        }
    }
    if with_clients {
        requests.line("CLIENT LIST TYPE pubsub");
    }
    requests.line("EXEC");
    requests
}

/// Why subscribers elsewhere may get what is published here.
fn elsewhere(replication: &Reply, cluster: &Reply, ignore_replicas: bool) -> Option<Unknown> {
    if field(cluster, "cluster_enabled") != Some("0") {
        return Some(Unknown::Cluster);
    }
    let alone = field(replication, "role") == Some("master") && field(replication, "connected_slaves") == Some("0");
    (!alone && !ignore_replicas).then_some(Unknown::Replicas)
}

/// A field of `INFO`.
pub(super) fn field<'a>(info: &'a Reply, name: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(info.text()?).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

fn strings(reply: Reply) -> Result<Vec<Vec<u8>>, Error> {
    let Reply::Array(elements) = reply else { return Err(ProtocolError::Unexpected.into()) };
    let text = |element| match element {
        Reply::Bulk(text) => Ok(text),
        _ => Err(ProtocolError::Unexpected.into()),
    };
    elements.into_iter().map(text).collect()
}

/// The names that somebody is subscribed to.
fn standing(reply: &Reply) -> Result<Vec<Vec<u8>>, Error> {
    let mut subscribers = HashMap::new();
    numbers(SubscriptionKind::Channel, reply, &mut subscribers)?;
    Ok(subscribers.into_iter().filter(|(_, count)| *count > 0).map(|(name, _)| name.text.into()).collect())
}

/// Pairs of a name and a number.
fn numbers(kind: SubscriptionKind, reply: &Reply, into: &mut HashMap<Name, u64>) -> Result<(), Error> {
    for pair in reply.elements().ok_or(ProtocolError::Unexpected)?.chunks(2) {
        let [name, number] = pair else { return Err(ProtocolError::Unexpected.into()) };
        let number = number.integer().and_then(|number| u64::try_from(number).ok());
        let (name, number) = name.text().zip(number).ok_or(ProtocolError::Unexpected)?;
        into.insert(Name::new(kind, name), number);
    }
    Ok(())
}

/// The sum of `psub` over all clients; `None` if one has none.
fn pattern_subscriptions(list: &Reply) -> Option<u64> {
    let text = String::from_utf8_lossy(list.text()?);
    let of_client = |line: &str| line.split(' ').find_map(|field| field.strip_prefix("psub="))?.parse::<u64>().ok();
    text.lines().map(of_client).try_fold(0, |sum: u64, count| sum.checked_add(count?))
}

//! Hears what other proxies tell of the keys that services read and of the channels that they subscribe to, over a connection of its
//! own.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use redistributed_core::carrier::out_of_band::{CompanionChannel, Notice, notices};
use redistributed_core::trace::Companion;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::{Hearer, LOOK_AGAIN, OutOfBand, REPLY_TIMEOUT};
use crate::clock;
use crate::redis::{Backoff, Connection, Error, Reply, Requests};
use crate::telemetry::stats::ProxyCounter;

/// What the task is, as the log says it.
const TASK: &str = "hearing contexts";

/// How often Redis is asked whether it is still there, and keys that are not read any more are left out.
const TICK: Duration = Duration::from_secs(10);

/// The most channels that one command names.
const MOST_AT_ONCE: usize = 1024;

/// How long Redis may say nothing before the connection counts as lost.
const LONGEST_SILENCE: Duration = Duration::from_secs(25);

/// Listens for as long as the future is polled. Does not connect before something is read that contexts may be told of.
pub(super) async fn run(out_of_band: Arc<OutOfBand>, hearer: Arc<dyn Hearer>) {
    let mut backoff = out_of_band.backoff(TASK);
    loop {
        if !out_of_band.policy.current().hears_anything() {
            sleep(LOOK_AGAIN).await;
            continue;
        }
        if out_of_band.interests.current(clock::now()).is_empty() && out_of_band.subscriptions.is_empty() {
            tokio::select! {
                () = out_of_band.interests.changed() => {}
                () = out_of_band.subscriptions.changed() => {}
            }
            continue;
        }
        let result = Listener::run(&out_of_band, &*hearer, &mut backoff).await;
        hearer.missed(out_of_band.interests.number());
        if let Err(error) = result {
            sleep(backoff.failed(&error)).await;
        }
    }
}

/// A connection that listens.
struct Listener<'a> {
    out_of_band: &'a OutOfBand,
    connection: Connection,
    /// The keys that are listened for.
    keys: HashSet<Companion>,
    /// Whether anything is listened for.
    listens: bool,
    /// Whether messages are listened for.
    hears_of_messages: bool,
}

impl<'a> Listener<'a> {
    /// Returns `Ok` once nothing is to be heard any more.
    async fn run(out_of_band: &'a OutOfBand, hearer: &dyn Hearer, backoff: &mut Backoff) -> Result<(), Error> {
        let dialer = &out_of_band.dialer;
        let connection = Connection::open(dialer, dialer.credentials().as_ref(), REPLY_TIMEOUT).await?;
        let mut listener =
            Self { out_of_band, connection, keys: HashSet::new(), listens: false, hears_of_messages: false };
        listener.subscribe(hearer).await?;
        let (mut ticks, mut last) = (interval(TICK), Instant::now());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        loop {
            tokio::select! {
                () = out_of_band.interests.changed() => listener.subscribe(hearer).await?,
                () = out_of_band.subscriptions.changed() => listener.subscribe(hearer).await?,
                _ = ticks.tick() => {
                    if !out_of_band.policy.current().hears_anything() {
                        return Ok(());
                    }
                    if last.elapsed() > LONGEST_SILENCE {
                        return Err(Error::Late(LONGEST_SILENCE));
                    }
                    listener.subscribe(hearer).await?;
                    if !listener.listens {
                        return Ok(());
                    }
                    // A subscriber may send it in RESP2 as well.
                    let mut ping = Requests::new();
                    ping.line("PING");
                    listener.connection.send(&ping).await?;
                }
                reply = listener.connection.next() => {
                    last = Instant::now();
                    match reply? {
                        Reply::Error(refusal) => return Err(refusal.into()),
                        Reply::Array(parts) => {
                            if !listener.heard(&parts, hearer) {
                                backoff.succeeded();
                            }
                        }
                        _ => backoff.succeeded(),
                    }
                }
            }
        }
    }

    /// Subscribes to the companions of what is read and subscribed to by now, and ends the subscriptions to others.
    async fn subscribe(&mut self, hearer: &dyn Hearer) -> Result<(), Error> {
        let policy = self.out_of_band.policy.current();
        let keys: HashSet<_> = if policy.hears_contexts() {
            self.out_of_band.interests.current(clock::now()).into_iter().collect()
        } else {
            HashSet::new()
        };
        if !self.keys.is_subset(&keys) {
            hearer.missed(self.out_of_band.interests.number());
        }
        let begins = !std::mem::replace(&mut self.hears_of_messages, policy.hears_of_messages());
        let (mut begun, mut ended) = match (self.hears_of_messages, begins) {
            (true, _) => self.out_of_band.subscriptions.take_changes(begins),
            (false, true) => (Vec::new(), Vec::new()),
            (false, false) => (Vec::new(), self.out_of_band.subscriptions.take_changes(true).0),
        };
        begun.extend(keys.difference(&self.keys).copied().map(CompanionChannel::Key));
        ended.extend(self.keys.difference(&keys).copied().map(CompanionChannel::Key));
        self.keys = keys;
        self.listens = !self.keys.is_empty() || self.hears_of_messages && !self.out_of_band.subscriptions.is_empty();
        let mut requests = Requests::new();
        for (command, companions) in [("UNSUBSCRIBE", ended), ("SUBSCRIBE", begun)] {
            for companions in companions.chunks(MOST_AT_ONCE) {
                let names: Vec<_> = companions.iter().map(CompanionChannel::name).collect();
                let words: Vec<_> =
                    std::iter::once(command.as_bytes()).chain(names.iter().map(Vec::as_slice)).collect();
                requests.push(words.iter().copied());
            }
        }
        if requests.is_empty() { Ok(()) } else { self.connection.send(&requests).await }
    }

    /// Takes a message or a confirmation. Returns whether it was a message.
    fn heard(&self, parts: &[Reply], hearer: &dyn Hearer) -> bool {
        let [kind, channel, payload] = parts else { return false };
        if kind.text() != Some(b"message") {
            return false;
        }
        let (channel, payload) = (channel.text().unwrap_or_default(), payload.text().unwrap_or_default());
        if let Some(companion) = CompanionChannel::of_name(channel) {
            let keys = &self.out_of_band.policy.current().keys;
            let mut notices: Vec<Notice> = notices(channel, payload, keys).collect();
            self.out_of_band.stats.add(ProxyCounter::ContextsHeard, notices.len() as u64);
            // What this proxy has told of its own service is known.
            let own = self.out_of_band.outbox.number();
            notices.retain(|notice| !notice.is_taken_by(own));
            hearer.hear(self.out_of_band.interests.number(), &companion, notices);
        }
        true
    }
}

//! A model of a Redis with proxies, and with clients behind them and without them, that checks the decisions of an
//! [`Evaluator`] against what is true.
//!
//! In the model, a proxy notices what its clients did as late as the real one may: some steps later, but before its next
//! heartbeat but one, and before it answers a request for a check that was sent later. A client without a proxy often
//! subscribes at once when another client leaves, which is the worst that can happen. With one heartbeat fewer in
//! [`HEARTBEATS_TO_PROVE`], or if a proxy answers without having noticed, the test fails.

use super::tests::{SECOND, channel, heartbeat, subscribers};
use super::*;

/// A pseudo-random number generator (SplitMix64).
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

struct Model {
    rng: Rng,
    /// For each subscriber without a proxy, the number of snapshots that had been taken when it subscribed.
    unproxied: Vec<u64>,
    proxies: Vec<Proxy>,
    snapshots: u64,
    serial: u64,
    tokens: u64,
    /// How many heartbeats the proxies had sent at each snapshot.
    heartbeats: Vec<Vec<u64>>,
}

#[derive(Default)]
struct Proxy {
    /// The number of subscribed clients, as Redis knows it.
    actual: u32,
    /// The clients that have subscribed (true) or left (false) and that the proxy has not noticed yet, each with the number
    /// of heartbeats since.
    unnoticed: Vec<(bool, u64)>,
    /// The number of subscribed clients, as the proxy knows it.
    noticed: u32,
    /// The serial number and the count of the announcement.
    announced: Option<(u64, u32)>,
    heartbeats: u64,
    /// Requests for a check that the proxy has not answered yet: the token, and how many of the changes that it has not
    /// noticed had happened by then.
    requests: Vec<(u64, usize)>,
    /// The tokens of the requests that it has answered.
    answers: Vec<u64>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let proxies = (0..1 + seed % 3).map(|_| Proxy::default()).collect();
        Self {
            rng: Rng(seed),
            unproxied: Vec::new(),
            proxies,
            snapshots: 0,
            serial: 0,
            tokens: 0,
            heartbeats: Vec::new(),
        }
    }

    /// One client or one proxy does something.
    fn step(&mut self) {
        let index = self.rng.below(self.proxies.len() as u64) as usize;
        let choice = self.rng.below(15);
        let proxy = &mut self.proxies[index];
        match choice {
            0 => {
                proxy.actual += 1;
                proxy.unnoticed.push((true, 0));
            }
            1 if proxy.actual > 0 => {
                proxy.actual -= 1;
                proxy.unnoticed.push((false, 0));
                if self.rng.below(2) == 0 {
                    self.unproxied.push(self.snapshots);
                }
            }
            2 if self.rng.below(4) == 0 => self.unproxied.push(self.snapshots),
            3 | 4 if !self.unproxied.is_empty() => {
                let leaving = self.rng.below(self.unproxied.len() as u64) as usize;
                self.unproxied.swap_remove(leaving);
            }
            5 => proxy.notice(usize::MAX),
            6 | 7 => proxy.answer(),
            8 => proxy.announce(&mut self.serial),
            _ => proxy.heartbeat(&mut self.serial),
        }
    }

    /// A time in which the clients do nothing. Without such times nothing could be proven.
    fn rest(&mut self, mut after_each_heartbeat: impl FnMut(&mut Self)) {
        self.proxies.iter_mut().for_each(|proxy| proxy.notice(usize::MAX));
        for _ in 0..5 {
            self.proxies.iter_mut().for_each(|proxy| proxy.heartbeat(&mut self.serial));
            after_each_heartbeat(self);
        }
    }

    fn snapshot(&mut self) -> Snapshot {
        self.snapshots += 1;
        self.heartbeats.push(self.proxies.iter().map(|proxy| proxy.heartbeats).collect());
        let mut announcements = Vec::new();
        for (announcer, proxy) in (0..).zip(&self.proxies) {
            announcements.push(heartbeat(announcer, proxy.heartbeats));
            let answer = |token: &u64| Announcement::Checked { token: *token }.to_channel(AnnouncerId(announcer));
            announcements.extend(proxy.answers.iter().map(answer));
            let announced = proxy.announced;
            let channel = |(serial, count)| subscribers(announcer, SubscriptionKind::Channel, "ch", serial, count);
            announcements.extend(announced.map(channel));
        }
        let behind_proxies = self.proxies.iter().map(|proxy| u64::from(proxy.actual)).sum::<u64>();
        let subscribers = [(channel("ch"), behind_proxies + self.unproxied.len() as u64)].into();
        Snapshot { at: self.snapshots * SECOND / 10, announcements, subscribers, ..Snapshot::default() }
    }
}

impl Proxy {
    /// Notices what its clients did, the first `count` changes of it, and withdraws what has decreased.
    fn notice(&mut self, count: usize) {
        let count = count.min(self.unnoticed.len());
        self.requests.iter_mut().for_each(|(_, before)| *before = before.saturating_sub(count));
        for (subscribed, _) in self.unnoticed.drain(..count) {
            self.noticed = if subscribed { self.noticed + 1 } else { self.noticed - 1 };
        }
        if self.announced.is_some_and(|(_, announced)| announced > self.noticed) {
            self.announced = None;
        }
    }

    /// Answers the oldest request for a check, after it has noticed what happened before the request.
    fn answer(&mut self) {
        if self.requests.is_empty() {
            return;
        }
        let (token, before) = self.requests.remove(0);
        self.notice(before);
        self.answers.push(token);
    }

    /// Notices what is older than its last heartbeat, and announces.
    fn heartbeat(&mut self, serial: &mut u64) {
        let late = self.unnoticed.iter().take_while(|(_, heartbeats)| *heartbeats >= 1).count();
        self.notice(late);
        self.unnoticed.iter_mut().for_each(|(_, heartbeats)| *heartbeats += 1);
        self.announce(serial);
        self.heartbeats += 1;
    }

    /// Announces as many clients as it has noticed.
    fn announce(&mut self, serial: &mut u64) {
        let count = (self.noticed > 0).then_some(self.noticed);
        if self.announced.map(|(_, announced)| announced) != count {
            *serial += 1;
            self.announced = count.map(|count| (*serial, count));
        }
    }
}

/// What the decisions of all runs were worth.
#[derive(Default)]
struct Tally {
    /// How often the receivers were proven.
    proven: u64,
    /// How often they were proven although an announcer had not sent enough heartbeats.
    proven_by_checks: u64,
    /// How many subscribers without a proxy there were meanwhile, all of whom had come later.
    unproxied_meanwhile: u64,
}

impl Tally {
    fn check(&mut self, evaluator: &mut Evaluator, model: &mut Model, seed: u64) {
        let snapshot = model.snapshot();
        let [(_, decision)] = evaluator.evaluate(&snapshot)[..] else { panic!("there is one channel") };
        let announcers: Vec<_> = evaluator.to_ask().collect();
        for announcer in announcers {
            model.tokens += 1;
            evaluator.ask(announcer, model.tokens, snapshot.at);
            let proxy = &mut model.proxies[announcer.0 as usize];
            proxy.requests.push((model.tokens, proxy.unnoticed.len()));
        }
        let Ok(ProvenReceivers { proven_at, .. }) = decision else { return };
        self.proven += 1;
        let then = &model.heartbeats[proven_at as usize - 1];
        let since = model.proxies.iter().zip(then).map(|(proxy, then)| proxy.heartbeats - then);
        self.proven_by_checks += u64::from(since.min() < Some(HEARTBEATS_TO_PROVE));
        for subscribed_after in &model.unproxied {
            self.unproxied_meanwhile += 1;
            assert!(
                *subscribed_after >= proven_at,
                "seed {seed}: everybody is said to have been behind a proxy at snapshot {proven_at}, but a client \
                 without one has been subscribed since snapshot {subscribed_after}"
            );
        }
    }
}

#[test]
fn every_subscriber_of_a_proven_snapshot_is_behind_a_proxy() {
    let mut tally = Tally::default();
    for seed in 0..100 {
        let (mut model, mut evaluator) = (Model::new(seed), Evaluator::new());
        for _ in 0..400 {
            for _ in 0..model.rng.below(8) {
                model.step();
            }
            if model.rng.below(8) == 0 {
                model.rest(|model| tally.check(&mut evaluator, model, seed));
            } else {
                tally.check(&mut evaluator, &mut model, seed);
            }
        }
    }
    let Tally { proven, proven_by_checks, unproxied_meanwhile } = tally;
    assert!(proven_by_checks > 1000, "the receivers were proven by checks only {proven_by_checks} times");
    assert!(proven > 1000, "the receivers were proven only {proven} times");
    assert!(unproxied_meanwhile > 10, "clients without a proxy hardly ever came: {unproxied_meanwhile}");
}

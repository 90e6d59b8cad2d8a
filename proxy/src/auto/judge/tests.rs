//! Single verdicts, and a model of Redis with proxies that notice late what their clients do.

use std::time::Duration;

use SubscriptionKind::{Channel, Pattern, Shard};

use super::*;

const SECOND: u64 = 1_000_000_000;

/// A proxy that beats with every snapshot.
fn beat(proxy: u64, number: u64) -> Vec<u8> {
    let (period, longest) = (Duration::from_secs(1), 1000 + proxy);
    Marker::Beat { number, period, longest }.write(ProxyId(proxy))
}

fn claim(proxy: u64, kind: SubscriptionKind, text: &str, serial: u64, count: u32) -> Vec<u8> {
    let name = Name::new(kind, text.as_bytes());
    Marker::Claim { name, serial, count }.write(ProxyId(proxy))
}

fn channel(text: &str) -> Name {
    Name::new(Channel, text.as_bytes())
}

/// Takes snapshots a second apart.
#[derive(Default)]
struct Bench {
    judge: Judge,
    beats: u64,
}

impl Bench {
    /// The verdict on `ch` of a snapshot with these markers and a beat of proxies 1 and 2.
    fn snapshot(&mut self, subscribers: u64, markers: &[Vec<u8>]) -> Result<u32, Unknown> {
        self.with(subscribers, markers, |_| {})
    }

    fn with(
        &mut self,
        subscribers: u64,
        markers: &[Vec<u8>],
        change: impl FnOnce(&mut Snapshot),
    ) -> Result<u32, Unknown> {
        self.beats += 1;
        let markers = [&[beat(1, self.beats), beat(2, self.beats)], markers].concat();
        let mut snapshot = Snapshot {
            at: self.beats * SECOND,
            markers,
            subscribers: [(channel("ch"), subscribers)].into(),
            ..Snapshot::default()
        };
        change(&mut snapshot);
        let verdicts = self.judge.judge(&snapshot);
        verdicts.into_iter().find(|(name, _)| name.text == (*b"ch").into()).unwrap().1.map(|known| known.receivers)
    }

    /// The verdict when the same has stood for long enough.
    fn settled(&mut self, subscribers: u64, markers: &[Vec<u8>]) -> Result<u32, Unknown> {
        for _ in 0..BEATS {
            self.snapshot(subscribers, markers).unwrap_err();
        }
        self.snapshot(subscribers, markers)
    }
}

#[test]
fn an_audience_is_known_when_it_has_stood_for_three_beats() {
    let mut bench = Bench::default();
    let markers = [claim(1, Channel, "ch", 1, 2), claim(2, Channel, "ch", 1, 1)];
    for _ in 0..BEATS {
        assert_eq!(bench.snapshot(3, &markers), Err(Unknown::Proving));
    }
    assert_eq!(bench.snapshot(3, &markers), Ok(3));
    assert_eq!(bench.snapshot(4, &markers), Err(Unknown::Unproxied), "one more, who is not announced");
    assert_eq!(bench.snapshot(3, &markers), Err(Unknown::Proving), "it is proven anew");
}

#[test]
fn an_announcement_that_is_not_the_same_any_more_begins_again() {
    let mut bench = Bench::default();
    assert_eq!(bench.settled(1, &[claim(1, Channel, "ch", 1, 1)]), Ok(1));
    assert_eq!(bench.snapshot(1, &[claim(1, Channel, "ch", 2, 1)]), Err(Unknown::Proving), "another serial number");
    assert_eq!(bench.snapshot(1, &[claim(2, Channel, "ch", 2, 1)]), Err(Unknown::Proving), "another proxy");
}

#[test]
fn more_or_less_than_is_announced_is_unknown() {
    let mut bench = Bench::default();
    let markers = [claim(1, Channel, "ch", 1, 2)];
    for subscribers in [0, 1, 3] {
        for _ in 0..6 {
            assert_eq!(bench.snapshot(subscribers, &markers), Err(Unknown::Unproxied));
        }
    }
    assert_eq!(bench.snapshot(0, &[]), Err(Unknown::Nobody));
}

#[test]
fn a_proxy_that_does_not_beat_is_not_believed() {
    let mut bench = Bench::default();
    let markers = [claim(3, Channel, "ch", 1, 1)];
    assert_eq!(bench.snapshot(1, &markers), Err(Unknown::Unproxied), "it has never beaten");
    let with_beat = |number| [claim(3, Channel, "ch", 1, 1), beat(3, number)];
    for number in 1..=BEATS {
        assert_eq!(bench.snapshot(1, &with_beat(number)), Err(Unknown::Proving));
    }
    for _ in 0..=MISSED_BEATS {
        assert_eq!(bench.snapshot(1, &with_beat(4)), Ok(1));
    }
    assert_eq!(bench.snapshot(1, &with_beat(4)), Err(Unknown::Unproxied), "three beats are missing");
    assert_eq!(bench.snapshot(1, &with_beat(5)), Err(Unknown::Proving));
}

#[test]
fn of_two_announcements_of_one_proxy_the_smaller_counts() {
    let mut bench = Bench::default();
    let markers = [claim(1, Channel, "ch", 1, 3), claim(1, Channel, "ch", 2, 1)];
    assert_eq!(bench.settled(1, &markers), Ok(1));
    assert_eq!(bench.snapshot(4, &markers), Err(Unknown::Unproxied));
}

#[test]
fn the_least_of_what_the_proxies_search_is_the_limit() {
    let mut bench = Bench::default();
    let markers = [claim(1, Channel, "ch", 1, 1), claim(2, Channel, "ch", 1, 1)];
    bench.settled(2, &markers).unwrap();
    let snapshot = Snapshot {
        at: 5 * SECOND,
        markers: [&[beat(1, 5), beat(2, 5)], &markers[..]].concat(),
        subscribers: [(channel("ch"), 2)].into(),
        ..Snapshot::default()
    };
    let verdicts = bench.judge.judge(&snapshot);
    assert_eq!(verdicts[0].1, Ok(Known { receivers: 2, longest: 1001, proven: 2 }));
}

#[test]
fn patterns_count_where_they_match_and_none_may_be_unannounced() {
    let markers = [claim(1, Channel, "ch", 1, 1), claim(1, Pattern, "c*", 2, 2), claim(2, Pattern, "x*", 1, 1)];
    let patterns = |count, subscriptions| {
        move |snapshot: &mut Snapshot| {
            snapshot.patterns = count;
            snapshot.pattern_subscriptions = subscriptions;
        }
    };
    let mut bench = Bench::default();
    assert_eq!(bench.with(1, &markers, patterns(2, None)), Err(Unknown::Pattern));
    assert!(bench.judge.needs_clients(), "whether all who subscribe to it are announced is to be asked");
    for _ in 0..BEATS {
        assert_eq!(bench.with(1, &markers, patterns(2, Some(3))), Err(Unknown::Proving));
    }
    assert_eq!(bench.with(1, &markers, patterns(2, Some(3))), Ok(3));
    assert_eq!(
        bench.with(1, &markers, patterns(2, Some(4))),
        Err(Unknown::Pattern),
        "one more subscribes to one of them"
    );
    assert_eq!(bench.with(1, &markers, patterns(3, Some(3))), Err(Unknown::Pattern), "there is one more");
    // Where none matches it is enough that all are announced.
    let unrelated = [claim(1, Channel, "ch", 1, 1), claim(2, Pattern, "x*", 1, 1)];
    for _ in 0..BEATS {
        assert_eq!(bench.with(1, &unrelated, patterns(1, None)), Err(Unknown::Proving));
    }
    assert_eq!(bench.with(1, &unrelated, patterns(1, None)), Ok(1));
    assert!(!bench.judge.needs_clients());
}

#[test]
fn a_pattern_that_is_not_read_as_redis_reads_it_may_match() {
    let mut bench = Bench::default();
    let markers = [claim(1, Channel, "ch", 1, 1), claim(1, Pattern, "x[", 2, 1)];
    assert_eq!(bench.with(1, &markers, |snapshot| snapshot.patterns = 1), Err(Unknown::Pattern));
}

#[test]
fn shard_channels_are_apart_from_channels_and_patterns() {
    let mut bench = Bench::default();
    let markers = [claim(1, Shard, "ch", 1, 1)];
    let shard = |subscribers| {
        move |snapshot: &mut Snapshot| {
            snapshot.subscribers = [(Name::new(Shard, b"ch"), subscribers)].into();
            snapshot.patterns = 7;
        }
    };
    for _ in 0..BEATS {
        assert_eq!(bench.with(0, &markers, shard(1)), Err(Unknown::Proving));
    }
    assert_eq!(bench.with(0, &markers, shard(1)), Ok(1));
    assert_eq!(bench.snapshot(1, &markers), Err(Unknown::Unproxied));
}

#[test]
fn subscribers_elsewhere_make_it_unknown() {
    let mut bench = Bench::default();
    let markers = [claim(1, Channel, "ch", 1, 1)];
    bench.settled(1, &markers).unwrap();
    for elsewhere in [Unknown::Replicas, Unknown::Cluster] {
        assert_eq!(bench.with(1, &markers, |snapshot| snapshot.elsewhere = Some(elsewhere)), Err(elsewhere));
    }
}

#[test]
fn doubt_and_oblivion_ask_for_a_new_proof() {
    let mut bench = Bench::default();
    let markers = [claim(1, Channel, "ch", 1, 1)];
    bench.settled(1, &markers).unwrap();
    bench.judge.doubt(&channel("ch"));
    // Beats from before the doubt do not count.
    assert_eq!(bench.settled(1, &markers), Ok(1));
    bench.judge.forget();
    assert_eq!(bench.settled(1, &markers), Ok(1));
}

/// A Redis with proxies, and clients behind them and beside them. A proxy notices what its clients did some steps later,
/// but before its next beat but one, as the real one does.
struct Model {
    rng: random::Rng,
    /// When each client without a proxy subscribed, counted in snapshots.
    unproxied: Vec<u64>,
    proxies: Vec<ModelProxy>,
    snapshots: u64,
    serial: u64,
}

#[derive(Default)]
struct ModelProxy {
    /// Clients that are subscribed, as Redis knows it.
    actual: u32,
    /// Subscribed and unsubscribed clients that the proxy has not heard of yet, with the beats since.
    unnoticed: Vec<(bool, u64)>,
    /// As the proxy knows it.
    known: u32,
    announced: Option<(u64, u32)>,
    beats: u64,
}

mod random {
    /// SplitMix64.
    pub(super) struct Rng(pub(super) u64);

    impl Rng {
        pub(super) fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ (z >> 31)) % bound
        }
    }
}

impl Model {
    fn step(&mut self) {
        let index = self.rng.below(self.proxies.len() as u64) as usize;
        let choice = self.rng.below(12);
        let proxy = &mut self.proxies[index];
        match choice {
            0 => {
                proxy.actual += 1;
                proxy.unnoticed.push((true, 0));
            }
            1 if proxy.actual > 0 => {
                proxy.actual -= 1;
                proxy.unnoticed.push((false, 0));
                // Somebody stands in the gap at once: the worst that can happen.
                if self.rng.below(2) == 0 {
                    self.unproxied.push(self.snapshots);
                }
            }
            2 if self.rng.below(4) == 0 => self.unproxied.push(self.snapshots),
            3 | 4 if !self.unproxied.is_empty() => {
                let gone = self.rng.below(self.unproxied.len() as u64) as usize;
                self.unproxied.swap_remove(gone);
            }
            5 | 6 => proxy.notice(usize::MAX),
            _ => proxy.beat(&mut self.serial),
        }
    }

    fn snapshot(&mut self) -> Snapshot {
        self.snapshots += 1;
        let mut markers = Vec::new();
        for (id, proxy) in self.proxies.iter().enumerate() {
            markers.push(beat(id as u64, proxy.beats));
            let claimed = proxy.announced.map(|(serial, count)| claim(id as u64, Channel, "ch", serial, count));
            markers.extend(claimed);
        }
        let subscribers = self.proxies.iter().map(|proxy| u64::from(proxy.actual)).sum::<u64>();
        let subscribers = [(channel("ch"), subscribers + self.unproxied.len() as u64)].into();
        Snapshot { at: self.snapshots * SECOND / 10, markers, subscribers, ..Snapshot::default() }
    }
}

impl ModelProxy {
    /// Hears of what its clients did, the first `count` of it.
    fn notice(&mut self, count: usize) {
        let count = count.min(self.unnoticed.len());
        for (subscribed, _) in self.unnoticed.drain(..count) {
            self.known = if subscribed { self.known + 1 } else { self.known - 1 };
        }
        // What has become less is retracted at once.
        if self.announced.is_some_and(|(_, count)| count > self.known) {
            self.announced = None;
        }
    }

    fn beat(&mut self, serial: &mut u64) {
        let late = self.unnoticed.iter().take_while(|(_, beats)| *beats >= 1).count();
        self.notice(late);
        self.unnoticed.iter_mut().for_each(|(_, beats)| *beats += 1);
        if self.announced.map(|(_, count)| count) != (self.known > 0).then_some(self.known) {
            *serial += 1;
            self.announced = (self.known > 0).then_some((*serial, self.known));
        }
        self.beats += 1;
    }
}

#[test]
fn whoever_was_there_at_the_proven_snapshot_is_behind_a_proxy() {
    let (mut known, mut hidden) = (0, 0);
    for seed in 0..100 {
        let mut model = Model {
            rng: random::Rng(seed),
            unproxied: Vec::new(),
            proxies: (0..1 + seed % 3).map(|_| ModelProxy::default()).collect(),
            snapshots: 0,
            serial: 0,
        };
        let mut judge = Judge::new();
        for _ in 0..400 {
            for _ in 0..model.rng.below(8) {
                model.step();
            }
            // Now and then nothing happens but beats, or nothing could ever be proven.
            if model.rng.below(8) == 0 {
                model.proxies.iter_mut().for_each(|proxy| proxy.notice(usize::MAX));
                for _ in 0..5 {
                    let Model { proxies, serial, .. } = &mut model;
                    proxies.iter_mut().for_each(|proxy| proxy.beat(serial));
                    let snapshot = model.snapshot();
                    check(&mut judge, &snapshot, &model, seed, &mut known, &mut hidden);
                }
                continue;
            }
            let snapshot = model.snapshot();
            check(&mut judge, &snapshot, &model, seed, &mut known, &mut hidden);
        }
    }
    assert!(known > 1000, "an audience was known only {known} times");
    assert!(hidden > 10, "nobody ever stood in a gap while the audience counted as known: {hidden}");
}

fn check(judge: &mut Judge, snapshot: &Snapshot, model: &Model, seed: u64, known: &mut u64, hidden: &mut u64) {
    let [(_, verdict)] = &judge.judge(snapshot)[..] else { panic!("one channel, one verdict") };
    if let Ok(Known { proven, .. }) = verdict {
        *known += 1;
        for arrival in &model.unproxied {
            *hidden += 1;
            assert!(
                arrival >= proven,
                "seed {seed}: an unproxied subscriber came after snapshot {arrival}, and at {proven} all were proven"
            );
        }
    }
}

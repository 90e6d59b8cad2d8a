//! Redis is killed while it has work to do, and is started again.

use std::thread;
use std::time::Duration;

use crate::faults::traffic::{BATCH, Traffic};
use crate::faults::{BOTH_WAYS, Way, counted, proxy, seed, stop};
use crate::support::Rng;
use crate::support::redis::RealRedis;

const PUBLISHERS: usize = 3;
const SUBSCRIBERS: usize = 3;

fn killed(rounds: usize) {
    let seed = seed();
    let [direct, proxied] = BOTH_WAYS.map(|way| {
        let mut redis = RealRedis::start(&[]);
        let proxy = proxy(&redis, &[]);
        let mut rng = Rng(seed);
        let traffic = Traffic::start(way.address(&redis, &proxy), seed, PUBLISHERS, SUBSCRIBERS);
        for _ in 0..rounds {
            traffic.wait_for(rng.below(400) as u64);
            redis.kill();
            // Redis is away for a moment or for a while.
            thread::sleep(Duration::from_millis(rng.below(60) as u64));
            redis.restart();
            traffic.wait_until_subscribed();
        }
        let outcome = traffic.end();
        let missed = outcome.missed();
        let cut_off = outcome.cut_off();
        eprintln!(
            "{way:?}: {rounds} kills, {} acknowledged; by each subscriber {missed:?} missed, {cut_off:?} of these while subscribed",
            outcome.acknowledged.len()
        );
        for runs in &outcome.received {
            assert_eq!(runs.len(), rounds + 1, "{way:?}: a connection for each life of Redis");
        }
        let log = stop(proxy);
        let stripped = counted(&log, "stripped");
        assert_eq!(stripped > 0, way == Way::Proxied, "contexts travelled\n{log}");
        cut_off.iter().sum::<usize>()
    });
    // These are the publishes that Redis had answered but not yet sent to subscribers when it was killed: in one turn
    // of its event loop, at most one batch of each publisher.
    let at_once = rounds * SUBSCRIBERS * PUBLISHERS * BATCH;
    assert!(
        proxied <= direct + at_once,
        "{proxied} answered messages were not delivered, and {direct} without the proxy"
    );
}

#[test]
fn redis_is_killed_at_random_moments() {
    killed(4);
}

#[test]
#[ignore = "several minutes: proxy/conformance/faults/run.sh"]
fn redis_is_killed_at_random_moments_again_and_again() {
    killed(150);
}

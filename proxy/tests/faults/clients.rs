//! Clients that end badly. Only their own connection ends, and no messages of others are affected.

use std::net::Shutdown;
use std::thread;

use crate::faults::traffic::{Outcome, Traffic};
use crate::faults::wire::{Reply, Wire, request};
use crate::faults::{BOTH_WAYS, counted, proxy, seed, stop};
use crate::support::Rng;
use crate::support::redis::RealRedis;

/// Opens a connection, leaves something unfinished on it, and ends it in a random way.
fn vanish(address: std::net::SocketAddr, rng: &mut Rng) {
    let mut wire = Wire::open(address).expect("somebody listens");
    match rng.below(5) {
        // The client ends in the middle of a command.
        0 => wire.send(b"*3\r\n$7\r\nPUBLISH\r\n$6\r\nfaults\r\n$500\r\nnot all of").expect("a live connection"),
        // It is subscribed and has not read its messages.
        1 => {
            wire.ask(&[b"SUBSCRIBE", b"faults"]).expect("a confirmation");
        }
        // It has not read its replies.
        2 => wire.send(&request(&[b"PING"]).repeat(200)).expect("a live connection"),
        // It is in a transaction, or blocked.
        3 => {
            wire.send(&[request(&[b"MULTI"]), request(&[b"PUBLISH", b"faults", b"x"])].concat()).expect("a connection")
        }
        _ => wire.send(&request(&[b"BLPOP", b"nothing", b"0"])).expect("a live connection"),
    }
    match rng.below(3) {
        0 => wire.reset(),
        1 => wire.stream().shutdown(Shutdown::Write).expect("a live connection"),
        _ => drop(wire),
    }
}

fn chaos(rounds: usize) {
    let seed = seed();
    for way in BOTH_WAYS {
        let redis = RealRedis::start(&[]);
        // At the end Redis has no client, so the proxy must have no connection of its own either.
        let proxy = proxy(&redis, &["--out-of-band", "off"]);
        let address = way.address(&redis, &proxy);
        let traffic = Traffic::start(address, seed, 2, 3);
        thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    let mut rng = Rng(seed + thread);
                    (0..rounds).for_each(|_| vanish(address, &mut rng));
                });
            }
        });
        let outcome = traffic.end();
        let missed = outcome.missed();
        eprintln!("{way:?}: {} vanished, {} acknowledged", 4 * rounds, outcome.acknowledged.len());
        assert!(missed.iter().all(|missed| *missed == 0), "{way:?}: whose connection held missed {missed:?}");
        assert_one_connection_each(&outcome);
        // The clients that have ended leave nothing behind.
        let mut asking = Wire::open(redis.address()).expect("it runs");
        let alone = || asking_for_clients(&mut asking) == 1;
        wait_until(alone);
        stop(proxy);
    }
}

fn assert_one_connection_each(outcome: &Outcome) {
    assert!(outcome.received.iter().all(|runs| runs.len() == 1), "nobody had to connect again");
}

/// The number of clients of Redis, including this one.
fn asking_for_clients(wire: &mut Wire) -> usize {
    let reply = wire.ask(&[b"CLIENT", b"LIST"]).expect("an answer");
    let Reply::Bulk(Some(list)) = reply else { panic!("{reply:?}") };
    list.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count()
}

fn wait_until(mut is_so: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !is_so() {
        assert!(started.elapsed() < crate::support::DEADLINE, "it took too long");
        thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn clients_vanish_in_every_way() {
    chaos(60);
}

#[test]
#[ignore = "minutes: proxy/conformance/faults/run.sh"]
fn clients_vanish_in_every_way_by_the_thousand() {
    chaos(3000);
}

#[test]
fn redis_closes_subscribers_at_random_moments() {
    let seed = seed();
    for way in BOTH_WAYS {
        let redis = RealRedis::start(&[]);
        let proxy = proxy(&redis, &[]);
        let mut rng = Rng(seed);
        let traffic = Traffic::start(way.address(&redis, &proxy), seed, 2, 3);
        let mut killer = Wire::open(redis.address()).expect("it runs");
        for _ in 0..20 {
            traffic.wait_for(rng.below(100) as u64);
            traffic.wait_until_subscribed();
            let reply = killer.ask(&[b"CLIENT", b"KILL", b"TYPE", b"pubsub"]).expect("an answer");
            assert!(matches!(reply, Reply::Number(_)), "{reply:?}");
        }
        let outcome = traffic.end();
        assert!(outcome.received.iter().all(|runs| runs.len() > 1), "{way:?}: they had to connect again");
        stop(proxy);
    }
}

#[test]
fn what_was_sent_before_a_half_close_is_done_and_answered() {
    const COUNT: usize = 500;
    for way in BOTH_WAYS {
        let redis = RealRedis::start(&[]);
        let proxy = proxy(&redis, &[]);
        let address = way.address(&redis, &proxy);
        let mut wire = Wire::open(address).expect("somebody listens");
        wire.send(&request(&[b"INCR", b"n"]).repeat(COUNT)).expect("a live connection");
        wire.stream().shutdown(Shutdown::Write).expect("a live connection");
        for number in 1..=COUNT {
            assert_eq!(wire.reply().expect("an answer"), Reply::Number(number as i64), "{way:?}");
        }
        assert!(wire.reply().is_err(), "{way:?}: nothing more");
        let log = stop(proxy);
        assert_eq!(counted(&log, "connections_accepted") > 0, way == crate::faults::Way::Proxied);
    }
}

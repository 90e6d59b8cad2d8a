//! A fleet under load that is only partly behind proxies, with subscribers that come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redistributed_core::carrier::trailer;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::auto::fleet::{Fleet, INTERVAL};
use crate::support::in_process::InProcess;
use crate::support::servers;
use crate::support::wire::{Value, Wire};
use crate::support::{Rng, within};

/// The duration of the load on each server.
const LOAD: Duration = Duration::from_secs(4);

/// The longest time after its subscription at which a subscriber without a proxy may receive a context: three
/// heartbeats until a subscriber that has left is noticed, two snapshots, and one interval for a machine that is late.
const WINDOW: Duration = Duration::from_millis(6 * 50);

/// The temporary subscriptions of services behind proxies. Patterns are rare among them, because a pattern concerns
/// every channel.
const PROXIED: [&str; 8] = [
    "SUBSCRIBE busy",
    "SUBSCRIBE shared",
    "SSUBSCRIBE shard",
    "SUBSCRIBE shared",
    "SUBSCRIBE shared clean",
    "SUBSCRIBE shared",
    "SUBSCRIBE shared",
    "PSUBSCRIBE bus*",
];

/// The temporary subscriptions of services without a proxy.
const UNPROXIED: [&str; 6] = [
    "SUBSCRIBE busy",
    "SSUBSCRIBE shard",
    "SUBSCRIBE busy shared",
    "SUBSCRIBE busy",
    "SSUBSCRIBE shard",
    "PSUBSCRIBE bus*",
];

const PUBLISHES: [(&str, &str); 4] =
    [("PUBLISH", "busy"), ("SPUBLISH", "shard"), ("PUBLISH", "shared"), ("PUBLISH", "clean")];

#[derive(Default)]
struct Tally {
    over: AtomicBool,
    published: AtomicU64,
    /// The number of subscriptions without a proxy.
    visits: AtomicU64,
    /// The number of messages with a context that subscribers without a proxy received, and how long after the
    /// subscription the latest of them arrived, in microseconds.
    leaked: AtomicU64,
    latest: AtomicU64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_unproxied_subscriber_gets_a_context_except_within_the_window_after_it_subscribes() {
    for server in servers::all() {
        let fleet = Fleet::start(server);
        let proxies = [fleet.proxy(&[]).await, fleet.proxy(&[]).await];
        let tally = Arc::<Tally>::default();

        // A subscriber without a proxy that is there before all others, and services behind proxies that stay.
        let mut resident = fleet.direct().await;
        resident.subscribe("SUBSCRIBE shared").await;
        let mut clean = Wire::to(proxies[0].address()).await;
        clean.subscribe("SUBSCRIBE clean busy").await;
        clean.subscribe("SSUBSCRIBE shard").await;
        let clean = tokio::spawn(async move { clean.rest().await });

        let mut tasks = JoinSet::new();
        for (seed, proxy) in proxies.iter().enumerate() {
            for part in 0..2 {
                tasks.spawn(publish(Wire::to(proxy.address()).await, tally.clone()));
                let rng = Rng((10 * seed + part) as u64);
                tasks.spawn(come_and_go_proxied(proxy.address(), rng, tally.clone()));
            }
        }
        for seed in 0..2 {
            let address = fleet.redis.address();
            tasks.spawn(come_and_go_unproxied(address, Rng(1000 + seed), tally.clone()));
        }
        let resident = tokio::spawn(expect_no_context(resident));
        sleep(LOAD).await;
        tally.over.store(true, Ordering::Relaxed);
        while let Some(ended) = within("a task to end", tasks.join_next()).await {
            ended.expect("no panic");
        }
        let mut injected = 0;
        let proxies = proxies.into_iter().map(InProcess::stop);
        clean.abort();
        for proxy in proxies {
            injected += count(&proxy.await, "injected");
        }
        drop(fleet);
        let messages = within("the resident's end", resident).await.expect("no context reached the resident");

        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let latest = Duration::from_micros(value(&tally.latest));
        println!(
            "{}: {} publishes, {injected} with a context; {} visits without a proxy got {} messages with a context, the \
             last {latest:?} after its subscription; the resident got {messages} messages, none with a context",
            server.name,
            value(&tally.published),
            value(&tally.visits),
            value(&tally.leaked),
        );
        assert!(latest <= WINDOW, "{}: a context {latest:?} after a subscription", server.name);
        assert!(injected > 100 && messages > 100 && value(&tally.visits) > 3, "{}: too little happened", server.name);
    }
}

fn count(report: &redistributed::Report, counter: &str) -> u64 {
    report.stats.all().find(|(name, _)| *name == counter).expect("a counter").1
}

async fn publish(mut wire: Wire, tally: Arc<Tally>) {
    while !tally.over.load(Ordering::Relaxed) {
        for (command, channel) in PUBLISHES {
            let reply = wire.call_words(&[command.as_bytes(), channel.as_bytes(), br#"{"a":1}"#]).await;
            assert!(matches!(reply, Value::Integer(_)), "{reply:?}");
            tally.published.fetch_add(1, Ordering::Relaxed);
        }
        sleep(Duration::from_millis(1)).await;
    }
}

/// A service behind a proxy that subscribes for a while, again and again, and must never receive a context.
async fn come_and_go_proxied(address: std::net::SocketAddr, mut rng: Rng, tally: Arc<Tally>) {
    while !tally.over.load(Ordering::Relaxed) {
        let mut wire = if rng.below(2) == 0 { Wire::to(address).await } else { Wire::resp3(address).await };
        wire.subscribe(PROXIED[rng.below(PROXIED.len())]).await;
        // Some stay long enough for a proof, and some leave at once.
        let stay = INTERVAL * rng.below(20) as u32;
        let _ = timeout(stay, async {
            loop {
                assert_eq!(wire.message().await.payload, br#"{"a":1}"#);
            }
        })
        .await;
    }
}

/// A service without a proxy that does the same, and records when it receives a context.
async fn come_and_go_unproxied(address: std::net::SocketAddr, mut rng: Rng, tally: Arc<Tally>) {
    while !tally.over.load(Ordering::Relaxed) {
        let mut wire = if rng.below(2) == 0 { Wire::to(address).await } else { Wire::resp3(address).await };
        wire.subscribe(UNPROXIED[rng.below(UNPROXIED.len())]).await;
        let since = Instant::now();
        tally.visits.fetch_add(1, Ordering::Relaxed);
        let _ = timeout(INTERVAL * (1 + rng.below(8) as u32), async {
            loop {
                if trailer::find(&wire.message().await.payload).is_some() {
                    tally.leaked.fetch_add(1, Ordering::Relaxed);
                    let after = u64::try_from(since.elapsed().as_micros()).expect("a short time");
                    tally.latest.fetch_max(after, Ordering::Relaxed);
                }
            }
        })
        .await;
        drop(wire);
        // Time for a new proof without this subscriber.
        sleep(INTERVAL * (4 + rng.below(16) as u32)).await;
    }
}

/// Reads until the end, checks that no message has a context, and returns the number of messages.
async fn expect_no_context(mut wire: Wire) -> u64 {
    let bytes = wire.rest().await;
    let messages = Value::all(&bytes[..bytes.len() - incomplete(&bytes)]);
    for message in &messages {
        let Value::Array(parts) = message else { panic!("{message:?} is no message") };
        assert_eq!(parts.last(), Some(&Value::Bulk(br#"{"a":1}"#.to_vec())));
    }
    messages.len() as u64
}

/// The number of bytes at the end that belong to an incomplete message.
fn incomplete(bytes: &[u8]) -> usize {
    const MESSAGE: &[u8] = b"*3\r\n$7\r\nmessage\r\n$6\r\nshared\r\n$7\r\n{\"a\":1}\r\n";
    bytes.len() % MESSAGE.len()
}

/// A service is pointed back at Redis: it leaves its proxy, and subscribes without one. The number of subscribers stays
/// the same, so no reply reveals the change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_the_place_of_a_subscriber_behind_a_proxy_is_not_mistaken_for_it() {
    const ROUNDS: usize = 12;
    for server in servers::all() {
        let fleet = Fleet::start(server);
        let [here, there] = [fleet.proxy(&[]).await, fleet.proxy(&[]).await];
        let tally = Arc::<Tally>::default();
        let (mut moments, mut leaked) = (Vec::new(), 0);
        let mut publisher = fleet.publisher(&here).await;
        let load = tokio::spawn(publish(Wire::to(here.address()).await, tally.clone()));
        for _ in 0..ROUNDS {
            let mut proxied = Wire::to(there.address()).await;
            proxied.subscribe("SUBSCRIBE clean").await;
            publisher.until_context("PUBLISH", "clean").await;
            let mut direct = fleet.direct().await;
            proxied.send(b"UNSUBSCRIBE clean\r\n").await;
            direct.subscribe("SUBSCRIBE clean").await;
            let since = Instant::now();
            let mut latest = Duration::ZERO;
            let _ = timeout(INTERVAL * 4, async {
                loop {
                    if trailer::find(&direct.message().await.payload).is_some() {
                        latest = since.elapsed();
                        leaked += 1;
                    }
                }
            })
            .await;
            moments.push(latest);
        }
        tally.over.store(true, Ordering::Relaxed);
        within("the load's end", load).await.expect("no panic");
        moments.sort();
        let (median, worst) = (moments[ROUNDS / 2], moments[ROUNDS - 1]);
        println!(
            "{}: {ROUNDS} places taken, {leaked} messages with a context, the last {median:?} (median) and {worst:?} \
             (worst) after the subscription",
            server.name
        );
        assert!(worst <= WINDOW, "{}: a context {worst:?} after a subscription", server.name);
    }
}

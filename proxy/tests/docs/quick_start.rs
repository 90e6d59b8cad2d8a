//! The README's first commands, typed as they stand, do what the README says of them. Only the ports are others, because
//! they may be taken here.

use crate::docs::page;
use crate::support::admin::Proxy;
use crate::support::redis::RealRedis;
use crate::support::wire::Wire;

/// The line of the README's snippets that begins with `start`.
fn line(start: &str) -> String {
    let lines = page::page("README.md").shell_lines();
    lines.into_iter().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("the README has no {start}"))
}

/// The proxy of the README's quick start. Its spans are printed, as the README says for who has no collector.
pub(crate) fn quick_start(redis: &RealRedis) -> Proxy {
    let line = line("OTEL_SERVICE_NAME=orders redistributed ");
    let line = line.replace("127.0.0.1:6380", "127.0.0.1:0").replace("127.0.0.1:6379", &redis.address().to_string());
    let arguments: Vec<_> = line.split(' ').skip(2).collect();
    Proxy::as_typed(&arguments, &[("OTEL_SERVICE_NAME", "orders"), ("OTEL_TRACES_EXPORTER", "console")])
}

/// One message is all that is ever published, so the proof must not need another.
#[tokio::test]
async fn a_message_between_two_clients_of_the_proxy_is_one_trace() {
    let redis = RealRedis::start(&[]);
    let proxy = quick_start(&redis);
    let mut subscriber = Wire::to(proxy.address()).await;
    subscriber.subscribe("SUBSCRIBE greetings").await;
    proxy.has_proven(1).await;
    let mut publisher = Wire::to(proxy.address()).await;
    assert_eq!(publisher.publish("greetings", b"hello").await, 1);
    assert_eq!(subscriber.message().await.payload, b"hello");
    drop((publisher, subscriber));
    proxy.process.signal(rustix::process::Signal::TERM);
    let ended = proxy.process.ended();
    assert_eq!(ended.code, Some(0));

    let lines: Vec<&str> = ended.stdout.lines().collect();
    let [trace, _, published, delivered, ""] = lines[..] else { panic!("not one tree:\n{}", ended.stdout) };
    assert!(trace.contains("  2 spans, 1 service, "), "{trace}");
    assert!(published.contains(" ms  orders     publish greetings  1 receiver  "), "{published}");
    assert!(delivered.contains(" ms  └─ orders  process greetings  "), "{delivered}");
}

#[tokio::test]
async fn the_kill_switch_reaches_an_open_connection() {
    let redis = RealRedis::start(&[]);
    let proxy = Proxy::start(&redis.url(), &[], &[]);
    let mut without_proxy = Wire::to(redis.address()).await;
    without_proxy.subscribe("SUBSCRIBE orders.new greetings").await;
    let mut publisher = Wire::to(proxy.address()).await;
    let mut added = async |channel: &str| {
        assert_eq!(publisher.publish(channel, b"hello").await, 1);
        without_proxy.message().await.payload.len() - "hello".len()
    };
    assert_eq!(added("greetings").await, 41);

    for (start, in_orders, elsewhere) in
        [("curl -X PUT --data strip ", 0, 0), ("curl -X PUT --data 'strip ", 41, 0), ("curl -X DELETE ", 41, 41)]
    {
        let line = line(start);
        let (method, rest) = line.strip_prefix("curl -X ").unwrap().split_once(' ').unwrap();
        let (body, url) = match rest.strip_prefix("--data ").and_then(|rest| rest.rsplit_once(' ')) {
            Some((body, url)) => (body.trim_matches('\''), url),
            None => ("", rest),
        };
        let path = url.strip_prefix("localhost:9127").expect("the port that the README sets");
        assert_eq!(proxy.ask(&format!("{method} {path}"), "", body).await.0, 200, "{line}");
        assert_eq!((added("orders.new").await, added("greetings").await), (in_orders, elsewhere), "{line}");
    }
}

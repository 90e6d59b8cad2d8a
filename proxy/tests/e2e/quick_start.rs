//! The README's quick start beside a subscriber that has no proxy.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::docs::quick_start::quick_start;
use crate::e2e::clients::installed;
use crate::support::redis::RealRedis;
use crate::support::wire::Wire;
use crate::support::within;

/// The subscriber that broke at the first publish while the default mode was `inject`: redis-py decodes what it gets.
#[tokio::test]
async fn a_subscriber_without_a_proxy_gets_every_message_as_it_was_published() {
    const LISTEN: &str = "import redis, sys\n\
        client = redis.Redis(host='127.0.0.1', port=int(sys.argv[1]), decode_responses=True)\n\
        messages = client.pubsub()\n\
        messages.subscribe('greetings')\n\
        for message in messages.listen():\n    print(message['data'], flush=True)\n";
    let redis = RealRedis::start(&[]);
    let mut proxy = quick_start(&redis);
    let mut python = Command::new(installed("REDISTRIBUTED_TEST_PYTHON"));
    python.args(["-c", LISTEN, &redis.address().port().to_string()]).stdout(Stdio::piped()).kill_on_drop(true);
    let mut python = python.spawn().expect("Python starts");
    let mut lines = BufReader::new(python.stdout.take().expect("piped")).lines();
    let mut line = async || within("a line of redis-py", lines.next_line()).await.unwrap().expect("redis-py goes on");
    assert_eq!(line().await, "1", "it has subscribed");

    let mut behind = Wire::to(proxy.address()).await;
    behind.subscribe("SUBSCRIBE greetings other").await;
    // Here all subscribers are behind the proxy, so what follows is not a proxy that knows nothing yet.
    proxy.has_proven(1).await;
    let mut publisher = Wire::to(proxy.address()).await;
    for number in 0..100 {
        let payload = format!("grüße {number}");
        assert_eq!(publisher.publish("greetings", payload.as_bytes()).await, 2);
        assert_eq!(line().await, payload);
        assert_eq!(behind.message().await.payload, payload.as_bytes());
    }
    let said = proxy.process.wait_for_line("a message got no context");
    assert!(said.contains("a subscriber is not known to be behind a redistributed"), "{said}");
    drop((behind, publisher));
    proxy.process.signal(rustix::process::Signal::TERM);
    let ended = proxy.process.ended();
    let spans: Vec<&str> = ended.stdout.lines().filter(|line| line.contains("publish greetings")).collect();
    assert_eq!(spans.len(), 100, "each publish has a span: {}", ended.stdout);
    assert!(spans.iter().all(|line| line.contains("no context: auto_")), "{}", ended.stdout);
}

//! Proxies that name each other: each connection would make another one without end.

use std::net::SocketAddr;

use rustix::process::Signal;
use tokio::io::AsyncReadExt;

use crate::support::redis::free_address;
use crate::support::spawn::{Spawned, command, run};
use crate::support::{connect, send, within};

const ASKS: [&str; 2] = ["--detect-proxies", "on"];

/// More connections than come about until a circle is noticed, however fast the machine, and far fewer than the two proxies
/// would accept without that: 10,000 each.
const FEW: u64 = 3_000;

fn arguments(listen: SocketAddr, upstream: SocketAddr) -> [String; 4] {
    ["--listen", &listen.to_string(), "--upstream", &upstream.to_string()].map(str::to_owned)
}

/// A proxy whose upstream is not there yet when it asks at its start.
fn before_its_upstream(listen: SocketAddr, upstream: SocketAddr) -> Spawned {
    let mut proxy = Spawned::start(proxy(listen, upstream, &[&ASKS[..], &["--log-level", "debug"]].concat()), 1);
    proxy.wait_for_line("was asked what it is");
    proxy
}

fn proxy(listen: SocketAddr, upstream: SocketAddr, more: &[&str]) -> std::process::Command {
    let all = arguments(listen, upstream);
    command(&[&all.each_ref().map(String::as_str)[..], more].concat())
}

/// Stops it; how many connections it had accepted.
fn accepted(proxy: Spawned) -> u64 {
    proxy.signal(Signal::TERM);
    let log = proxy.ended().stderr;
    let mut words = log.split_whitespace().filter_map(|word| word.strip_prefix("connections_accepted="));
    words.next_back().expect("connections were counted").parse().unwrap()
}

#[tokio::test]
async fn a_proxy_that_is_started_in_front_of_itself_says_so_and_ends() {
    let (a, b) = (free_address(), free_address());
    let first = before_its_upstream(a, b);
    let ended = tokio::task::spawn_blocking(move || run(proxy(b, a, &ASKS))).await.unwrap();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("{a}")) && ended.stderr.contains("leads back"), "{}", ended.stderr);
    assert!(accepted(first) < FEW);
}

#[tokio::test]
async fn a_circle_that_comes_about_later_is_noticed_and_clients_are_told() {
    let (a, b) = (free_address(), free_address());
    let mut asks = before_its_upstream(a, b);
    let asks_not = Spawned::start(proxy(b, a, &[]), 1);
    for address in [a, b] {
        let mut client = connect(address).await;
        send(&mut client, b"PING\r\n").await;
        let mut told = Vec::new();
        // A reset is an end, too.
        let _ = within("the refusal", client.read_to_end(&mut told)).await;
        let told = String::from_utf8(told).unwrap();
        assert!(told.starts_with("-ERR redistributed: the upstream of this proxy leads back"), "{told:?}");
    }
    asks.wait_for_line("leads back to this proxy");
    assert!(accepted(asks) + accepted(asks_not) < FEW);
}

//! IPv6 on both sides.

use crate::support::redis::RealRedis;
use crate::support::spawn::{Spawned, command, run};
use crate::support::{connect, expect, send};

#[tokio::test]
async fn clients_and_redis_are_reached_by_ipv6() {
    let redis = RealRedis::start(&["--bind", "127.0.0.1", "::1"]);
    let upstream = format!("redis://[::1]:{}", redis.address().port());
    let proxy = Spawned::start(command(&["--listen", "[::1]:0", "--upstream", &upstream]), 1);
    assert!(proxy.addresses[0].is_ipv6());
    let mut client = connect(proxy.addresses[0]).await;
    send(&mut client, b"CLIENT INFO\r\n").await;
    let mut reply = vec![0; 4096];
    let n = tokio::io::AsyncReadExt::read(&mut client, &mut reply).await.unwrap();
    let info = String::from_utf8_lossy(&reply[..n]).into_owned();
    assert!(info.contains("laddr=[::1]:"), "{info}");
    send(&mut client, b"PING\r\n").await;
    expect(&mut client, b"+PONG\r\n").await;

    let listen = proxy.addresses[0].to_string();
    let healthy = run(command(&["--healthcheck", "--listen", &listen, "--upstream", &upstream]));
    assert_eq!((healthy.code, healthy.stderr.as_str()), (Some(0), ""));
}

//! A client that writes and reads nothing (`CLIENT REPLY OFF`, a log shipper). When Redis goes, it has to learn so from its first
//! write that Redis refuses, as it does without the proxy: whatever it writes before it knows is lost.

use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;

use crate::faults::{proxy, stop};
use crate::support::redis::RealRedis;
use crate::support::spawn::{Spawned, command};
use crate::support::{connect, expect, send, within};

/// How the client loses Redis.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Killed,
    ClosedByRedis,
}

/// A client of `address` to which Redis answers nothing any more, and its id.
async fn writer(address: std::net::SocketAddr) -> (TcpStream, String) {
    let mut client = connect(address).await;
    send(&mut client, b"CLIENT ID\r\n").await;
    let mut id = String::new();
    while !id.ends_with("\r\n") {
        id.push(char::from(within("the id", tokio::io::AsyncReadExt::read_u8(&mut client)).await.unwrap()));
    }
    send(&mut client, b"CLIENT REPLY OFF\r\nPUBLISH x 1\r\n").await;
    (client, id.trim_start_matches(':').trim_end().to_owned())
}

#[tokio::test]
async fn a_writer_that_reads_nothing_learns_from_its_first_write_that_redis_is_gone() {
    for loss in [Loss::Killed, Loss::ClosedByRedis] {
        for in_a_row in [1, 2] {
            let mut redis = RealRedis::start(&[]);
            let inner = proxy(&redis, &[]);
            let outer = (in_a_row == 2).then(|| {
                let url = format!("redis://{}", inner.addresses[0]);
                Spawned::start(command(&["--listen", "127.0.0.1:0", "--upstream", &url]), 1)
            });
            let (mut client, id) = writer(outer.as_ref().unwrap_or(&inner).addresses[0]).await;
            let mut direct = connect(redis.address()).await;
            match loss {
                Loss::ClosedByRedis => {
                    send(&mut direct, format!("CLIENT KILL ID {id}\r\n").as_bytes()).await;
                    expect(&mut direct, b":1\r\n").await;
                }
                Loss::Killed => redis.kill(),
            }
            // The end has come, which it does not read.
            within("the end", client.ready(Interest::READABLE)).await.unwrap();
            client.write_all(b"PUBLISH x lost\r\n").await.unwrap();
            within(&format!("{loss:?}, {in_a_row} in a row: the reset"), client.ready(Interest::ERROR)).await.unwrap();
            drop(client);
            outer.map(stop);
            stop(inner);
        }
    }
}

//! A Redis that says nothing, as one that was stopped or is busy for long. Clients that have left meanwhile must not keep a place.

use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::listener::{TestListener, Transport, words};
use crate::support::redis::RealRedis;
use crate::support::spawn::{Spawned, command};
use crate::support::{Duplex, connect, expect, read_to_end, send, within};

const TOO_MANY: &str = "-ERR max number of clients reached\r\n";
const PLACES: usize = 5;

/// How a client leaves.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    /// It waits for an answer, loses patience and closes.
    Waiting,
    /// It has been answered, and shuts its side only.
    Idle,
    /// It has sent more than Redis's system takes, and closes.
    Blocked,
}

async fn leave(how: Leaves, mut client: Box<dyn Duplex>) -> Option<Box<dyn Duplex>> {
    match how {
        Leaves::Waiting => send(&mut client, b"PING\r\n").await,
        Leaves::Idle => {
            client.shutdown().await.unwrap();
            return Some(client);
        }
        Leaves::Blocked => {
            let value = vec![b'x'; 16 << 20];
            send(&mut client, format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", value.len()).as_bytes()).await;
            // What the buffers on the way hold is taken; what is beyond waits.
            assert!(timeout(Duration::from_secs(1), client.write_all(&value)).await.is_err());
        }
    }
    None
}

/// Waits until so many clients have been given a place, which they keep.
async fn wait_for_places(listener: &TestListener, proxy: &Spawned, wanted: usize) {
    let mut admitted = Vec::new();
    within("free places", async {
        while admitted.len() < wanted {
            let mut client: Box<dyn Duplex> = match listener.transport {
                Transport::Unix => listener.connect(&proxy.addresses).await,
                Transport::Tcp | Transport::Tls => Box::new(connect(proxy.addresses[0]).await),
            };
            // One that is refused hears so at once, or is closed; one that has a place hears nothing.
            if timeout(Duration::from_millis(50), client.read(&mut [0; TOO_MANY.len()])).await.is_err() {
                admitted.push(client);
            }
        }
    })
    .await;
}

/// Clients that have left keep no place, and one that waits with its side shut is answered.
async fn places_are_kept_by_those_who_are_there(transport: Transport) {
    let redis = RealRedis::start(&[]);
    let listener = TestListener::new(transport);
    let arguments = listener.arguments(&redis.url(), &["--max-connections", &PLACES.to_string()]);
    let proxy = Spawned::start(command(&words(&arguments)), 1);
    let mut clients = Vec::new();
    for _ in 0..PLACES {
        let mut client = listener.connect(&proxy.addresses).await;
        send(&mut client, b"PING\r\n").await;
        expect(&mut client, b"+PONG\r\n").await;
        clients.push(client);
    }
    redis.suspend();
    let mut waiting = clients.pop().unwrap();
    send(&mut waiting, b"PING\r\n").await;
    waiting.shutdown().await.unwrap();
    let mut present = Vec::new();
    for (how, client) in [Leaves::Waiting, Leaves::Idle, Leaves::Blocked].into_iter().zip(clients.drain(1..)) {
        present.extend(leave(how, client).await);
    }
    // The one that is left has said nothing yet; it keeps its place, too.
    wait_for_places(&listener, &proxy, PLACES - 2).await;
    redis.resume();
    assert_eq!(read_to_end(&mut waiting).await, b"+PONG\r\n", "{transport:?}");
    send(&mut clients[0], b"PING\r\n").await;
    expect(&mut clients[0], b"+PONG\r\n").await;
}

#[tokio::test]
async fn clients_that_have_left_keep_no_place_by_tcp() {
    places_are_kept_by_those_who_are_there(Transport::Tcp).await;
}

#[tokio::test]
async fn clients_that_have_left_keep_no_place_by_tls() {
    places_are_kept_by_those_who_are_there(Transport::Tls).await;
}

#[tokio::test]
async fn clients_that_have_left_keep_no_place_by_a_unix_socket() {
    places_are_kept_by_those_who_are_there(Transport::Unix).await;
}

#[tokio::test]
async fn a_client_that_resets_while_redis_takes_nothing_keeps_no_place() {
    let redis = RealRedis::start(&[]);
    let listener = TestListener::new(Transport::Tcp);
    let proxy = Spawned::start(command(&words(&listener.arguments(&redis.url(), &["--max-connections", "1"]))), 1);
    let mut client: TcpStream = connect(proxy.addresses[0]).await;
    send(&mut client, b"PING\r\n").await;
    expect(&mut client, b"+PONG\r\n").await;
    redis.suspend();
    let value = vec![b'x'; 16 << 20];
    send(&mut client, format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", value.len()).as_bytes()).await;
    assert!(timeout(Duration::from_secs(1), client.write_all(&value)).await.is_err());
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    wait_for_places(&listener, &proxy, 1).await;
    redis.resume();
}

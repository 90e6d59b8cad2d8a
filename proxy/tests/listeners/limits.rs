//! One client too many: what it sees is what Redis shows it on a socket of that kind.

use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};

use crate::door::{ALL, Door, Way, words};
use crate::support::redis::RealRedis;
use crate::support::spawn::{Spawned, command};
use crate::support::{Duplex, connect, expect, send, within};

/// What arrives before the end, as bytes: by TLS too, of which there is none yet.
async fn seen(mut client: Box<dyn Duplex>) -> Vec<u8> {
    let mut got = Vec::new();
    // A reset is an end too.
    let _ = within("the end", client.read_to_end(&mut got)).await;
    got
}

#[tokio::test]
async fn one_client_too_many_sees_what_redis_shows_it() {
    for way in ALL {
        let door = Door::new(way);
        let socket = door.path("redis.sock").display().to_string();
        let (redis, port) = door.redis_with_tls(&["--unixsocket", &socket, "--maxclients", "1"]);
        let mut first = connect(redis.address()).await;
        send(&mut first, b"PING\r\n").await;
        expect(&mut first, b"+PONG\r\n").await;
        let too_many: Box<dyn Duplex> = match way {
            Way::Tcp => Box::new(TcpStream::connect(redis.address()).await.unwrap()),
            Way::Tls => Box::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap()),
            Way::Unix => Box::new(UnixStream::connect(&socket).await.unwrap()),
        };
        let direct = seen(too_many).await;
        drop(first);

        let behind = RealRedis::start(&[]);
        let arguments = door.arguments(&behind.url(), &["--max-connections", "1"]);
        let mut proxy = Spawned::start(command(&words(&arguments)), 1);
        let mut first = door.connect(&proxy.addresses).await;
        send(&mut first, b"PING\r\n").await;
        expect(&mut first, b"+PONG\r\n").await;
        let too_many: Box<dyn Duplex> = match way {
            Way::Tcp | Way::Tls => Box::new(TcpStream::connect(proxy.addresses[0]).await.unwrap()),
            Way::Unix => Box::new(UnixStream::connect(door.socket()).await.unwrap()),
        };
        assert_eq!(seen(too_many).await, direct, "{way:?}");
        let expected: &[u8] = if way == Way::Tls { b"" } else { b"-ERR max number of clients reached\r\n" };
        assert_eq!(direct, expected, "{way:?}");
        proxy.wait_for_line("--max-connections reached");
        send(&mut first, b"PING\r\n").await;
        expect(&mut first, b"+PONG\r\n").await;
    }
}

//! One client too many: what it sees is what Redis shows it on a socket of that kind.

use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};

use crate::support::listener::{ALL, TestListener, Transport, words};
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
    for transport in ALL {
        let listener = TestListener::new(transport);
        let socket = listener.path("redis.sock").display().to_string();
        let (redis, port) = listener.redis_with_tls(&["--unixsocket", &socket, "--maxclients", "1"]);
        let mut first = connect(redis.address()).await;
        send(&mut first, b"PING\r\n").await;
        expect(&mut first, b"+PONG\r\n").await;
        let too_many: Box<dyn Duplex> = match transport {
            Transport::Tcp => Box::new(TcpStream::connect(redis.address()).await.unwrap()),
            Transport::Tls => Box::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap()),
            Transport::Unix => Box::new(UnixStream::connect(&socket).await.unwrap()),
        };
        let direct = seen(too_many).await;
        drop(first);

        let behind = RealRedis::start(&[]);
        let arguments = listener.arguments(&behind.url(), &["--max-connections", "1"]);
        let mut proxy = Spawned::start(command(&words(&arguments)), 1);
        let mut first = listener.connect(&proxy.addresses).await;
        send(&mut first, b"PING\r\n").await;
        expect(&mut first, b"+PONG\r\n").await;
        let too_many: Box<dyn Duplex> = match transport {
            Transport::Tcp | Transport::Tls => Box::new(TcpStream::connect(proxy.addresses[0]).await.unwrap()),
            Transport::Unix => Box::new(UnixStream::connect(listener.socket()).await.unwrap()),
        };
        assert_eq!(seen(too_many).await, direct, "{transport:?}");
        let expected: &[u8] = if transport == Transport::Tls { b"" } else { b"-ERR max number of clients reached\r\n" };
        assert_eq!(direct, expected, "{transport:?}");
        proxy.wait_for_line("--max-connections reached");
        send(&mut first, b"PING\r\n").await;
        expect(&mut first, b"+PONG\r\n").await;
    }
}

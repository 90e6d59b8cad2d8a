//! One client too many: what it sees is what Redis shows it on a socket of that kind.

use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};

use crate::door::{ALL, Door, Duplex, Way, words};
use crate::support::redis::{RealRedis, free_address};
use crate::support::spawn::{Spawned, command};
use crate::support::{expect, send, within};

/// What arrives before the end; `by_tls` or not, the connection is looked at as bytes.
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
        let file = |name: &str| door.path(name).display().to_string();
        let (port, ca, socket) = (free_address().port(), door.authority.file(), file("redis.sock"));
        let tls_port = port.to_string();
        let (certificate, key) = (file("proxy.pem"), file("proxy.key"));
        let redis = RealRedis::start(&[
            "--unixsocket",
            &socket,
            "--tls-port",
            &tls_port,
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &ca,
            "--tls-auth-clients",
            "no",
            "--maxclients",
            "1",
        ]);
        let mut first = crate::support::connect(redis.address()).await;
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

//! One client too many: what it sees is what Redis shows it on a socket of that kind.

use rustix::process::Signal;
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

/// Clients that connect in the same moment, such as a fleet after a restart, while the proxy has not had time to accept one.
#[tokio::test]
async fn as_many_clients_as_redis_takes_may_wait_to_be_accepted() {
    const REDIS_LETS_WAIT: usize = 511;
    let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let wanted = REDIS_LETS_WAIT.min(allowed.trim().parse().unwrap());
    let behind = RealRedis::start(&[]);
    for transport in ALL {
        let listener = TestListener::new(transport);
        let proxy = Spawned::start(command(&words(&listener.arguments(&behind.url(), &[]))), 1);
        proxy.signal(Signal::STOP);
        let mut waiting: Vec<Box<dyn Duplex>> = Vec::new();
        for _ in 0..wanted {
            waiting.push(match transport {
                Transport::Tcp | Transport::Tls => Box::new(connect(proxy.addresses[0]).await),
                Transport::Unix => {
                    Box::new(within("connecting", UnixStream::connect(listener.socket())).await.unwrap())
                }
            });
        }
        proxy.signal(Signal::CONT);
        if transport != Transport::Tls {
            let last = waiting.last_mut().unwrap();
            send(last, b"PING\r\n").await;
            expect(last, b"+PONG\r\n").await;
        }
    }
}

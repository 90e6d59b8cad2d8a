//! A proxy with two routes: one for hostile clients, and one for a bystander who must not notice them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use rustix::process::Signal;

use crate::support::redis::RealRedis;
use crate::support::spawn::{Spawned, command};
use crate::support::{DEADLINE, memory};

/// The proxy, its servers, and the bystander.
pub(crate) struct Setup {
    pub(crate) redis: RealRedis,
    proxy: Spawned,
    bystander: TcpStream,
    /// The memory of the process in bytes before any hostile input.
    before: usize,
}

/// The tables in which causes are looked for, in bytes. They come with a service's first commands, whatever it sends:
/// `proxy/docs/limits.md`, "Bounds".
const CAUSES: usize = 2 << 20;

/// What a test can check after the proxy has ended.
pub(crate) struct Aftermath {
    /// The largest growth of the process's memory, in bytes, without the tables of causes.
    pub(crate) grown: usize,
    pub(crate) log: String,
}

impl Setup {
    /// Starts a proxy in front of a real Redis.
    pub(crate) fn new(more: &[&str]) -> Self {
        Self::in_front_of(RealRedis::start(&[]), more)
    }

    /// Starts a proxy in front of this Redis.
    pub(crate) fn in_front_of(redis: RealRedis, more: &[&str]) -> Self {
        let upstream = redis.url();
        Self::to(redis, &upstream, more)
    }

    /// Starts a proxy in front of a server that the test plays itself.
    pub(crate) fn with_fake(more: &[&str]) -> (Self, FakeServer) {
        let fake = FakeServer::new();
        let setup = Self::to(RealRedis::start(&[]), &format!("redis://{}", fake.address()), more);
        (setup, fake)
    }

    fn to(redis: RealRedis, upstream: &str, more: &[&str]) -> Self {
        let routes = [("a", upstream), ("b", &redis.url())].map(|(name, url)| format!("{name}=127.0.0.1:0,{url}"));
        let proxy = Spawned::start(command(&[&["--route", &routes[0], "--route", &routes[1]], more].concat()), 2);
        let mut bystander = open(proxy.addresses[1]);
        // The reply is so large that every buffer which a thread keeps is used before the measurement.
        send(&mut bystander, b"SETRANGE b 199999 x\r\n");
        expect(&mut bystander, b":200000\r\n");
        for _ in 0..8 {
            send(&mut bystander, b"GET b\r\n");
            let mut reply = vec![0; b"$200000\r\n\r\n".len() + 200_000];
            bystander.read_exact(&mut reply).expect("the whole value");
        }
        let before = memory::resident(proxy.pid());
        Self { redis, proxy, bystander, before }
    }

    /// The address for hostile clients.
    pub(crate) fn address(&self) -> SocketAddr {
        self.proxy.addresses[0]
    }

    /// Connects a hostile client.
    pub(crate) fn client(&self) -> TcpStream {
        open(self.address())
    }

    /// The largest growth of the process's memory so far, in bytes, without the tables of causes.
    pub(crate) fn grown(&self) -> usize {
        memory::peak(self.proxy.pid()).saturating_sub(self.before + CAUSES)
    }

    /// The growth of the process's memory that is left, in bytes, without the tables of causes.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    pub(crate) fn grown_by_now(&self) -> usize {
        memory::resident(self.proxy.pid()).saturating_sub(self.before + CAUSES)
    }

    /// Waits for the next line of the proxy's log that contains `text`, and returns it.
    pub(crate) fn wait_for_line(&mut self, text: &str) -> String {
        self.proxy.wait_for_line(text)
    }

    /// Checks that the bystander is served as before.
    pub(crate) fn bystander_is_served(&mut self) {
        send(&mut self.bystander, b"PING\r\n");
        expect(&mut self.bystander, b"+PONG\r\n");
    }

    /// Checks what must hold after every test: the bystander and a new connection are served, nothing has panicked, and
    /// the process ends in an orderly way.
    pub(crate) fn over(mut self) -> Aftermath {
        self.bystander_is_served();
        let mut newcomer = open(self.proxy.addresses[1]);
        send(&mut newcomer, b"PING\r\n");
        expect(&mut newcomer, b"+PONG\r\n");
        drop((newcomer, self.bystander));
        let grown = memory::peak(self.proxy.pid()).saturating_sub(self.before + CAUSES);
        self.proxy.signal(Signal::TERM);
        let ended = self.proxy.ended();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        for text in ["ERROR", "panic", "defect"] {
            assert!(!ended.stderr.contains(text), "{}", ended.stderr);
        }
        Aftermath { grown, log: ended.stderr }
    }

    /// Sends `script` on a connection of its own, first to Redis directly and then through the proxy. Checks that both
    /// replies are the same, up to the end of the stream, and returns them.
    pub(crate) fn same_as_direct(&self, what: &str, script: &[u8]) -> Vec<u8> {
        let direct = conversation(self.redis.address(), script);
        let proxied = conversation(self.address(), script);
        assert_eq!(shown(&proxied), shown(&direct), "{what}");
        proxied
    }
}

/// A server that the test plays itself.
pub(crate) struct FakeServer(TcpListener);

impl FakeServer {
    fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").expect("a free port"))
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("a bound address")
    }

    /// Accepts the next connection of the proxy.
    pub(crate) fn accept(&self) -> TcpStream {
        let (stream, _) = self.0.accept().expect("the proxy dials");
        tuned(stream)
    }
}

/// A connection on which no operation may take longer than [`DEADLINE`].
pub(crate) fn open(address: SocketAddr) -> TcpStream {
    tuned(TcpStream::connect(address).expect("somebody listens"))
}

fn tuned(stream: TcpStream) -> TcpStream {
    stream.set_nodelay(true).expect("a live socket");
    stream.set_read_timeout(Some(DEADLINE)).expect("a live socket");
    stream.set_write_timeout(Some(DEADLINE)).expect("a live socket");
    stream
}

pub(crate) fn send(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("the peer takes the bytes");
}

#[track_caller]
pub(crate) fn expect(stream: &mut TcpStream, expected: &[u8]) {
    let mut got = vec![0; expected.len()];
    stream.read_exact(&mut got).expect("the peer sends that many bytes");
    assert_eq!(shown(&got), shown(expected));
}

/// Sends all of `bytes` from a thread of its own, half-closes, and reads to the end. A reset counts as the end, because
/// Redis may close without having read everything.
pub(crate) fn conversation(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = open(address);
    let mut sending = stream.try_clone().expect("a live socket");
    thread::scope(|scope| {
        scope.spawn(move || {
            // A client that is refused may be closed before everything was sent.
            let _ = sending.write_all(bytes);
            let _ = sending.shutdown(Shutdown::Write);
        });
        read_to_the_end(&mut stream)
    })
}

/// Reads until the peer has closed.
pub(crate) fn read_to_the_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    if let Err(error) = stream.read_to_end(&mut got) {
        assert!(error.kind() == std::io::ErrorKind::ConnectionReset, "{error} after {}", shown(&got));
    }
    got
}

/// Bytes as text, shortened in the middle.
pub(crate) fn shown(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=2000 => bytes.escape_ascii().to_string(),
        n => format!("{}…{n} bytes…{}", bytes[..1000].escape_ascii(), bytes[n - 1000..].escape_ascii()),
    }
}

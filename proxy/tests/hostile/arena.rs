//! A proxy with two routes: one for what is hostile, one for a bystander who must not notice.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use rustix::process::Signal;

use crate::support::redis::RealRedis;
use crate::support::spawn::{Spawned, command};
use crate::support::{DEADLINE, memory};

/// What a test takes place in.
pub(crate) struct Arena {
    pub(crate) redis: RealRedis,
    proxy: Spawned,
    bystander: TcpStream,
    /// Bytes that the process held before anything hostile came.
    before: usize,
}

/// What is left to be judged when it is over.
pub(crate) struct Aftermath {
    /// By how many bytes the process has grown at most.
    pub(crate) grown: usize,
    pub(crate) log: String,
}

impl Arena {
    /// In front of a real Redis.
    pub(crate) fn new(more: &[&str]) -> Self {
        let redis = RealRedis::start(&[]);
        let upstream = redis.url();
        Self::to(redis, &upstream, more)
    }

    /// In front of a server that the test plays itself.
    pub(crate) fn with_fake(more: &[&str]) -> (Self, FakeServer) {
        let fake = FakeServer::new();
        let arena = Self::to(RealRedis::start(&[]), &format!("redis://{}", fake.address()), more);
        (arena, fake)
    }

    fn to(redis: RealRedis, upstream: &str, more: &[&str]) -> Self {
        let routes = [("a", upstream), ("b", &redis.url())].map(|(name, url)| format!("{name}=127.0.0.1:0,{url}"));
        let proxy = Spawned::start(command(&[&["--route", &routes[0], "--route", &routes[1]], more].concat()), 2);
        let mut bystander = open(proxy.addresses[1]);
        // Large enough a reply that every buffer which a thread keeps has been touched.
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

    /// Where hostile clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.proxy.addresses[0]
    }

    /// A hostile client.
    pub(crate) fn client(&self) -> TcpStream {
        open(self.address())
    }

    /// By how many bytes the process has grown so far, at most.
    pub(crate) fn grown(&self) -> usize {
        memory::peak(self.proxy.pid()).saturating_sub(self.before)
    }

    /// The next line of the proxy's log that holds `text`.
    pub(crate) fn wait_for_line(&mut self, text: &str) -> String {
        self.proxy.wait_for_line(text)
    }

    /// The bystander is served as ever.
    pub(crate) fn bystander_is_served(&mut self) {
        send(&mut self.bystander, b"PING\r\n");
        expect(&mut self.bystander, b"+PONG\r\n");
    }

    /// Checks what must be so after every test: the bystander is served, a new connection too, nothing has panicked,
    /// and the process ends orderly.
    pub(crate) fn over(mut self) -> Aftermath {
        self.bystander_is_served();
        let mut newcomer = open(self.proxy.addresses[1]);
        send(&mut newcomer, b"PING\r\n");
        expect(&mut newcomer, b"+PONG\r\n");
        drop((newcomer, self.bystander));
        let grown = memory::peak(self.proxy.pid()).saturating_sub(self.before);
        self.proxy.signal(Signal::TERM);
        let ended = self.proxy.ended();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        for text in ["ERROR", "panic", "defect"] {
            assert!(!ended.stderr.contains(text), "{}", ended.stderr);
        }
        Aftermath { grown, log: ended.stderr }
    }

    /// Sends `script` on a connection of its own, first to Redis itself and then through the proxy: what comes back until
    /// the end must be the same. Returns it.
    pub(crate) fn same_as_direct(&self, what: &str, script: &[u8]) -> Vec<u8> {
        let direct = conversation(self.redis.address(), script);
        let proxied = conversation(self.address(), script);
        assert_eq!(shown(&proxied), shown(&direct), "{what}");
        proxied
    }
}

/// A server that says what the test says.
pub(crate) struct FakeServer(TcpListener);

impl FakeServer {
    fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").expect("a free port"))
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("a bound address")
    }

    /// The next connection of the proxy.
    pub(crate) fn accept(&self) -> TcpStream {
        let (stream, _) = self.0.accept().expect("the proxy dials");
        tuned(stream)
    }
}

/// A connection on which nothing may take longer than [`DEADLINE`].
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

/// Sends all of `bytes` from a thread of its own, half-closes, and reads to the end. A reset is an end too: Redis closes
/// without having read all.
pub(crate) fn conversation(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = open(address);
    let mut sending = stream.try_clone().expect("a live socket");
    thread::scope(|scope| {
        scope.spawn(move || {
            // Who is refused may be closed before all was sent.
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

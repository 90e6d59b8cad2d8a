//! A collector that fails in every way while messages flow. Only spans are lost, each lost span is counted, and spans
//! arrive again once the collector has recovered.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::faults::traffic::Traffic;
use crate::faults::{counted, seed, stop};
use crate::support::DEADLINE;
use crate::support::redis::RealRedis;
use crate::support::spawn::{Spawned, command};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    Hangs,
    Resets,
    Nonsense,
    EndlessHead,
    Slow,
    Refuses,
}

const MOODS: [Mood; 7] =
    [Mood::Well, Mood::Hangs, Mood::Resets, Mood::Nonsense, Mood::EndlessHead, Mood::Slow, Mood::Refuses];

/// A collector for OTLP/HTTP whose behaviour depends on its mood.
struct Collector {
    address: SocketAddr,
    mood: AtomicUsize,
    met: AtomicUsize,
    over: AtomicBool,
}

impl Collector {
    fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let collector = Arc::new(Self {
            address,
            mood: AtomicUsize::new(0),
            met: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        });
        let serving = Arc::clone(&collector);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.over.load(Ordering::Relaxed) {
                    break;
                }
                let serving = Arc::clone(&serving);
                // The way in which a connection ends does not matter.
                thread::spawn(move || serving.serve(stream));
            }
        });
        collector
    }

    fn mood(&self) -> Mood {
        MOODS[self.mood.load(Ordering::Relaxed)]
    }

    /// Changes the mood, and waits until an exporter has met it.
    fn turns(&self, mood: Mood, traffic: &Traffic) {
        let index = MOODS.iter().position(|known| *known == mood).expect("a mood");
        self.mood.store(index, Ordering::Relaxed);
        self.met.store(0, Ordering::Relaxed);
        let started = Instant::now();
        while self.met.load(Ordering::Relaxed) < 2 {
            assert!(started.elapsed() < DEADLINE, "no export met a collector that is {mood:?}");
            traffic.wait_for(20);
        }
    }

    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut stream = stream;
        loop {
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).ok()? == 0 {
                    return None;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().ok()?;
                }
                if line == "\r\n" {
                    break;
                }
            }
            let mood = self.mood();
            self.met.fetch_add(1, Ordering::Relaxed);
            if mood == Mood::Resets {
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).ok()?;
                return None;
            }
            reader.read_exact(&mut vec![0; length]).ok()?;
            match mood {
                Mood::Well => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?,
                Mood::Hangs => {
                    while self.mood() == Mood::Hangs && !self.over.load(Ordering::Relaxed) {
                        thread::sleep(Duration::from_millis(5));
                    }
                    return None;
                }
                Mood::Nonsense => {
                    stream.write_all(b"\x16\x03\x01\xff\xff nonsense \r\n\r\n").ok()?;
                    return None;
                }
                Mood::EndlessHead => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\n").ok()?;
                    // This goes on until the other side closes.
                    while self.mood() == Mood::EndlessHead {
                        stream.write_all(b"x-more: and more\r\n").ok()?;
                    }
                    return None;
                }
                Mood::Slow => {
                    for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" {
                        thread::sleep(Duration::from_millis(2));
                        stream.write_all(std::slice::from_ref(byte)).ok()?;
                    }
                }
                Mood::Refuses => {
                    stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").ok()?;
                }
                Mood::Resets => unreachable!("it has been reset"),
            }
        }
    }
}

impl Drop for Over {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
        // This wakes the listener. If it cannot be reached, it has ended.
        let _ = TcpStream::connect(self.0.address);
    }
}

/// Ends the collector together with its test.
struct Over(Arc<Collector>);

#[test]
fn a_collector_that_fails_in_every_way_costs_spans_and_nothing_else() {
    let redis = RealRedis::start(&[]);
    let collector = Collector::start();
    let _over = Over(Arc::clone(&collector));
    let mut command = command(&["--listen", "127.0.0.1:0", "--upstream", &redis.url()]);
    command
        .env("OTEL_TRACES_EXPORTER", "otlp")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", collector.address))
        .env("OTEL_EXPORTER_OTLP_TIMEOUT", "300")
        .env("OTEL_BSP_SCHEDULE_DELAY", "10")
        .env("OTEL_BSP_MAX_QUEUE_SIZE", "2000")
        .env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "50");
    let proxy = Spawned::start(command, 1);
    let traffic = Traffic::start(proxy.addresses[0], seed(), 2, 2);
    for mood in MOODS.into_iter().chain([Mood::Well]) {
        collector.turns(mood, &traffic);
    }
    let outcome = traffic.end();
    assert!(outcome.missed().iter().all(|missed| *missed == 0), "messages were lost with spans");
    assert!(outcome.received.iter().all(|runs| runs.len() == 1), "nobody had to connect again");
    let log = stop(proxy);
    let [sent, failed, dropped, unsent] =
        ["spans_sent", "spans_failed", "spans_dropped", "spans_unsent"].map(|name| counted(&log, name));
    eprintln!("{sent} sent, {failed} failed, {dropped} dropped, {unsent} unsent");
    // Each publish and each delivery has a span. The last message is the one that ends the subscribers.
    let messages = outcome.acknowledged.len() as u64 + 1;
    assert_eq!(sent + failed + dropped + unsent, 3 * messages, "every span is counted once\n{log}");
    assert!(sent > 0 && failed > 0, "{log}");
}

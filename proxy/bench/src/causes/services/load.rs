//! The clients of a service: orders, looking at orders, and sums, at random times.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::failure::Failure;

/// How long an answer may take. A machine can stall for seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many orders are known to clients.
const KNOWN_ORDERS: usize = 30;

/// The users of whom there are orders.
pub(super) const USERS: u64 = 200;

/// What sums are asked for.
pub(super) const KINDS: [&str; 3] = ["gross", "net", "tax"];

/// How many requests are begun, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Requests each second, on average.
    pub(super) rate: f64,
    /// For how long requests are begun.
    pub(super) lasts: Duration,
    pub(super) seed: u64,
}

/// xorshift64*, so that a run can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A number from 0 to 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The connections on which nothing is asked, and the last orders.
struct Clients {
    address: SocketAddr,
    idle: Mutex<Vec<TcpStream>>,
    orders: Mutex<VecDeque<u64>>,
}

/// Asks the service at `address` as `load` says, and waits for all answers. Returns how many there were.
pub(super) async fn run(address: SocketAddr, load: Load) -> Result<usize, Failure> {
    let clients = Arc::new(Clients { address, idle: Mutex::default(), orders: Mutex::default() });
    let mut random = Random(load.seed | 1);
    let (began, mut due, mut count) = (Instant::now(), Duration::ZERO, 0);
    let mut requests = JoinSet::new();
    while due < load.lasts {
        sleep_until(began + due).await;
        let request = clients.next_request(&mut random);
        let clients = Arc::clone(&clients);
        requests.spawn(async move { timeout(PATIENCE, clients.ask(&request)).await });
        // Poisson: how long it takes to the next one does not depend on how long it took to this one.
        due += Duration::from_secs_f64(-(1.0 - random.share()).ln() / load.rate);
        count += 1;
    }
    while let Some(answer) = requests.join_next().await {
        let answer = answer.map_err(|_| Failure::Panicked { what: "a client" })?;
        answer.map_err(io::Error::from).and_then(|answer| answer).map_err(Failure::io("asking a service"))?;
    }
    Ok(count)
}

impl Clients {
    /// The bytes of a request.
    fn next_request(&self, random: &mut Random) -> Vec<u8> {
        let orders = lock(&self.orders);
        let (target, body) = match random.below(10) {
            0..3 if !orders.is_empty() => {
                let order = orders[usize::try_from(random.below(orders.len() as u64)).unwrap_or_default()];
                return format!("GET /orders/{order} HTTP/1.1\r\nHost: api\r\n\r\n").into_bytes();
            }
            0..7 => {
                let items: Vec<_> =
                    (0..=random.below(3)).map(|_| json!({"sku": format!("sku-{}", random.below(50))})).collect();
                ("/orders", json!({"user": format!("u{}", random.below(USERS)), "items": items}))
            }
            _ => {
                let numbers: Vec<_> = (0..3).map(|_| random.below(1000)).collect();
                let kind = KINDS[usize::try_from(random.below(3)).unwrap_or_default()];
                ("/sum", json!({"kind": kind, "numbers": numbers}))
            }
        };
        let body = body.to_string();
        let head = "HTTP/1.1\r\nHost: api\r\nContent-Type: application/json";
        format!("POST {target} {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    async fn ask(&self, request: &[u8]) -> io::Result<()> {
        let idle = lock(&self.idle).pop();
        let answered = match idle {
            Some(stream) => exchange(stream, request).await,
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        };
        // A service may close a connection on which nothing was asked, just when something is.
        let (stream, answer) = match answered {
            Err(cause) if cause.kind() != io::ErrorKind::InvalidData => {
                exchange(TcpStream::connect(self.address).await?, request).await?
            }
            answered => answered?,
        };
        lock(&self.idle).push(stream);
        if let Some(order) = answer["order"].as_u64() {
            let mut orders = lock(&self.orders);
            orders.push_back(order);
            if orders.len() > KNOWN_ORDERS {
                orders.pop_front();
            }
        }
        Ok(())
    }
}

/// Asks on a connection, and returns it with the answer.
async fn exchange(mut stream: TcpStream, request: &[u8]) -> io::Result<(TcpStream, Value)> {
    stream.set_nodelay(true)?;
    stream.write_all(request).await?;
    let answer = read_answer(&mut stream).await?;
    Ok((stream, answer))
}

/// Reads a response with a length.
async fn read_answer(stream: &mut TcpStream) -> io::Result<Value> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, head.clone());
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        let Some(body) = bytes.get(end + 4..end + 4 + length.ok_or_else(wrong)?) else { continue };
        // An order is looked for when it has been stored: no other status is right.
        if !(head.starts_with("http/1.1 200 ") || head.starts_with("http/1.1 201 ")) {
            return Err(wrong());
        }
        return serde_json::from_slice(body).map_err(|_| wrong());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Saturation: each connection sends a pipeline of commands, waits for all of its replies, and sends the next.
//!
//! Latency here is that of a pipeline, from its first byte sent to its last byte received. In a closed loop a slow
//! moment delays what would have been measured in it, so these percentiles compare targets but are not what a service
//! would see.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::connection::{Connection, Moved};
use super::poller::Poller;
use super::{READ, STALLED_AFTER};
use crate::failure::Failure;
use crate::stats::Latencies;

/// Commands sent together, and all that must come back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exchange {
    pub(crate) request: Vec<u8>,
    pub(crate) reply: Vec<u8>,
    pub(crate) operations: u64,
}

impl Exchange {
    /// Adds a command and its reply.
    pub(crate) fn push(&mut self, request: &[u8], reply: &[u8]) {
        self.request.extend_from_slice(request);
        self.reply.extend_from_slice(reply);
        self.operations += 1;
    }
}

/// What a run came to.
pub(crate) struct Ran {
    pub(crate) operations: u64,
    pub(crate) elapsed: Duration,
    pub(crate) latencies: Latencies,
}

pub(crate) struct ClosedLoop {
    clients: Vec<Client>,
    script: Rc<[Exchange]>,
    poller: Poller,
    buffer: Vec<u8>,
}

struct Client {
    connection: Connection,
    /// Which exchange of the script is under way or, between runs, comes next.
    turn: usize,
    written: usize,
    received: usize,
    started: Instant,
}

impl ClosedLoop {
    /// Connects `connections` clients, all of which go round `script`, each from a different point of it, after one exchange
    /// of `greeting`.
    pub(crate) fn connect(
        address: SocketAddr,
        connections: usize,
        script: &Rc<[Exchange]>,
        greeting: &Exchange,
    ) -> Result<Self, Failure> {
        let poller = Poller::new()?;
        let started = Instant::now();
        let clients = (0..connections).map(|index| {
            let mut connection = Connection::open(address)?;
            // Whoever accepts lazily has done so now, and a proxy has its connection to what is behind it.
            connection.exchange("a greeting", &greeting.request, &greeting.reply)?;
            connection.stop_blocking()?;
            poller.add(&connection, index)?;
            Ok(Client { connection, turn: index % script.len(), written: 0, received: 0, started })
        });
        let clients = clients.collect::<Result<_, Failure>>()?;
        Ok(Self { clients, script: Rc::clone(script), poller, buffer: vec![0; READ] })
    }

    /// Runs for `duration`, and then until the exchanges under way are complete.
    ///
    /// # Errors
    /// The first byte that differs from the script, a closed connection, or silence.
    pub(crate) fn run(&mut self, duration: Duration) -> Result<Ran, Failure> {
        let begin = Instant::now();
        let deadline = begin + duration;
        let mut ran = Ran { operations: 0, elapsed: duration, latencies: Latencies::default() };
        let mut active = self.clients.len();
        for client in &mut self.clients {
            client.start(&self.script)?;
        }
        let mut ready = Vec::new();
        while active > 0 {
            self.poller.wait(STALLED_AFTER, &mut ready)?;
            if ready.is_empty() {
                let what = format!("{active} of {} connections", self.clients.len());
                return Err(Failure::Stalled { what, waited: STALLED_AFTER });
            }
            for &index in &ready {
                let client = &mut self.clients[index];
                if let Some(operations) = client.progress(&self.script, &mut self.buffer)? {
                    let now = Instant::now();
                    ran.operations += operations;
                    ran.latencies.add(now - client.started);
                    if now < deadline {
                        client.start(&self.script)?;
                    } else {
                        active -= 1;
                    }
                }
            }
        }
        ran.elapsed = begin.elapsed();
        Ok(ran)
    }
}

impl Client {
    fn start(&mut self, script: &[Exchange]) -> Result<(), Failure> {
        self.started = Instant::now();
        (self.written, self.received) = (0, 0);
        self.write(&script[self.turn].request)
    }

    fn write(&mut self, request: &[u8]) -> Result<(), Failure> {
        while self.written < request.len() {
            match self.connection.write(&request[self.written..])? {
                Moved::Bytes(n) => self.written += n,
                Moved::Nothing => break,
            }
        }
        Ok(())
    }

    /// Does what can be done now. Returns the number of operations if that completes the exchange.
    fn progress(&mut self, script: &[Exchange], buffer: &mut [u8]) -> Result<Option<u64>, Failure> {
        let exchange = &script[self.turn];
        self.write(&exchange.request)?;
        loop {
            let Moved::Bytes(n) = self.connection.read(buffer)? else { return Ok(None) };
            let expected = &exchange.reply[self.received..];
            if !expected.starts_with(&buffer[..n]) {
                return Err(Failure::wrong("a reply", expected, &buffer[..n]));
            }
            self.received += n;
            if self.received == exchange.reply.len() {
                self.turn = (self.turn + 1) % script.len();
                return Ok(Some(exchange.operations));
            }
            // A read that does not fill the buffer has emptied the socket, and the next bytes will be reported.
            if n < buffer.len() {
                return Ok(None);
            }
        }
    }
}

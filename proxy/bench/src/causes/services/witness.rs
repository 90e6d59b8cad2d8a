//! The relays on both sides of a sidecar, from which is known what was true.
//!
//! ```text
//! service ──▶ near relay ──▶ sidecar ──▶ far relay ──▶ Redis
//! ```
//!
//! The near relay takes the marks out of commands and puts them into messages, so that the sidecar sees none. It lets a command
//! pass when the far relay has seen the one before. Commands of different connections therefore reach the sidecar one after
//! the other, and the times between which each has passed do not overlap: the time at which a span begins tells its command.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::wire::{self, Marks};

/// How long a command may take through the sidecar. A machine can stall for seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Commands that manage connections, transactions or subscriptions, and have no cause to be told.
const UNASKED: [&str; 14] = [
    "AUTH",
    "CLIENT",
    "COMMAND",
    "DISCARD",
    "EXEC",
    "HELLO",
    "INFO",
    "MULTI",
    "PING",
    "QUIT",
    "READONLY",
    "SELECT",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
];

/// A command of the service, and what it was for.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// As a span of it is called: `MULTI` of a transaction.
    pub(super) name: String,
    pub(super) marks: Marks,
    /// Between which times it passed the sidecar, in nanoseconds since 1970.
    pub(super) from: u64,
    pub(super) until: u64,
    /// The id of the span that the sidecar has put into a publish.
    pub(super) span: Option<String>,
}

/// A command has passed the sidecar: when, in nanoseconds since 1970, and with which span in it.
type Passed = (u64, Option<String>);

/// What is known of one service.
#[derive(Debug, Default)]
pub(super) struct Witness {
    sent: Mutex<Vec<Sent>>,
    /// Only the holder lets a command pass.
    turn: tokio::sync::Mutex<()>,
    passing: Mutex<Option<oneshot::Sender<Passed>>>,
    /// Messages that Redis has sent and the service has not got: payload, and the span of the publish.
    messages: Mutex<VecDeque<(Vec<u8>, Option<String>)>>,
    /// What went wrong first.
    failure: Mutex<Option<String>>,
}

/// A relay of one connection: what it tells, and one side of the sidecar.
type Pump = fn(Arc<Witness>, TcpStream, TcpStream) -> JoinSet<()>;

impl Witness {
    /// The commands so far.
    pub(super) fn sent(&self) -> Vec<Sent> {
        lock(&self.sent).clone()
    }

    /// What went wrong, if anything did.
    pub(super) fn failure(&self) -> Option<String> {
        lock(&self.failure).clone()
    }

    /// Relays between the service and the sidecar at `to`.
    pub(super) fn near(self: &Arc<Self>, listener: TcpListener, to: SocketAddr) -> JoinSet<()> {
        self.relay(listener, to, |witness, service, sidecar| {
            let ((from_service, to_service), (from_sidecar, to_sidecar)) = (service.into_split(), sidecar.into_split());
            let mut pumps = JoinSet::new();
            pumps.spawn(Arc::clone(&witness).commands(from_service, to_sidecar));
            pumps.spawn(pump(from_sidecar, to_service, move |value| witness.message_arrives(value)));
            pumps
        })
    }

    /// Relays between the sidecar and the Redis at `to`.
    pub(super) fn far(self: &Arc<Self>, listener: TcpListener, to: SocketAddr) -> JoinSet<()> {
        self.relay(listener, to, |witness, sidecar, redis| {
            let ((from_sidecar, to_sidecar), (from_redis, to_redis)) = (sidecar.into_split(), redis.into_split());
            let mut pumps = JoinSet::new();
            let other = Arc::clone(&witness);
            pumps.spawn(pump(from_sidecar, to_redis, move |value| other.command_passed(value)));
            pumps.spawn(pump(from_redis, to_sidecar, move |value| witness.message_leaves(value)));
            pumps
        })
    }

    fn relay(self: &Arc<Self>, listener: TcpListener, to: SocketAddr, start: Pump) -> JoinSet<()> {
        let witness = Arc::clone(self);
        let mut relay = JoinSet::new();
        relay.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(other) = TcpStream::connect(to).await else { continue };
                if stream.set_nodelay(true).and(other.set_nodelay(true)).is_err() {
                    continue;
                }
                let mut pumps = start(Arc::clone(&witness), stream, other);
                // When one direction has ended, so does the other.
                connections.spawn(async move { pumps.join_next().await });
                while connections.try_join_next().is_some() {}
            }
        });
        relay
    }

    fn fail(&self, what: String) {
        lock(&self.failure).get_or_insert(what);
    }

    /// Lets the commands of a connection pass, one after the other.
    async fn commands(self: Arc<Self>, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let (mut buffer, mut transaction) = (Vec::new(), None);
        while let Ok(1..) = from.read_buf(&mut buffer).await {
            while let Some(length) = wire::length(&buffer) {
                let value: Vec<u8> = buffer.drain(..length).collect();
                if let Err(cause) = self.command(&value, &mut to, &mut transaction).await {
                    return self.fail(format!("a command was lost: {cause}"));
                }
            }
        }
    }

    /// Lets one command pass. `transaction` is the place of an open `MULTI` among what was sent.
    async fn command(&self, value: &[u8], to: &mut OwnedWriteHalf, transaction: &mut Option<usize>) -> io::Result<()> {
        let words = wire::words(value).ok_or(io::ErrorKind::InvalidData)?;
        let mut marks = Marks::default();
        let clean: Vec<_> = words.iter().map(|word| marks.take(word)).collect();
        let name = words.first().map(|name| String::from_utf8_lossy(name).to_uppercase()).unwrap_or_default();
        let is_asked = !UNASKED.contains(&name.as_str());
        if is_asked && marks == Marks::default() {
            self.fail(format!("a service did not say what {name} was for"));
        }
        let bytes = wire::array(b'*', &clean);
        let (seen, passed) = oneshot::channel();
        let (from, until, span) = {
            let _turn = self.turn.lock().await;
            *lock(&self.passing) = Some(seen);
            let from = now();
            to.write_all(&bytes).await?;
            let passed = tokio::time::timeout(PATIENCE, passed).await;
            let (until, span) = passed.map_err(io::Error::other)?.map_err(io::Error::other)?;
            (from, until, span)
        };
        let mut sent = lock(&self.sent);
        match (name.as_str(), *transaction) {
            ("MULTI", _) => *transaction = Some(sent.len()),
            ("EXEC" | "DISCARD", _) => *transaction = None,
            (_, Some(begin)) => sent[begin].marks.add(&marks),
            _ => {}
        }
        // In a transaction only a publish has a span of its own.
        if name == "MULTI" || is_asked && (transaction.is_none() || span.is_some()) {
            sent.push(Sent { name, marks, from, until, span });
        }
        Ok(())
    }

    fn command_passed(&self, value: Vec<u8>) -> Vec<u8> {
        let words = wire::words(&value).unwrap_or_default();
        // The sidecar asks whether there is another one behind it.
        if words.get(1).is_some_and(|word| word.starts_with(b"redistributed:hop:")) {
            return value;
        }
        let publish = words.first().is_some_and(|name| name.eq_ignore_ascii_case(b"PUBLISH"));
        let payload = words.last().filter(|_| publish).and_then(|payload| wire::trailer(payload));
        match lock(&self.passing).take() {
            // Who waited may have given up.
            Some(seen) => drop(seen.send((now(), payload.map(|(_, span)| span)))),
            None => self.fail(format!("the sidecar has sent a command of its own: {}", value.escape_ascii())),
        }
        value
    }

    fn message_leaves(&self, value: Vec<u8>) -> Vec<u8> {
        if let Some(payload) = payload(&value) {
            let message = match wire::trailer(payload) {
                Some((body, span)) => (body.to_vec(), Some(span)),
                None => (payload.to_vec(), None),
            };
            lock(&self.messages).push_back(message);
        }
        value
    }

    fn message_arrives(&self, value: Vec<u8>) -> Vec<u8> {
        let Some(payload) = payload(&value) else { return value };
        let Some((body, Some(span))) = lock(&self.messages).pop_front() else {
            self.fail("a message came without a context".to_owned());
            return value;
        };
        if payload != body {
            self.fail("a message came that differs from what was published".to_owned());
        }
        let mut words: Vec<Vec<u8>> = wire::words(&value).unwrap_or_default().into_iter().map(<[u8]>::to_vec).collect();
        if let Some(payload) = words.last_mut() {
            payload.extend(wire::mark_of_message(&span));
        }
        wire::array(value[0], &words)
    }
}

/// The payload of a message.
fn payload(value: &[u8]) -> Option<&[u8]> {
    match wire::words(value)?[..] {
        [kind, _, payload] if kind == b"message" => Some(payload),
        _ => None,
    }
}

/// Passes values on, changed by `each`.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, each: impl Fn(Vec<u8>) -> Vec<u8>) {
    let mut buffer = Vec::new();
    while let Ok(1..) = from.read_buf(&mut buffer).await {
        let mut out = Vec::new();
        while let Some(length) = wire::length(&buffer) {
            out.extend(each(buffer.drain(..length).collect()));
        }
        if to.write_all(&out).await.is_err() {
            return;
        }
    }
}

/// The wall clock, by which spans are dated, in nanoseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "spans are dated by it")]
pub(super) fn now() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}

/// Commands by the spans that they have carried.
pub(super) fn by_span(sent: &[Sent]) -> HashMap<&str, &Sent> {
    sent.iter().filter_map(|sent| Some((sent.span.as_deref()?, sent))).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

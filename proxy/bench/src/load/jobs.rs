//! Jobs: producers add them to a list or a stream through their sidecar, and workers take them out through another one. Each
//! producer adds its next job when the last one is done, so no more jobs wait than there are producers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::STALLED_AFTER;
use super::closed_loop::Ran;
use super::connection::{Connection, Moved};
use super::message::new_keys;
use super::poller::Poller;
use super::resp::{bulk, command, strings};
use crate::failure::Failure;
use crate::stats::Latencies;

/// Spans of a job where causes are followed: of adding it and of the work on it. An `XACK` whose cause is certain has one more.
pub(crate) const FOLLOWED_SPANS: f64 = 2.0;

/// The channels on which proxies tell each other contexts, one for each key that some of them listen to.
const COMPANIONS: &[u8] = b"__redistributed:context:*";

/// How often Redis is asked whether a proxy listens.
const ASKED_EVERY: Duration = Duration::from_millis(5);

/// The group that the workers of a stream are in.
const GROUP: &[u8] = b"workers";

/// Where the UUID stands in a job, and how long it is.
const UUID: std::ops::Range<usize> = 7..43;

/// What jobs wait in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    /// `LPUSH`, and `BRPOP` by the workers.
    List,
    /// `XADD`, and `XREADGROUP` and `XACK` by the workers.
    Stream,
}

/// Where the load goes.
pub(crate) struct Ways {
    pub(crate) producers: SocketAddr,
    pub(crate) workers: SocketAddr,
    /// The address of Redis, past all proxies.
    pub(crate) redis: SocketAddr,
    /// Whether the proxy of the workers listens to what others tell of the queue.
    pub(crate) is_told: bool,
}

pub(crate) struct Jobs {
    queue: Queue,
    key: Vec<u8>,
    producers: Vec<Producer>,
    workers: Vec<Worker>,
    poller: Poller,
    added: u64,
}

struct Producer {
    line: Line,
    job: Vec<u8>,
    started: Instant,
    /// What Redis has called the entry: its id, or nothing for an element. `None` until it has answered.
    added_as: Option<Vec<u8>>,
    /// What the worker has got the entry as; `None` until the work is done.
    done_as: Option<Vec<u8>>,
}

struct Worker {
    line: Line,
    name: Vec<u8>,
    /// The job whose `XACK` has not been answered: the number of its producer, and the entry's id.
    acknowledges: Option<(usize, Vec<u8>)>,
}

/// A connection on which one answer is waited for, and what has come of it.
struct Line {
    connection: Connection,
    received: Vec<u8>,
}

impl Jobs {
    /// Connects so many producers and as many workers, which wait for the first job when this returns.
    pub(crate) fn connect(ways: &Ways, queue: Queue, workers: usize) -> Result<Self, Failure> {
        let poller = Poller::new()?;
        let key = new_keys("queue:bench", 1).remove(0);
        let mut redis = Connection::open(ways.redis)?;
        if queue == Queue::Stream {
            let create = command(&[b"XGROUP", b"CREATE", &key, GROUP, b"$", b"MKSTREAM"]);
            redis.exchange("XGROUP CREATE", &create, b"+OK\r\n")?;
        }
        let heard = listened_to(&mut redis)?;
        let open = |address, index| {
            let mut connection = Connection::open(address)?;
            connection.exchange("PING", b"PING\r\n", b"+PONG\r\n")?;
            connection.stop_blocking()?;
            poller.add(&connection, index)?;
            Ok::<_, Failure>(Line { connection, received: Vec::new() })
        };
        let (mut producers, mut waiting) = (Vec::new(), Vec::new());
        for index in 0..workers {
            let line = open(ways.producers, index)?;
            producers.push(Producer { line, job: Vec::new(), started: Instant::now(), added_as: None, done_as: None });
            let name = format!("worker-{index}").into_bytes();
            let mut worker = Worker { line: open(ways.workers, workers + index)?, name, acknowledges: None };
            worker.wait_for_job(queue, &key)?;
            waiting.push(worker);
        }
        let start = Instant::now();
        while ways.is_told && listened_to(&mut redis)? == heard {
            if start.elapsed() > STALLED_AFTER {
                let what = "the workers' proxy listens to contexts of the queue".to_owned();
                return Err(Failure::Stalled { what, waited: STALLED_AFTER });
            }
            std::thread::sleep(ASKED_EVERY);
        }
        Ok(Self { queue, key, producers, workers: waiting, poller, added: 0 })
    }

    /// Runs for `duration`, and then until the jobs under way are done.
    ///
    /// # Errors
    /// The first answer that differs, a closed connection, or silence.
    pub(crate) fn run(&mut self, duration: Duration) -> Result<Ran, Failure> {
        let begin = Instant::now();
        let mut ran = Ran { operations: 0, elapsed: duration, latencies: Latencies::default() };
        for index in 0..self.producers.len() {
            self.add(index)?;
        }
        let (mut active, mut ready) = (self.producers.len(), Vec::new());
        while active > 0 {
            self.poller.wait(STALLED_AFTER, &mut ready)?;
            if ready.is_empty() {
                let what = format!("{active} of {} producers", self.producers.len());
                return Err(Failure::Stalled { what, waited: STALLED_AFTER });
            }
            for &index in &ready {
                let Some(producer) = self.progress(index)? else { continue };
                let now = Instant::now();
                ran.operations += 1;
                ran.latencies.add(now - self.producers[producer].started);
                if now - begin < duration {
                    self.add(producer)?;
                } else {
                    active -= 1;
                }
            }
        }
        ran.elapsed = begin.elapsed();
        Ok(ran)
    }

    fn add(&mut self, index: usize) -> Result<(), Failure> {
        self.added += 1;
        let producer = &mut self.producers[index];
        producer.job = job(index, self.added);
        producer.started = Instant::now();
        (producer.added_as, producer.done_as) = (None, None);
        producer.line.connection.send(&match self.queue {
            Queue::List => command(&[b"LPUSH", &self.key, &producer.job]),
            Queue::Stream => command(&[b"XADD", &self.key, b"*", b"job", &producer.job]),
        })
    }

    /// Does what can be done on a connection, which has news. Returns the producer whose job is done and answered by it.
    fn progress(&mut self, index: usize) -> Result<Option<usize>, Failure> {
        let producer = match index.checked_sub(self.producers.len()) {
            Some(worker) => self.work(worker)?,
            None => self.take_reply(index)?.then_some(index),
        };
        let Some(index) = producer else { return Ok(None) };
        let Producer { added_as: Some(added), done_as: Some(done), .. } = &self.producers[index] else {
            return Ok(None);
        };
        if added != done {
            return Err(Failure::wrong("the id of an entry", added, done));
        }
        Ok(Some(index))
    }

    /// Whether the reply to the command that adds a job has come.
    fn take_reply(&mut self, index: usize) -> Result<bool, Failure> {
        let most = self.producers.len();
        let producer = &mut self.producers[index];
        let Some(answer) = producer.line.take()? else { return Ok(false) };
        let parts = strings(&answer).unwrap_or_default();
        let length = || std::str::from_utf8(&answer).ok()?.strip_prefix(':')?.trim_end().parse::<usize>().ok();
        producer.added_as = match (self.queue, &parts[..]) {
            (Queue::List, _) if length().is_some_and(|length| (1..=most).contains(&length)) => Some(Vec::new()),
            (Queue::Stream, [id]) if answer[0] == b'$' => Some(id.to_vec()),
            _ => return Err(Failure::wrong("the reply to an addition", b"a length or an id", &answer)),
        };
        Ok(true)
    }

    /// Returns the producer whose job this worker has done.
    fn work(&mut self, worker: usize) -> Result<Option<usize>, Failure> {
        let worker = &mut self.workers[worker];
        let Some(answer) = worker.line.take()? else { return Ok(None) };
        if let Some((producer, id)) = worker.acknowledges.take() {
            if answer != b":1\r\n" {
                return Err(Failure::wrong("the reply to XACK", b":1\r\n", &answer));
            }
            self.producers[producer].done_as = Some(id);
            worker.wait_for_job(self.queue, &self.key)?;
            return Ok(Some(producer));
        }
        let parts = strings(&answer).unwrap_or_default();
        let id = parts.get(1).filter(|_| self.queue == Queue::Stream).map_or(&b""[..], |id| id);
        let producer = parts.last().copied().and_then(producer_of).filter(|&number| number < self.producers.len());
        let job = producer.map_or(&[][..], |number| &self.producers[number].job);
        let expected = self.queue.handed_over(&self.key, id, job);
        let Some(producer) = producer.filter(|_| answer == expected) else {
            return Err(Failure::wrong("a job", &expected, &answer));
        };
        if self.queue == Queue::Stream {
            worker.line.connection.send(&command(&[b"XACK", &self.key, GROUP, id]))?;
            worker.acknowledges = Some((producer, id.to_vec()));
            return Ok(None);
        }
        self.producers[producer].done_as = Some(Vec::new());
        worker.wait_for_job(self.queue, &self.key)?;
        Ok(Some(producer))
    }
}

impl Queue {
    /// What a worker gets.
    fn handed_over(self, key: &[u8], id: &[u8], job: &[u8]) -> Vec<u8> {
        match self {
            Self::List => command(&[key, job]),
            Self::Stream => {
                let mut out = b"*1\r\n*2\r\n".to_vec();
                bulk(key, &mut out);
                out.extend_from_slice(b"*1\r\n*2\r\n");
                bulk(id, &mut out);
                out.extend_from_slice(&command(&[b"job", job]));
                out
            }
        }
    }
}

impl Worker {
    fn wait_for_job(&mut self, queue: Queue, key: &[u8]) -> Result<(), Failure> {
        self.line.connection.send(&match queue {
            Queue::List => command(&[b"BRPOP", key, b"0"]),
            #[rustfmt::skip]
            Queue::Stream => command(&[
                b"XREADGROUP", b"GROUP", GROUP, &self.name, b"COUNT", b"1", b"BLOCK", b"0", b"STREAMS", key, b">",
            ]),
        })
    }
}

impl Line {
    /// Reads what has come. Returns the answer if it is complete.
    fn take(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let mut buffer = [0; 1024];
        while let Moved::Bytes(n) = self.connection.read(&mut buffer)? {
            self.received.extend_from_slice(&buffer[..n]);
        }
        let is_complete = strings(&self.received).is_some();
        Ok(is_complete.then(|| std::mem::take(&mut self.received)))
    }
}

/// How many keys proxies listen to.
fn listened_to(redis: &mut Connection) -> Result<usize, Failure> {
    let what = "PUBSUB CHANNELS";
    let request = command(&[b"PUBSUB", b"CHANNELS", COMPANIONS]);
    let (mut sent, mut answer, mut buffer) = (redis.write(&request)?, Vec::new(), [0; 1024]);
    while let Moved::Bytes(_) = sent {
        if let Some(channels) = strings(&answer) {
            return Ok(channels.len());
        }
        sent = redis.read(&mut buffer)?;
        if let Moved::Bytes(n) = sent {
            answer.extend_from_slice(&buffer[..n]);
        }
    }
    Err(Failure::Stalled { what: what.to_owned(), waited: STALLED_AFTER })
}

/// The job with this number, as a library for jobs writes it. Its UUID holds both numbers.
fn job(producer: usize, number: u64) -> Vec<u8> {
    let id = format!("{producer:08x}-0000-4000-8000-{number:012x}");
    format!(r#"{{"id":"{id}","task":"reports.render","kwargs":{{"kind":"pdf","pages":12}},"retries":0}}"#).into_bytes()
}

/// The producer of a job.
fn producer_of(job: &[u8]) -> Option<usize> {
    let digits = job.get(UUID)?.get(..8)?;
    usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_named_by_a_uuid_that_tells_its_producer() {
        let (first, second) = (job(7, 1), job(7, 2));
        assert_eq!(&first[UUID], b"00000007-0000-4000-8000-000000000001");
        assert_eq!((producer_of(&first), producer_of(b"something else")), (Some(7), None));
        assert!(first != second && first.len() == second.len());
    }

    #[test]
    fn what_a_worker_gets_is_read_as_it_is_written() {
        let entry = Queue::Stream.handed_over(b"key", b"1-0", b"job");
        assert_eq!(strings(&entry), Some(vec![&b"key"[..], b"1-0", b"job", b"job"]));
        assert_eq!(strings(&Queue::List.handed_over(b"key", b"", b"job")), Some(vec![&b"key"[..], b"job"]));
    }
}

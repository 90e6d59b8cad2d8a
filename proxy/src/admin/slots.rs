//! The places for connections to the admin port.
//!
//! A connection is at the door until its request has arrived. There are few places at the door, and a client that sends no
//! request does not keep its place from others. Behind the door there are so many places for each kind of answer. Whoever takes
//! all places of one kind, by asking and not reading the answer, keeps nobody from another kind: least of all from
//! `/healthz`, whose answer needs no place, because the system takes it at once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};

/// Connections at the door at a time. One more takes the place of the one that has been silent for longest.
const AT_THE_DOOR: usize = 16;

/// Answers of each kind that has places, at a time.
const PLACES: usize = 16;

/// How long a connection may be silent while others wait at the door.
const GRACE: Duration = Duration::from_millis(20);

/// How long an answer may take, from the arrival of its request's head until the system has taken its last byte.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The kinds of answers, by the places that they need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A few bytes that are there at once.
    Immediate,
    /// The answer waits for Redis.
    Readiness,
    /// Any other answer that has an end.
    Page,
    /// The answer has no end, and so no limit. Its places are those of the tap.
    Endless,
}

/// The places at the door, and the connections that hold one.
pub(super) struct Door {
    free: Arc<Semaphore>,
    silent: VecDeque<Silent>,
}

/// A connection whose request had not arrived when it was last looked at.
struct Silent {
    task: AbortHandle,
    since: Instant,
    visit: Arc<Visit>,
}

/// The places behind the door.
#[derive(Debug)]
pub(super) struct Places {
    readiness: Arc<Semaphore>,
    pages: Arc<Semaphore>,
}

/// Gives the places of a visit back when the task that holds it ends, in whatever way.
pub(super) struct Leaving(pub(super) Arc<Visit>);

/// What one connection holds as long as it is served.
#[derive(Debug)]
pub(super) struct Visit {
    has_asked: AtomicBool,
    is_endless: AtomicBool,
    asked: Notify,
    /// The place at the door, and later the one behind it.
    place: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Silent {
    fn is_silent(&self) -> bool {
        !self.task.is_finished() && !self.visit.has_asked.load(Ordering::Relaxed)
    }
}

impl Door {
    /// Begins with all places free.
    pub(super) fn new() -> Self {
        Self { free: Arc::new(Semaphore::new(AT_THE_DOOR)), silent: VecDeque::new() }
    }

    /// Waits for the next place: a free one, or that of the connection that has been silent for longest, whose task is
    /// aborted.
    pub(super) async fn next(&mut self) -> Option<Arc<Visit>> {
        loop {
            self.silent.retain(Silent::is_silent);
            let patience = async {
                match self.silent.front() {
                    Some(oldest) => sleep_until(oldest.since + GRACE).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                free = Arc::clone(&self.free).acquire_owned() => return free.ok().map(Visit::new),
                () = patience => {}
            }
            // It may have sent its request meanwhile: then the next one is looked at.
            if let Some(oldest) = self.silent.pop_front().filter(Silent::is_silent) {
                oldest.task.abort();
                drop(oldest);
                return Arc::clone(&self.free).acquire_owned().await.ok().map(Visit::new);
            }
        }
    }

    /// Records that `task` serves the connection of `visit`.
    pub(super) fn entered(&mut self, task: AbortHandle, visit: Arc<Visit>) {
        self.silent.push_back(Silent { task, since: Instant::now(), visit });
    }
}

impl Places {
    /// Begins with all places free.
    pub(super) fn new() -> Self {
        let places = || Arc::new(Semaphore::new(PLACES));
        Self { readiness: places(), pages: places() }
    }

    /// Gives `visit` a place for an answer in return for its place at the door. False if all are taken; then it stays where it
    /// is.
    pub(super) fn take(&self, kind: Kind, visit: &Visit) -> bool {
        let places = match kind {
            Kind::Immediate => return true,
            Kind::Endless => {
                visit.is_endless.store(true, Ordering::Relaxed);
                visit.hold(None);
                return true;
            }
            Kind::Readiness => &self.readiness,
            Kind::Page => &self.pages,
        };
        let place = Arc::clone(places).try_acquire_owned().ok();
        let is_taken = place.is_some();
        if is_taken {
            visit.hold(place);
        }
        is_taken
    }
}

impl Visit {
    fn new(place: OwnedSemaphorePermit) -> Arc<Self> {
        Arc::new(Self {
            has_asked: AtomicBool::new(false),
            is_endless: AtomicBool::new(false),
            asked: Notify::new(),
            place: Mutex::new(Some(place)),
        })
    }

    /// Takes note that the head of the request has arrived.
    pub(super) fn ask(&self) {
        self.has_asked.store(true, Ordering::Relaxed);
        self.asked.notify_one();
    }

    /// Completes when the answer has taken too long.
    pub(super) async fn late(&self) {
        self.asked.notified().await;
        sleep(ANSWER_LIMIT).await;
        if self.is_endless.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    fn hold(&self, place: Option<OwnedSemaphorePermit>) {
        // A panic elsewhere does not make a place wrong.
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.hold(None);
    }
}

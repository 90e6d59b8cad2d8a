//! The slots for connections to the admin port. There are few, and a client that sends no request does not keep its slot from
//! others.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

/// Connections at a time. One more takes the slot of the one that has been silent for longest, or waits if all have sent
/// a request.
const SLOTS: usize = 16;

/// How long a connection may be silent while others wait for its slot.
const GRACE: Duration = Duration::from_millis(20);

/// The slots, and the connections that hold one without having sent a request.
pub(super) struct Slots {
    free: Arc<Semaphore>,
    silent: VecDeque<Silent>,
}

/// A connection whose request had not arrived when it was last looked at.
struct Silent {
    task: AbortHandle,
    since: Instant,
    asked: Arc<AtomicBool>,
}

impl Silent {
    fn is_silent(&self) -> bool {
        !self.task.is_finished() && !self.asked.load(Ordering::Relaxed)
    }
}

impl Slots {
    /// All slots are free.
    pub(super) fn new() -> Self {
        Self { free: Arc::new(Semaphore::new(SLOTS)), silent: VecDeque::new() }
    }

    /// Waits for the next slot: a free one, or that of the connection that has been silent for longest, whose task is
    /// aborted.
    pub(super) async fn next(&mut self) -> Option<OwnedSemaphorePermit> {
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
                free = Arc::clone(&self.free).acquire_owned() => return free.ok(),
                () = patience => {}
            }
            // It may have sent its request meanwhile: then the next one is looked at.
            if let Some(oldest) = self.silent.pop_front().filter(Silent::is_silent) {
                oldest.task.abort();
                return Arc::clone(&self.free).acquire_owned().await.ok();
            }
        }
    }

    /// Records that `task` has taken a slot. It sets `asked` when its request has arrived.
    pub(super) fn taken(&mut self, task: AbortHandle, asked: Arc<AtomicBool>) {
        self.silent.push_back(Silent { task, since: Instant::now(), asked });
    }
}

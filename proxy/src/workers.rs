//! Threads that carry connections.
//!
//! Each has an event loop of its own, and a connection stays on the thread it was given to. Both of its sockets are
//! watched there, so that a byte which arrives wakes the thread that will move it and no other.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The threads of the process. Dropping this ends them, and the connections that they carry.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
    _stop: DropGuard,
}

/// One thread, with its event loop.
#[derive(Debug)]
struct Worker {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
}

/// The assignment of a connection to a thread, until this is dropped.
#[derive(Debug)]
pub struct Assignment {
    /// The event loop of the thread, where the connection's task is to be spawned.
    pub runtime: Handle,
    connections: Arc<AtomicUsize>,
}

impl Workers {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// The system gives no thread, or no event loop for it.
    pub fn start(count: NonZeroUsize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let workers = (0..count.get()).map(|index| Worker::start(index, stop.clone())).collect::<io::Result<_>>()?;
        Ok(Self { workers, _stop: stop.drop_guard() })
    }

    /// Assigns a connection to the thread that has the fewest.
    pub fn assign(&self) -> Assignment {
        let load = |index: &usize| self.workers[*index].connections.load(Ordering::Relaxed);
        // There is at least one thread, so the default is never taken.
        let worker = &self.workers[(0..self.workers.len()).min_by_key(load).unwrap_or(0)];
        worker.connections.fetch_add(1, Ordering::Relaxed);
        Assignment { runtime: worker.runtime.clone(), connections: worker.connections.clone() }
    }

    /// Completes when every thread has run each task once that was ready.
    pub async fn turn(&self) {
        let turn = |worker: &Worker| worker.runtime.spawn(tokio::task::yield_now());
        let turns: Vec<_> = self.workers.iter().map(turn).collect();
        for turn in turns {
            // A thread that has ended carries nothing.
            let _ = turn.await;
        }
    }
}

impl Worker {
    fn start(index: usize, stop: CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        thread::Builder::new().name(format!("relay-{index}")).spawn(move || runtime.block_on(stop.cancelled()))?;
        Ok(Self { runtime: handle, connections: Arc::default() })
    }
}

impl Drop for Assignment {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_shared_out_evenly_and_a_thread_that_has_lost_one_gets_the_next() {
        let workers = Workers::start(NonZeroUsize::new(3).unwrap()).unwrap();
        let mut assignments: Vec<_> = (0..6).map(|_| workers.assign()).collect();
        let carried = |workers: &Workers| -> Vec<_> {
            workers.workers.iter().map(|worker| worker.connections.load(Ordering::Relaxed)).collect()
        };
        assert_eq!(carried(&workers), [2, 2, 2]);
        assignments.remove(1);
        assert_eq!(carried(&workers), [2, 1, 2]);
        assignments.push(workers.assign());
        assert_eq!(carried(&workers), [2, 2, 2]);
    }

    #[tokio::test]
    async fn what_a_thread_carries_ends_with_it() {
        let workers = Workers::start(NonZeroUsize::MIN).unwrap();
        let endless = workers.assign().runtime.spawn(std::future::pending::<()>());
        drop(workers);
        assert!(endless.await.unwrap_err().is_cancelled());
    }
}

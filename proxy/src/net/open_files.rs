//! The limit on open files. A connection takes two, and many systems start processes with a soft limit of 1024.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The file descriptors that belong neither to connections nor to worker threads: listeners, signals, exports.
const OTHERS: u64 = 64;

/// The file descriptors of one thread's event loop.
const PER_THREAD: u64 = 4;

/// Raises the process's soft limit on open files to what so many `connections` on so many `threads` need. Returns the number of
/// connections that there is room for, which is lower if the hard limit is lower or the system refuses.
pub fn make_room(connections: usize, threads: usize) -> usize {
    let others = OTHERS + PER_THREAD * threads as u64;
    let needed = 2 * connections as u64 + others;
    let limit = getrlimit(Resource::Nofile);
    let Some(soft) = limit.current.filter(|soft| *soft < needed) else { return connections };
    let raised = limit.maximum.map_or(needed, |hard| needed.min(hard));
    let now = match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum }) {
        Ok(()) => raised,
        Err(_) => soft,
    };
    // At least one, so that a client can be told of the limit.
    usize::try_from(now.saturating_sub(others) / 2).unwrap_or(connections).clamp(1, connections)
}

//! Room for sockets. Each connection takes two, and many systems start processes with a soft limit of 1024.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// File descriptors that are neither connections nor of the threads that carry them: listeners, signals, exports.
const OTHERS: u64 = 64;

/// File descriptors of a thread's event loop.
const PER_THREAD: u64 = 4;

/// Raises the process's soft limit on open files towards what `connections` on `threads` need. Returns how many of them there is
/// room for: fewer if the hard limit is lower than that, or the system refused.
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
    // One at least, so that the limit can be told to somebody.
    usize::try_from(now.saturating_sub(others) / 2).unwrap_or(connections).clamp(1, connections)
}

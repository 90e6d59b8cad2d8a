//! Room for sockets. Each connection takes two, and many systems start processes with a soft limit of 1024.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// File descriptors that are not connections: listeners, the runtime's own, exports.
const OTHERS: u64 = 64;

/// Raises the process's soft limit on open files towards what `connections` need. Returns how many of them there is
/// room for: fewer if the hard limit is lower than that, or the system refused.
pub fn make_room(connections: usize) -> usize {
    let needed = 2 * connections as u64 + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    let Some(soft) = limit.current.filter(|soft| *soft < needed) else { return connections };
    let raised = limit.maximum.map_or(needed, |hard| needed.min(hard));
    let now = match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum }) {
        Ok(()) => raised,
        Err(_) => soft,
    };
    // One at least, so that the limit can be told to somebody.
    usize::try_from(now.saturating_sub(OTHERS) / 2).unwrap_or(connections).clamp(1, connections)
}

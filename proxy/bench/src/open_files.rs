//! Room for many connections, in this process and all that it starts.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that a process holds besides its connections.
const OTHERS: u64 = 200;

/// Raises the limit on open files as far as is allowed and of use; returns how many connections a proxy, which has two
/// files for each, can hold under it.
pub(crate) fn make_room(connections: usize) -> usize {
    let wanted = connections as u64 * 2 + OTHERS;
    let now = getrlimit(Resource::Nofile);
    // Root may raise the upper limit too; everybody may go up to it.
    let highest = Rlimit { current: Some(wanted), maximum: now.maximum.map(|maximum| maximum.max(wanted)) };
    if now.current.is_some_and(|current| current < wanted) && setrlimit(Resource::Nofile, highest).is_err() {
        let allowed = Rlimit { current: now.maximum.map(|maximum| maximum.min(wanted)), maximum: now.maximum };
        // If even that is refused, the limit stays what it was.
        let _ = setrlimit(Resource::Nofile, allowed);
    }
    let room = getrlimit(Resource::Nofile).current.unwrap_or(wanted).saturating_sub(OTHERS) / 2;
    connections.min(room as usize)
}

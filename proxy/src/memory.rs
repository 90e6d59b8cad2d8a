//! The memory of the process: what is resident, and giving back what is no longer used.
//!
//! glibc keeps the memory of a burst when all of it has been freed. So the process looks at itself once a second, and has glibc
//! give free pages back when there are many. The allocator of musl does so by itself.
//!
//! That takes a lock for which a connection's thread may have to wait, so it must be rare. It is done when much more is
//! unused than after the last time, and no longer rises. If what was given back is soon in use again, the next time is later and
//! later.

use std::fs;
use std::time::{Duration, Instant};

use rustix::param::page_size;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

/// How often the process looks at its memory.
const LOOK: Duration = Duration::from_secs(1);

/// What is left with the allocator, in bytes, so that connections which come and go need not ask the system for memory.
const KEPT: i64 = 8 << 20;

/// A rise between two looks, in bytes, from which on more is expected to become unused.
const STILL_RISING: i64 = 1 << 20;

/// The least time between two trims, in looks.
const MIN_PAUSE: u32 = 4;

/// The time between two trims, in looks, when what each gave back is soon in use again.
const MAX_PAUSE: u32 = 64;

/// The size of the process, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// How much address space the process has taken.
    pub mapped: u64,
    /// How much of that is in memory, the program's own code included.
    pub resident: u64,
}

impl Size {
    /// The size at this moment. `None` where the system does not tell, which is everywhere but on Linux.
    #[must_use]
    pub fn now() -> Option<Self> {
        // Both are in pages (proc_pid_statm(5)).
        let text = fs::read_to_string("/proc/self/statm").ok()?;
        let mut numbers = text.split(' ').map_while(|word| word.parse::<u64>().ok());
        let page_size = page_size() as u64;
        Some(Self { mapped: numbers.next()? * page_size, resident: numbers.next()? * page_size })
    }
}

/// Gives memory back to the system whenever much of it has become unused. Ends at once where the allocator is not that of glibc.
pub async fn give_back() {
    if !heap_trim::SUPPORTED {
        return;
    }
    let Some(first) = Size::now() else { return };
    let mut pacing = Pacing::new(unused(first));
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        pacing.waited = pacing.waited.saturating_add(1);
        let Some(size) = Size::now() else { return };
        // A process that is as small as at its start has nothing to give, and glibc need not be asked.
        if size.resident <= first.resident + KEPT as u64 {
            continue;
        }
        // Asking and trimming lock the heap, so neither is for a thread on which anything else waits.
        match spawn_blocking(move || look(pacing, size)).await {
            Ok(next) => pacing = next,
            // The process ends.
            Err(_) => return,
        }
    }
}

/// Trims the heap if the time has come.
fn look(mut pacing: Pacing, size: Size) -> Pacing {
    if pacing.look(unused(size)) {
        let began = Instant::now();
        heap_trim::trim();
        let took = began.elapsed();
        if let Some(left) = Size::now() {
            tracing::debug!(before = size.resident, after = left.resident, ?took, "unused memory given back");
            pacing.trimmed(unused(left));
        }
    }
    pacing
}

/// How many bytes are resident and not allocated. Negative while more is allocated than has been touched.
fn unused(size: Size) -> i64 {
    // What is allocated is known modulo 2³², so the difference is, and it is nearer to 0 than 2 GiB.
    i64::from((size.resident as u32).wrapping_sub(heap_trim::allocated()).cast_signed())
}

/// Decides when the heap is trimmed.
#[derive(Clone, Copy, Debug)]
struct Pacing {
    /// What was unused after the last trim, in bytes: the program's code, stacks, and what lies between allocations.
    floor: i64,
    /// What was unused at the last look, in bytes.
    last: i64,
    /// The least time from the last trim to the next, in looks.
    pause: u32,
    /// The time since the last trim, in looks.
    waited: u32,
}

impl Pacing {
    fn new(unused: i64) -> Self {
        Self { floor: unused, last: unused, pause: MIN_PAUSE, waited: u32::MAX }
    }

    /// Takes note of how many bytes are `unused` at this look, and says whether to trim now.
    fn look(&mut self, unused: i64) -> bool {
        let rising = unused > self.last + STILL_RISING;
        self.last = unused;
        unused > self.floor + KEPT && self.waited >= self.pause && !rising
    }

    /// Takes note of a trim, after which as many bytes are `unused`.
    fn trimmed(&mut self, unused: i64) {
        self.floor = unused;
        self.last = unused;
        let soon = self.waited <= 4 * self.pause;
        self.pause = if soon { MAX_PAUSE.min(2 * self.pause) } else { MIN_PAUSE };
        self.waited = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: i64 = 1 << 20;

    /// Plays looks at which as much is unused as `unused` says of each second, and a trim leaves 8 MiB. Returns the seconds in
    /// which a trim happened.
    fn trims(seconds: u32, unused: impl Fn(u32) -> i64) -> Vec<u32> {
        let mut pacing = Pacing::new(8 * MIB);
        let (mut given_back, mut trims) = (0, Vec::new());
        for second in 0..seconds {
            pacing.waited = pacing.waited.saturating_add(1);
            if pacing.look(unused(second) - given_back) {
                given_back = unused(second) - 8 * MIB;
                pacing.trimmed(8 * MIB);
                trims.push(second);
            }
        }
        trims
    }

    #[test]
    fn a_burst_is_given_back_once() {
        assert_eq!(trims(10_000, |second| if second < 100 { 10 * MIB } else { 80 * MIB }), [101]);
    }

    #[test]
    fn a_burst_is_given_back_when_its_last_client_has_left() {
        let unused = |second: u32| i64::from(8 + 10 * second.clamp(100, 107).abs_diff(100)) * MIB;
        assert_eq!(trims(10_000, unused), [108]);
    }

    #[test]
    fn each_of_some_rare_bursts_is_given_back() {
        // Each leaves 40 MiB more.
        let unused = |second: u32| i64::from(8 + 40 * (second / 300)) * MIB;
        assert_eq!(trims(1_500, unused), [301, 601, 901, 1_201]);
    }

    #[test]
    fn a_steady_or_a_small_process_is_left_alone() {
        const NEVER: [u32; 0] = [];
        assert_eq!(trims(10_000, |_| 16 * MIB), NEVER);
        assert_eq!(trims(10_000, |second| i64::from(second % 9) * MIB), NEVER);
        // More is allocated than was touched.
        assert_eq!(trims(10_000, |_| -MIB), NEVER);
    }

    #[test]
    fn what_is_used_again_at_once_is_given_back_ever_more_seldom() {
        let mut pacing = Pacing::new(8 * MIB);
        let mut trims = Vec::new();
        for second in 0..400 {
            pacing.waited = pacing.waited.saturating_add(1);
            if pacing.look(28 * MIB) {
                trims.push(second);
                pacing.trimmed(8 * MIB);
            }
        }
        assert_eq!(trims, [1, 5, 13, 29, 61, 125, 189, 253, 317, 381]);
    }

    #[test]
    fn the_size_of_this_process_is_plausible() {
        let Some(size) = Size::now() else { return };
        assert!((1 << 20..1 << 32).contains(&size.resident), "{size:?}");
        assert!(size.mapped > size.resident, "{size:?}");
    }
}

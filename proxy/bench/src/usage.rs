//! What a process has used: processor time and memory, as Linux accounts them.
//!
//! The scheduler knows a thread's time to the nanosecond (`schedstat`) but does not say how much of it was spent in the
//! kernel; `stat` does, in ticks of 10 ms that are sampled. So the total comes from the former and its division from
//! the latter: over a window of a second the division is good to a few percent, the total to far less.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Processor time since the process started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    /// Of all threads that still live, in nanoseconds.
    total: u64,
    /// In ticks, threads that have ended included.
    user: u64,
    system: u64,
}

/// Processor time between two readings, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct CpuTime {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

/// In bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Pages in memory, also those shared with other processes.
    pub(crate) resident: u64,
    /// The same, with each shared page divided by the number of its users.
    pub(crate) proportional: u64,
}

impl Cpu {
    /// # Errors
    /// If the process has ended, or the kernel was built without scheduler statistics.
    pub(crate) fn read(pid: u32) -> Result<Self, Failure> {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let tasks = process.join("task");
        let mut total = 0;
        for task in fs::read_dir(&tasks).map_err(|cause| Failure::Read { path: tasks.clone(), cause })? {
            let path = task.map_err(|cause| Failure::Read { path: tasks.clone(), cause })?.path().join("schedstat");
            // A thread may end between the listing and the reading.
            let Ok(text) = fs::read_to_string(&path) else { continue };
            total += first_number(&path, &text)?;
        }
        let path = process.join("stat");
        let text = read(&path)?;
        let (user, system) = ticks(&text).ok_or_else(|| Failure::Format { path, what: text.clone() })?;
        Ok(Self { total, user, system })
    }

    /// What was used since `before`.
    pub(crate) fn since(self, before: Self) -> CpuTime {
        let total = self.total.saturating_sub(before.total) as f64 / 1e9;
        let user = self.user.saturating_sub(before.user) as f64;
        let system = self.system.saturating_sub(before.system) as f64;
        let share = if user + system > 0.0 { user / (user + system) } else { 0.0 };
        CpuTime { user: total * share, system: total * (1.0 - share) }
    }
}

impl CpuTime {
    pub(crate) fn total(self) -> f64 {
        self.user + self.system
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self { user: self.user + other.user, system: self.system + other.system }
    }
}

impl Memory {
    /// # Errors
    /// If the process has ended.
    pub(crate) fn read(pid: u32) -> Result<Self, Failure> {
        let path = PathBuf::from(format!("/proc/{pid}/smaps_rollup"));
        let text = read(&path)?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok())
                .map(|kib| kib * 1024)
                .ok_or_else(|| Failure::Format { path: path.clone(), what: format!("no {name}") })
        };
        Ok(Self { resident: field("Rss:")?, proportional: field("Pss:")? })
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|cause| Failure::Read { path: path.to_owned(), cause })
}

fn first_number(path: &Path, text: &str) -> Result<u64, Failure> {
    let number = text.split_whitespace().next().and_then(|word| word.parse().ok());
    number.ok_or_else(|| Failure::Format { path: path.to_owned(), what: text.to_owned() })
}

/// Fields 14 and 15 of `stat`. They are counted from the end of the program's name, which may hold spaces.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_a_name_with_spaces_and_parentheses() {
        let stat = "7011 (a (b) c) R 7009 7009 770 0 -1 4194304 99 0 1 0 2 13 0 0 20 0 1 0 388740";
        assert_eq!(ticks(stat), Some((2, 13)));
    }

    #[test]
    fn the_division_follows_the_ticks_and_the_total_the_scheduler() {
        let before = Cpu { total: 1_000_000_000, user: 10, system: 10 };
        let after = Cpu { total: 3_000_000_000, user: 60, system: 160 };
        assert_eq!(after.since(before), CpuTime { user: 0.5, system: 1.5 });
    }

    #[test]
    fn this_process_can_be_read() {
        let pid = std::process::id();
        assert!(Cpu::read(pid).unwrap().total > 0);
        let memory = Memory::read(pid).unwrap();
        assert!(memory.resident >= memory.proportional && memory.proportional > 0);
    }
}

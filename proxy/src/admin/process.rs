//! What operators expect to be told of every process, under the names that all Prometheus clients use.

use std::fs;

use redistributed_core::trace::UnixNanos;
use rustix::param::page_size;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::exposition::Page;

/// Writes the metrics of the process. Values that the system does not provide are left out. `began` is the time at which the
/// process began.
pub(super) fn write(page: &mut Page, began: UnixNanos) {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    page.process("cpu_seconds_total", "User and system CPU time spent, in seconds")
        .fraction(&[], used.tv_sec as f64 + used.tv_nsec as f64 / 1e9);
    page.process("start_time_seconds", "When the process started, in seconds since 1970")
        .fraction(&[], began.0 as f64 / 1e9);
    if let Some((virtual_pages, resident_pages)) = pages() {
        let page_size = page_size() as u64;
        page.process("resident_memory_bytes", "Resident memory, in bytes").sample(&[], resident_pages * page_size);
        page.process("virtual_memory_bytes", "Virtual memory, in bytes").sample(&[], virtual_pages * page_size);
    }
    if let Some(open) = entries("/proc/self/fd") {
        // One of them is the list itself.
        page.process("open_fds", "Open file descriptors").sample(&[], open.saturating_sub(1));
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        page.process("max_fds", "Most file descriptors that may be open").sample(&[], most);
    }
    if let Some(threads) = entries("/proc/self/task") {
        page.process("threads", "Threads of the process, those that wait for files or names among them")
            .sample(&[], threads);
    }
}

/// Virtual and resident size, in pages (proc_pid_statm(5)).
fn pages() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let mut numbers = text.split(' ').map_while(|word| word.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

fn entries(folder: &str) -> Option<u64> {
    Some(fs::read_dir(folder).ok()?.count() as u64)
}

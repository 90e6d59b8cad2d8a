//! What operators expect to be told of every process, under the names that all Prometheus clients use.

use std::fs;

use redistributed_core::trace::UnixNanos;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::exposition::Page;
use crate::memory::Size;

/// Writes the metrics of the process. Values that the system does not provide are left out. `began` is the time at which the
/// process began.
pub(super) fn write(page: &mut Page, began: UnixNanos) {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    page.process("cpu_seconds_total", "User and system CPU time spent, in seconds")
        .fraction(&[], used.tv_sec as f64 + used.tv_nsec as f64 / 1e9);
    page.process("start_time_seconds", "When the process started, in seconds since 1970")
        .fraction(&[], began.0 as f64 / 1e9);
    if let Some(size) = Size::now() {
        page.process("resident_memory_bytes", "Resident memory, in bytes").sample(&[], size.resident);
        page.process("virtual_memory_bytes", "Virtual memory, in bytes").sample(&[], size.mapped);
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

fn entries(folder: &str) -> Option<u64> {
    Some(fs::read_dir(folder).ok()?.count() as u64)
}

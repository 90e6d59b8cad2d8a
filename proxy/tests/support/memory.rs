//! The memory of a process, as the kernel reports it.

use rustix::process::Pid;

/// The resident memory in bytes.
pub(crate) fn resident(pid: Pid) -> usize {
    read(pid, "VmRSS:")
}

/// The largest resident memory since the process started, in bytes.
pub(crate) fn peak(pid: Pid) -> usize {
    read(pid, "VmHWM:")
}

fn read(pid: Pid, field: &str) -> usize {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = std::fs::read_to_string(path).expect("Linux shows what a child of ours holds");
    let value = status.lines().find_map(|line| line.strip_prefix(field)).expect("the field is there");
    let kib: usize = value.trim().trim_end_matches(" kB").parse().expect("a number of kB");
    kib * 1024
}

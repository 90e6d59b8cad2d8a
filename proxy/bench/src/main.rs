//! `redistributed-bench`; see the library.

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    redistributed_bench::main()
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::print_stderr, reason = "the only thing that it can say")]
fn main() -> std::process::ExitCode {
    eprintln!("bench: reads processor time and memory from /proc, and so runs on Linux only");
    std::process::ExitCode::FAILURE
}

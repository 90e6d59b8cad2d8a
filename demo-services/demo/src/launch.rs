//! Starting a child so that it cannot outlive this program, whatever ends it: the program starts itself as
//! `demo launch PID COMMAND…`, which asks the kernel to be killed when its parent ends, and then becomes the command.
//!
//! The request survives `exec` and is tied to the *thread* that made the child. On systems without it, children end
//! when the program ends in any way that runs destructors.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// Becomes `command`; returns only if that fails. `parent` is the process that asked for it.
#[expect(clippy::print_stderr, reason = "standard error is the log file of the child that could not be started")]
pub(crate) fn launch(parent: u32, command: &[OsString]) -> ExitCode {
    if let Err(error) = end_with_parent(parent) {
        eprintln!("cannot tie the process to its parent: {error}");
        return ExitCode::FAILURE;
    }
    let Some((program, arguments)) = command.split_first() else { return ExitCode::FAILURE };
    let error = Command::new(program).args(arguments).exec();
    eprintln!("cannot start {}: {error}", program.display());
    ExitCode::FAILURE
}

#[cfg(target_os = "linux")]
fn end_with_parent(parent: u32) -> std::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // The parent may have ended before the line above.
    if std::os::unix::process::parent_id() == parent {
        Ok(())
    } else {
        Err(std::io::Error::other("it has ended already"))
    }
}

#[cfg(not(target_os = "linux"))]
fn end_with_parent(_parent: u32) -> std::io::Result<()> {
    Ok(())
}

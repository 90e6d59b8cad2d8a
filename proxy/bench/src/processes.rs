//! The programs that are measured or measured with: starting them on free ports and ending them.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use crate::failure::Failure;

/// How long a program may take until it accepts connections.
const READY_DEADLINE: Duration = Duration::from_secs(30);

/// How often that is tried.
const READY_INTERVAL: Duration = Duration::from_millis(10);

/// How much of a program's output is shown when it fails, in bytes.
const SAID: usize = 2000;

/// The address of what does not listen.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// A running program. Dropping it kills it.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Where it listens, if it does.
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Starts `program`, which is expected to listen at `address`, with `folder` as its working folder, and waits until
    /// it does. It sees none of this process's settings for other programs.
    pub(crate) fn start(
        name: &str,
        folder: &Path,
        program: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        environment: &[(&str, &str)],
        address: SocketAddr,
    ) -> Result<Self, Failure> {
        let mut process = Self::start_silent(name, folder, program, arguments, environment)?;
        process.address = address;
        process.wait_until_it_listens()?;
        Ok(process)
    }

    /// The same of a program that does not listen.
    pub(crate) fn start_silent(
        name: &str,
        folder: &Path,
        program: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        environment: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        let failed = |cause| Failure::Start { name: name.to_owned(), cause };
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log).map_err(failed)?;
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.arg("launch").arg(std::process::id().to_string()).arg(program);
        for (key, _) in std::env::vars_os() {
            if ["OTEL_", "REDISTRIBUTED_"].iter().any(|prefix| key.as_encoded_bytes().starts_with(prefix.as_bytes())) {
                command.env_remove(key);
            }
        }
        command
            .args(arguments)
            .envs(environment.iter().copied())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(failed)?)
            .stderr(output);
        let child = command.spawn().map_err(failed)?;
        Ok(Self { name: name.to_owned(), child, log, address: NOWHERE })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails if the program has ended by itself.
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        // An error means that the process cannot be watched; the next use of it will tell.
        match self.child.try_wait() {
            Ok(Some(_)) => Err(Failure::Died { name: self.name.clone(), said: self.said() }),
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// Asks the program to end, and waits until it has.
    pub(crate) fn terminate(mut self) -> Result<(), Failure> {
        let ended = Pid::from_child(&self.child);
        kill_process(ended, Signal::TERM)
            .map_err(|cause| Failure::Start { name: self.name.clone(), cause: cause.into() })?;
        let start = Instant::now();
        while self.child.try_wait().is_ok_and(|status| status.is_none()) {
            if start.elapsed() > READY_DEADLINE {
                return Err(Failure::NotReady { name: self.name.clone(), waited: READY_DEADLINE, said: self.said() });
            }
            std::thread::sleep(READY_INTERVAL);
        }
        Ok(())
    }

    fn wait_until_it_listens(&mut self) -> Result<(), Failure> {
        let start = Instant::now();
        loop {
            self.check()?;
            if TcpStream::connect(self.address).is_ok() {
                return Ok(());
            }
            if start.elapsed() > READY_DEADLINE {
                return Err(Failure::NotReady { name: self.name.clone(), waited: READY_DEADLINE, said: self.said() });
            }
            std::thread::sleep(READY_INTERVAL);
        }
    }

    /// The end of what it wrote on its standard streams.
    pub(crate) fn said(&self) -> String {
        let said = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&said[said.len().saturating_sub(SAID)..]).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Either fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Becomes `command`, after asking the kernel to kill it when `parent` ends, whatever ends that: nothing that was started
/// may outlive a run that is interrupted. Returns only if that fails.
pub(crate) fn launch(parent: u32, command: &[OsString]) -> Failure {
    let name = || command.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return Failure::Start { name: name(), cause: error.into() };
    }
    // The parent may have ended before the line above.
    if std::os::unix::process::parent_id() != parent {
        return Failure::Start { name: name(), cause: io::Error::other("the run has ended already") };
    }
    let Some((program, arguments)) = command.split_first() else {
        return Failure::Start { name: name(), cause: io::ErrorKind::InvalidInput.into() };
    };
    let cause = Command::new(program).args(arguments).exec();
    Failure::Start { name: name(), cause }
}

/// An address of 127.0.0.1 whose port is free now.
///
/// It is free again when this returns, so another program may take it before ours does. That is rare, and then the
/// program that could not listen ends and says why.
pub(crate) fn free_address() -> Result<SocketAddr, Failure> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).map_err(Failure::Port)
}

//! The programs that the demo runs: starting them, watching them, and ending them in order.
//!
//! Each runs in a process group of its own, so that Ctrl-C in the terminal reaches this program only and the order of
//! the end is ours to choose. Each writes to a log file of its own in one temporary folder.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::failure::Failure;
use crate::ports;

/// How long a program may take to be ready. Far more than any needs on an idle machine.
const READY_DEADLINE: Duration = Duration::from_secs(30);

/// How often readiness is asked for.
const READY_INTERVAL: Duration = Duration::from_millis(20);

/// How long a program may take to end after SIGTERM. A sidecar may drain and flush for 8 s with its default settings.
const END_DEADLINE: Duration = Duration::from_secs(10);

/// Settings that a user may have for other programs and that must not change the demo.
const FOREIGN_SETTINGS: [&str; 2] = ["OTEL_", "REDISTRIBUTED_"];

/// What a process is to the others; they are ended in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Ends first, so that its sidecar has nothing left to wait for.
    Service,
    /// Flushes its spans when it ends.
    Sidecar,
    /// Everybody's server.
    Redis,
    /// Shows what the others have sent.
    Viewer,
}

/// All processes of the demo. Dropping it kills those that still run.
pub(crate) struct Processes {
    folder: TempDir,
    running: Vec<Process>,
}

struct Process {
    name: String,
    role: Role,
    child: Child,
    log: PathBuf,
}

impl Processes {
    pub(crate) fn new() -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("redistributed-demo-").tempdir().map_err(Failure::Folder)?;
        Ok(Self { folder, running: Vec::new() })
    }

    /// The folder of the logs, which is also every process's working folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts `program`, which then has the current environment without foreign settings, and `environment`.
    pub(crate) fn start<A: AsRef<OsStr>>(
        &mut self,
        role: Role,
        name: &str,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        environment: &[(&str, &str)],
    ) -> Result<(), Failure> {
        let failed = |cause: io::Error| Failure::Start { name: name.to_owned(), cause };
        let log = self.folder().join(format!("{name}.log"));
        let output = File::create(&log).map_err(failed)?;
        let foreign = std::env::vars_os()
            .map(|(key, _)| key)
            .filter(|key| FOREIGN_SETTINGS.iter().any(|prefix| key.as_encoded_bytes().starts_with(prefix.as_bytes())));

        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.arg("launch").arg(std::process::id().to_string()).arg("--").arg(program).args(arguments);
        foreign.for_each(|key| _ = command.env_remove(key));
        command
            .envs(environment.iter().copied())
            .current_dir(self.folder())
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(failed)?)
            .stderr(output)
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn().map_err(failed)?;
        self.running.push(Process { name: name.to_owned(), role, child, log });
        Ok(())
    }

    /// The process id of `name`, while it runs.
    pub(crate) fn id(&self, name: &str) -> Option<u32> {
        self.running.iter().find(|process| process.name == name)?.child.id()
    }

    /// Waits until `name` has said where it listens.
    ///
    /// # Errors
    /// As [`wait_until`](Self::wait_until).
    pub(crate) async fn address(&mut self, name: &str) -> Result<SocketAddr, Failure> {
        self.address_after(name, "listening").await
    }

    /// The address of the admin port of the sidecar `name`, once its log names it.
    pub(crate) async fn admin_address(&mut self, name: &str) -> Result<SocketAddr, Failure> {
        self.address_after(name, "admin port").await
    }

    /// The address at which the sidecar `name` takes HTTP requests, once its log names it.
    pub(crate) async fn http_address(&mut self, name: &str) -> Result<SocketAddr, Failure> {
        self.address_after(name, "listening for HTTP").await
    }

    /// The address at which the viewer `name` takes spans, once its log names it.
    pub(crate) async fn otlp_address(&mut self, name: &str) -> Result<SocketAddr, Failure> {
        self.address_after(name, "listening for OTLP").await
    }

    async fn address_after(&mut self, name: &str, what: &str) -> Result<SocketAddr, Failure> {
        let log = self.folder().join(format!("{name}.log"));
        let mut address = None;
        let named = async || {
            address = std::fs::read_to_string(&log).ok().as_deref().and_then(|log| ports::named(log, what));
            address.is_some()
        };
        self.wait_until(name, "it says where it listens", named).await?;
        let Some(address) = address else { unreachable!("it is there when the wait is over") };
        Ok(address)
    }

    /// Thinks no more of `name`, which has ended.
    pub(crate) fn forget(&mut self, name: &str) {
        self.running.retain(|process| process.name != name);
    }

    /// Asks `ready` again and again until it says yes. `what` completes the sentence "not ready: …" about `name`.
    ///
    /// # Errors
    /// If any process ends meanwhile, or it takes too long.
    pub(crate) async fn wait_until(
        &mut self,
        name: &str,
        what: &'static str,
        mut ready: impl AsyncFnMut() -> bool,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + READY_DEADLINE;
        loop {
            self.all_run()?;
            if ready().await {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let log = self.folder().join(format!("{name}.log"));
                return Err(Failure::NotReady { name: name.to_owned(), what, waited: READY_DEADLINE, log });
            }
            tokio::time::sleep(READY_INTERVAL).await;
        }
    }

    /// Fails if a process has ended by itself.
    pub(crate) fn all_run(&mut self) -> Result<(), Failure> {
        for process in &mut self.running {
            // An error means that the process cannot be watched; the next use of it will tell.
            if let Ok(Some(status)) = process.child.try_wait() {
                return Err(Failure::Died { name: process.name.clone(), status, log: process.log.clone() });
            }
        }
        Ok(())
    }

    /// Ends all processes in order. Every one is waited for, and killed when it takes too long.
    ///
    /// # Errors
    /// The first process that did not end with status 0 by itself.
    pub(crate) async fn end(&mut self) -> Result<(), Failure> {
        let mut first = Ok(());
        for role in [Role::Service, Role::Sidecar, Role::Redis, Role::Viewer] {
            let (mut now, later): (Vec<_>, Vec<_>) = self.running.drain(..).partition(|process| process.role == role);
            self.running = later;
            now.iter().for_each(Process::terminate);
            let deadline = tokio::time::Instant::now() + END_DEADLINE;
            for process in &mut now {
                first = first.and(process.ended(deadline).await);
            }
        }
        first
    }

    /// Leaves the folder with the logs for the user to read.
    pub(crate) fn keep_logs(mut self) -> PathBuf {
        self.folder.disable_cleanup(true);
        self.folder().to_owned()
    }
}

impl Process {
    fn terminate(&self) {
        if let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            // It fails only if the process has ended, which `ended` will see.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    async fn ended(&mut self, deadline: tokio::time::Instant) -> Result<(), Failure> {
        let how = match tokio::time::timeout_at(deadline, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => return Ok(()),
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => {
                // It fails only if the process has just ended.
                let _ = self.child.kill().await;
                format!("it still ran {} s after SIGTERM and was killed", END_DEADLINE.as_secs())
            }
        };
        Err(Failure::UncleanEnd { name: self.name.clone(), how, log: self.log.clone() })
    }
}

//! Reading the settings again while the process runs.
//!
//! What decides about single messages changes for every open connection with its next byte. What a listener, a
//! connection or the exporter was built with stays as it is, and is named as waiting for a restart. A file that cannot be
//! used changes nothing.

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use redistributed_core::session::Policy;

use super::Settings;
use super::args::{LogFormatArg, LogLevelArg};
use super::layers::{Said, Sources};
use super::load::{Invocation, LoadError, Loaded};
use crate::live_policy::LivePolicy;
use crate::telemetry::logging::{LIFECYCLE, LevelHandle};

/// The options that take effect while the process runs.
pub const RELOADABLE: [&str; 11] = [
    "mode",
    "mode-for",
    "include",
    "exclude",
    "carrier",
    "read-json",
    "keep-context",
    "relation",
    "trust",
    "commands",
    "log-level",
];

/// What can read the settings again.
#[derive(Debug)]
pub struct Reloader {
    invocation: Invocation,
    policy: Arc<LivePolicy>,
    level: LevelHandle,
    /// What was said of what is in force.
    in_force: Mutex<Sources>,
    /// What was configured last, of which the log's level is in force.
    log: Mutex<(LogFormatArg, LogLevelArg)>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// The settings that are different from now on.
    pub changed: Vec<String>,
    /// Those that will be after a restart.
    pub need_restart: Vec<String>,
    /// Modes that were switched by the admin port stay in force over those of the settings.
    pub switched: bool,
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The command line and the environment of a process do not change.
    #[error("there is no configuration file to read again; name one by --config or REDISTRIBUTED_CONFIG at the start")]
    NoFile,
    /// What was read cannot be used.
    #[error("nothing was changed: {0}")]
    Load(#[from] LoadError),
}

impl Reloader {
    /// For a process that runs with what `loaded` says.
    pub fn new(invocation: Invocation, loaded: &Loaded, policy: Arc<LivePolicy>, level: LevelHandle) -> Self {
        let (in_force, log) = (Mutex::new(loaded.sources.clone()), Mutex::new(loaded.settings.log));
        Self { invocation, policy, level, in_force, log }
    }

    /// Reads everything again, and puts in force what can be.
    ///
    /// # Errors
    /// [`ReloadError`]; nothing has changed then.
    pub fn reload(&self) -> Result<Reloaded, ReloadError> {
        let mut in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        if in_force.get("config").is_none_or(|said| said.values.is_empty()) {
            return Err(ReloadError::NoFile);
        }
        let Loaded { settings, sources: new, .. } = self.invocation.load()?;
        let different = different(&in_force, &new);
        let (changed, need_restart): (Vec<String>, _) =
            different.into_iter().partition(|name| RELOADABLE.contains(&name.as_str()));
        self.policy.configure(Arc::new(merged(&self.policy.configured(), &settings.policy)));
        self.level.set(settings.log.1);
        self.log.lock().unwrap_or_else(PoisonError::into_inner).1 = settings.log.1;
        // What waits for a restart is still as it was, and is named again the next time.
        let kept = mem::take(&mut in_force.0).into_iter().filter(|said| !RELOADABLE.contains(&said.name.as_str()));
        let taken = new.0.into_iter().filter(|said| RELOADABLE.contains(&said.name.as_str()));
        in_force.0 = kept.chain(taken).collect();
        Ok(Reloaded { changed, need_restart, switched: self.policy.is_switched() })
    }

    /// The same, and the log says what came of it. Blocks while it reads.
    ///
    /// # Errors
    /// As [`reload`](Self::reload).
    pub fn reload_and_log(&self) -> Result<Reloaded, ReloadError> {
        let outcome = self.reload();
        match &outcome {
            Ok(reloaded) => {
                tracing::info!(target: LIFECYCLE, "the configuration was read again; {reloaded}");
                if !reloaded.need_restart.is_empty() {
                    let waiting = reloaded.need_restart.join(", ");
                    tracing::warn!("these settings are different now and need a restart: {waiting}");
                }
            }
            // Whoever has replaced a certificate or a password asks for this too, and those are followed by themselves.
            Err(error @ ReloadError::NoFile) => {
                tracing::warn!("{error}; only certificates, keys and passwords are looked at again");
            }
            Err(error) => tracing::error!("the configuration was not read again: {error}"),
        }
        outcome
    }

    /// `settings`, as they were at the start, with what has changed since.
    pub fn in_force(&self, settings: &Settings) -> Settings {
        let log = *self.log.lock().unwrap_or_else(PoisonError::into_inner);
        Settings { policy: self.policy.configured(), log, ..settings.clone() }
    }
}

/// What changes of a policy while the process runs; the rest is for the whole life of what was built with it.
fn merged(old: &Policy, new: &Policy) -> Policy {
    let Policy { mode, modes, include, exclude, carriers, read_json, keep_context, relation, trust, commands, .. } =
        new.clone();
    Policy {
        mode,
        modes,
        include,
        exclude,
        carriers,
        read_json,
        keep_context,
        relation,
        trust,
        commands,
        ..old.clone()
    }
}

/// The names of which something else is said, in the order of `new`. Who says it does not matter.
fn different(old: &Sources, new: &Sources) -> Vec<String> {
    let values = |sources: &Sources, name: &str| sources.get(name).map(|said| said.values.clone()).unwrap_or_default();
    let gone = old.0.iter().filter(|said| new.get(&said.name).is_none());
    let names = new.0.iter().chain(gone).map(|Said { name, .. }| name);
    names.filter(|name| values(old, name) != values(new, name)).cloned().collect()
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.changed[..] {
            [] => f.write_str("nothing changes")?,
            changed => write!(f, "changed: {}", changed.join(", "))?,
        }
        if !self.need_restart.is_empty() {
            write!(f, "; after a restart: {}", self.need_restart.join(", "))?;
        }
        if self.switched {
            f.write_str("; the modes that were switched by the admin port stay in force until DELETE /mode")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::CommandFactory;

    use super::*;
    use crate::config::Args;

    fn policy(words: &[&str]) -> Policy {
        let base = ["redistributed", "--listen", "127.0.0.1:1", "--upstream", "h"];
        let words = base.iter().chain(words).map(OsString::from);
        let loaded = Invocation::new(Args::command(), words).with_file(None, &|_| None).unwrap();
        Policy::clone(&loaded.settings.policy)
    }

    #[test]
    fn of_a_policy_what_is_said_to_change_does_and_the_rest_does_not() {
        let changes = [
            ["--mode", "strip"],
            ["--mode-for", "a=observe"],
            ["--include", "b"],
            ["--exclude", "c"],
            ["--carrier", "d=json"],
            ["--read-json", "e"],
            ["--keep-context", "f"],
            ["--relation", "link"],
            ["--trust", "none"],
            ["--commands", "all"],
        ];
        let names: Vec<&str> = changes.iter().map(|[name, _]| name.trim_start_matches("--")).collect();
        // The log's level is not in a policy.
        assert_eq!([&names[..], &["log-level"]].concat(), RELOADABLE);
        let old = policy(&[]);
        for words in &changes {
            let new = format!("{:?}", policy(words));
            assert_ne!(new, format!("{old:?}"), "{words:?}");
            assert_eq!(format!("{:?}", merged(&old, &policy(words))), new, "{words:?}");
        }
        for words in [&["--inject-limit", "7KiB"][..], &["--transit-time"]] {
            assert_ne!(format!("{:?}", policy(words)), format!("{old:?}"), "{words:?}");
            assert_eq!(format!("{:?}", merged(&old, &policy(words))), format!("{old:?}"), "{words:?}");
        }
    }
}

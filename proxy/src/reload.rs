//! Reading the settings again while the process runs.
//!
//! What decides about single messages changes for every open connection with its next byte. What a listener, a
//! connection or the exporter was built with stays as it is, and is named as waiting for a restart. A file that cannot be
//! used changes nothing. Certificates and passwords in files, which are followed anyway, are looked at at once.

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use redistributed_core::policy::Policy;

use crate::logging::{LIFECYCLE, LevelHandle};
use crate::net::key_material::{KeyMaterial, Refreshed};
use crate::service::Services;
use crate::settings::sources::{RawSetting, Sources};
use crate::settings::{Invocation, LoadError, Loaded, Log, Settings};

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

/// RawSetting to who asks where only certificates and passwords are in files.
const NO_FILE: &str = "there is no configuration file, so that no setting was read again (see --config)";

/// What can read the settings again.
#[derive(Debug)]
pub struct Reloader {
    invocation: Invocation,
    services: Arc<Services>,
    level: LevelHandle,
    /// What was said of what is in force.
    in_force: Mutex<Sources>,
    /// What was configured last, of which the log's level is in force.
    log: Mutex<Log>,
    /// The certificates and passwords that settings name in files, once they have been read.
    material: OnceLock<KeyMaterial>,
}

/// What came of it; there is at least one of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// If there is a configuration file.
    pub settings: Option<ChangedSettings>,
    /// The certificates and passwords that have changed, if there are any in files.
    pub files: Option<Vec<Refreshed>>,
}

/// What the configuration file says now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedSettings {
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
    /// The command line and the environment of a process do not change, and they name no file.
    #[error("there is nothing to read again: no settings (see --config), certificates or passwords are in files")]
    Nothing,
    /// What was read cannot be used.
    #[error("no setting was changed: {0}")]
    Load(#[from] LoadError),
}

impl Reloader {
    /// For a process that runs with what `loaded` says.
    pub fn new(invocation: Invocation, loaded: &Loaded, services: Arc<Services>, level: LevelHandle) -> Self {
        let (in_force, log) = (Mutex::new(loaded.sources.clone()), Mutex::new(loaded.settings.log));
        Self { invocation, services, level, in_force, log, material: OnceLock::new() }
    }

    /// From now on `material` is read again too. The first counts.
    pub fn follow(&self, material: KeyMaterial) {
        // A second call would be refused, and there is none.
        let _ = self.material.set(material);
    }

    /// Reads everything again, puts in force what can be, and logs what came of it: a line for the settings, and one for
    /// each certificate and password that has changed. Blocks while it reads.
    ///
    /// # Errors
    /// [`ReloadError`]; no setting has changed then.
    pub fn reload(&self) -> Result<Reloaded, ReloadError> {
        let material = self.material.get().filter(|material| !material.is_empty());
        let files = material.map(|material| material.refresh(true));
        if files.as_ref().is_some_and(Vec::is_empty) {
            tracing::info!(target: LIFECYCLE, "certificates and passwords were looked at again: none has changed");
        }
        let settings = self
            .reload_settings()
            .map_err(ReloadError::Load)
            .inspect_err(|error| tracing::error!("the configuration was not read again: {error}"))?;
        match (&settings, &files) {
            (Some(settings), _) if settings.need_restart.is_empty() => {
                tracing::info!(target: LIFECYCLE, "the configuration was read again; {settings}");
            }
            (Some(settings), _) => tracing::warn!(target: LIFECYCLE, "the configuration was read again; {settings}"),
            (None, Some(_)) => tracing::info!(target: LIFECYCLE, "{NO_FILE}"),
            (None, None) => {
                tracing::info!(target: LIFECYCLE, "{}", ReloadError::Nothing);
                return Err(ReloadError::Nothing);
            }
        }
        Ok(Reloaded { settings, files })
    }

    /// `None` if there is no configuration file.
    fn reload_settings(&self) -> Result<Option<ChangedSettings>, LoadError> {
        let mut in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        if in_force.get("config").is_none_or(|said| said.values.is_empty()) {
            return Ok(None);
        }
        let Loaded { settings, sources: new, .. } = self.invocation.load()?;
        let different = different(&in_force, &new);
        let (changed, need_restart): (Vec<String>, _) =
            different.into_iter().partition(|name| RELOADABLE.contains(&name.as_str()));
        self.services.configure(Arc::new(merged(&self.services.configured(), &settings.policy)));
        self.level.set(settings.log.level);
        self.log.lock().unwrap_or_else(PoisonError::into_inner).level = settings.log.level;
        // What waits for a restart is still as it was, and is named again the next time.
        let kept = mem::take(&mut in_force.0).into_iter().filter(|said| !RELOADABLE.contains(&said.name.as_str()));
        let taken = new.0.into_iter().filter(|said| RELOADABLE.contains(&said.name.as_str()));
        in_force.0 = kept.chain(taken).collect();
        Ok(Some(ChangedSettings { changed, need_restart, switched: self.services.is_switched() }))
    }

    /// `settings`, as they were at the start, with what has changed since.
    pub fn in_force(&self, settings: &Settings) -> Settings {
        let log = *self.log.lock().unwrap_or_else(PoisonError::into_inner);
        Settings { policy: self.services.configured(), log, ..settings.clone() }
    }

    /// Who said it.
    pub fn sources(&self) -> Sources {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
    let names = new.0.iter().chain(gone).map(|RawSetting { name, .. }| name);
    names.filter(|name| values(old, name) != values(new, name)).cloned().collect()
}

impl Reloaded {
    /// Whether all that was read can be used.
    pub fn is_usable(&self) -> bool {
        self.files.iter().flatten().all(|file| file.outcome.is_ok())
    }
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.settings {
            Some(settings) => settings.fmt(f)?,
            None => f.write_str(NO_FILE)?,
        }
        match self.files.as_deref() {
            None => Ok(()),
            Some([]) => f.write_str("; certificates and passwords: none has changed"),
            Some(files) => files.iter().try_for_each(|file| write!(f, "; {file}")),
        }
    }
}

impl fmt::Display for ChangedSettings {
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

    use super::*;
    use crate::settings::Options;

    fn policy(words: &[&str]) -> Policy {
        let base = ["redistributed", "--listen", "127.0.0.1:1", "--upstream", "h"];
        let words = base.iter().chain(words).map(OsString::from);
        let loaded = Invocation::new(Options::command(), words).with_file(None, &|_| None).unwrap();
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

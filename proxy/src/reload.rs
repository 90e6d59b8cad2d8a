//! Reloads the settings while the process runs.
//!
//! Settings that decide about single messages change for every open connection with its next byte. Those that a listener, a
//! connection or the exporter was built with stay as they are, and are named as waiting for a restart. A file that cannot be
//! used changes nothing. Certificates and passwords in files, which are followed anyway, are read again at once.

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use redistributed_core::policy::Policy;
use redistributed_core::trace::UnixNanos;

use crate::clock;
use crate::logging::{LIFECYCLE, LevelHandle};
use crate::net::key_material::{KeyMaterial, Refreshed};
use crate::service::Services;
use crate::settings::otel::SECRETS;
use crate::settings::sources::{RawSetting, Sources};
use crate::settings::{Invocation, LoadError, Loaded, Log, Settings};

/// The options that take effect while the process runs.
pub const RELOADABLE: [&str; 19] = [
    "mode",
    "mode-for",
    "include",
    "exclude",
    "carrier",
    "stream-carrier",
    "read-json",
    "keep-context",
    "strip-supplied",
    "forged",
    "template",
    "hide-channel-names",
    "key-template",
    "relation",
    "follow",
    "queue",
    "trust",
    "commands",
    "log-level",
];

/// The answer to a reload where only certificates, keys and secrets are in files.
const NO_FILE: &str = "there is no configuration file, so that no setting was read again (see --config)";

/// Reloads the settings on request.
#[derive(Debug)]
pub struct Reloader {
    invocation: Invocation,
    services: Arc<Services>,
    level: LevelHandle,
    /// The settings in force as they were given.
    in_force: Mutex<Sources>,
    /// The log's settings in force. Only the level follows a reload.
    log: Mutex<Log>,
    /// The certificates, keys and secrets in files, once they have been read.
    material: OnceLock<KeyMaterial>,
    /// When settings were last read, by the wall clock, and whether they could be used. The start counts.
    last: Mutex<(UnixNanos, bool)>,
}

/// The outcome of a reload. At least one of the two is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// The changes of the settings, if there is a configuration file.
    pub settings: Option<ChangedSettings>,
    /// The outcomes for certificates, keys and secrets that have changed, if there are any in files.
    pub files: Option<Vec<Refreshed>>,
}

/// The differences between the configuration file and the settings in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedSettings {
    /// The settings that have changed.
    pub changed: Vec<String>,
    /// The settings that will change with a restart.
    pub need_restart: Vec<String>,
    /// Whether modes that were switched by the admin port stay in force over those of the settings.
    pub switched: bool,
}

/// The reason why no setting was reloaded.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The settings name no file. The command line and the environment of a process do not change.
    #[error("there is nothing to read again: no settings (see --config), certificates, keys or secrets are in files")]
    Nothing,
    /// The settings that were read cannot be used.
    #[error("no setting was changed: {0}")]
    Load(#[from] LoadError),
}

impl Reloader {
    /// For a process that runs with the settings in `loaded`.
    pub fn new(invocation: Invocation, loaded: &Loaded, services: Arc<Services>, level: LevelHandle) -> Self {
        let (in_force, log) = (Mutex::new(loaded.sources.clone()), Mutex::new(loaded.settings.log));
        // The start has read them, and could use them.
        let last = Mutex::new((clock::wall(), true));
        Self { invocation, services, level, in_force, log, material: OnceLock::new(), last }
    }

    /// Includes `material` in every reload from now on. Only the first call has an effect.
    pub fn follow(&self, material: KeyMaterial) {
        // A second call would be refused, and there is none.
        let _ = self.material.set(material);
    }

    /// Reads everything again, puts in force what can change, and logs the outcome: one line for the settings, and one for each
    /// certificate and password that has changed. Blocks while it reads.
    ///
    /// # Errors
    /// [`ReloadError`]; no setting has changed then.
    pub fn reload(&self) -> Result<Reloaded, ReloadError> {
        let material = self.material.get().filter(|material| !material.is_empty());
        let files = material.map(|material| material.refresh(true));
        if let Some(material) = material {
            self.services.set_context_keys(material.context_keys());
        }
        if files.as_ref().is_some_and(Vec::is_empty) {
            tracing::info!(target: LIFECYCLE, "certificates, keys and secrets were looked at again: none has changed");
        }
        let reloaded = self.reload_settings();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = (clock::wall(), reloaded.is_ok());
        let settings = reloaded
            .map_err(ReloadError::Load)
            .inspect_err(|error| tracing::error!("the configuration was not read again: {}", in_one_line(error)))?;
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

    /// Reloads the configuration file. It is `None` if there is none.
    fn reload_settings(&self) -> Result<Option<ChangedSettings>, LoadError> {
        let mut in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        if in_force.get("config").is_none_or(|setting| setting.values.is_empty()) {
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
        let kept =
            mem::take(&mut in_force.0).into_iter().filter(|setting| !RELOADABLE.contains(&setting.name.as_str()));
        let taken = new.0.into_iter().filter(|setting| RELOADABLE.contains(&setting.name.as_str()));
        in_force.0 = kept.chain(taken).collect();
        Ok(Some(ChangedSettings { changed, need_restart, switched: self.services.is_switched() }))
    }

    /// When settings were last read, and whether they could be used.
    pub fn last(&self) -> (UnixNanos, bool) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The settings in force: `settings`, which are those of the start, with the changes since.
    pub fn in_force(&self, settings: &Settings) -> Settings {
        let log = *self.log.lock().unwrap_or_else(PoisonError::into_inner);
        Settings { policy: self.services.configured(), log, ..settings.clone() }
    }

    /// The settings in force as they were given, with their origins.
    pub fn sources(&self) -> Sources {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The text of an error with a line for each mistake, for the log, which has one line for each event.
fn in_one_line(error: &ReloadError) -> String {
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" | ")
}

/// The policy after a reload: `new` in what changes while the process runs, and `old` in everything else.
fn merged(old: &Policy, new: &Policy) -> Policy {
    let new = new.clone();
    Policy {
        mode: new.mode,
        modes: new.modes,
        include: new.include,
        exclude: new.exclude,
        carriers: new.carriers,
        stream_carriers: new.stream_carriers,
        envelopes: new.envelopes,
        read_json: new.read_json,
        keep_context: new.keep_context,
        strip_supplied: new.strip_supplied,
        forged: new.forged,
        templates: new.templates,
        hide_channel_names: new.hide_channel_names,
        key_templates: new.key_templates,
        relation: new.relation,
        trust: new.trust,
        follow: new.follow,
        queues: new.queues,
        commands: new.commands,
        ..old.clone()
    }
}

/// The names of the settings whose values differ, in the order of `new`. Their origins do not matter.
fn different(old: &Sources, new: &Sources) -> Vec<String> {
    let values =
        |sources: &Sources, name: &str| sources.get(name).map(|setting| setting.values.clone()).unwrap_or_default();
    let gone = old.0.iter().filter(|setting| new.get(&setting.name).is_none());
    // What stands in a file of its own is followed, and only another path of the file is a change of the settings.
    let is_followed = |name: &str| {
        let file = SECRETS.iter().find(|(secret, _)| *secret == name).map(|(_, file)| *file);
        file.is_some_and(|file| old.get(file).is_some() && new.get(file).is_some())
    };
    let names = new.0.iter().chain(gone).map(|RawSetting { name, .. }| name);
    names.filter(|name| !is_followed(name)).filter(|name| values(old, name) != values(new, name)).cloned().collect()
}

impl Reloaded {
    /// Whether everything that was read can be used.
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
            Some([]) => f.write_str("; certificates, keys and secrets: none has changed"),
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
        let changes: [&[&str]; 18] = [
            &["--mode", "strip"],
            &["--mode-for", "a=observe"],
            &["--include", "b"],
            &["--exclude", "c"],
            &["--carrier", "d=json"],
            &["--stream-carrier", "d=field"],
            &["--read-json", "e"],
            &["--keep-context", "f"],
            &["--strip-supplied", "g"],
            &["--forged", "keep"],
            &["--template", "g=h"],
            &["--hide-channel-names"],
            &["--key-template", "h:*"],
            &["--relation", "link"],
            &["--follow", "link"],
            &["--queue", "i:*"],
            &["--trust", "none"],
            &["--commands", "all"],
        ];
        let names: Vec<&str> = changes.iter().map(|words| words[0].trim_start_matches("--")).collect();
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

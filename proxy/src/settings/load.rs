//! From the process to checked settings: command line, environment and file, read as often as need be.

use std::ffi::OsString;
use std::fmt;

use clap::{ArgMatches, Command, FromArgMatches};

use super::environment::{self, Environment};
use super::error::InvalidSettings;
use super::file::ConfigFile;
use super::otel::variables;
use super::sources::Sources;
use super::{Options, Settings, command_line};

/// The words that the program was called with, and what they may be. The environment and the file are read each time.
/// `Debug` does not show the words: they may hold a secret.
#[derive(Clone)]
pub struct Invocation {
    command: Command,
    words: Vec<OsString>,
}

/// The settings as they were given, and what they mean. `Debug` shows only what they mean, which holds no secret.
pub struct Loaded {
    /// The command line, the environment and the file, as options.
    pub options: Options,
    /// The checked settings, with all warnings.
    pub settings: Settings,
    /// Every setting as it was given, and by which source.
    pub sources: Sources,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// What the parser of the command line has to say, `--help` and `--version` among it.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    /// Values, or a configuration file, that cannot be used.
    #[error(transparent)]
    Settings(#[from] InvalidSettings),
}

impl Invocation {
    /// `words` as `command` reads them; the first is the program's name. `command` has the options of [`Options`], and may
    /// have more.
    pub fn new(command: Command, words: impl IntoIterator<Item = OsString>) -> Self {
        Self { command, words: words.into_iter().collect() }
    }

    /// What the parser makes of command line and environment.
    ///
    /// # Errors
    /// What it has to say, `--help` and `--version` among it.
    pub fn matches(&self) -> Result<ArgMatches, clap::Error> {
        command_line::read(&self.command, &self.words, None).map(|(matches, _)| matches)
    }

    /// Reads all three.
    ///
    /// # Errors
    /// [`LoadError`] for the first of them that cannot be used.
    pub fn load(&self) -> Result<Loaded, LoadError> {
        let matches = self.matches()?;
        let file = command_line::path(&matches).map(|path| ConfigFile::read(path, &self.command)).transpose()?;
        let environment = Environment::default();
        let mut loaded = self.with_file(file.as_ref(), &|name| environment.get(name))?;
        let unknown = environment::unknown(std::env::vars_os(), &self.command);
        loaded.settings.warnings.extend(environment.into_warnings().chain(unknown));
        Ok(loaded)
    }

    /// The same with this file, and with `variables` for the `OTEL_*` variables of the environment.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn with_file(
        &self,
        file: Option<&ConfigFile>,
        variables: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Loaded, LoadError> {
        let (matches, mut sources) = command_line::read(&self.command, &self.words, file)?;
        let options = Options::from_arg_matches(&matches).map_err(command_line::redacted)?;
        let (said, errors) = variables::read(variables, file);
        if !errors.is_empty() {
            return Err(InvalidSettings::of_settings(errors).into());
        }
        sources.0.extend(said);
        let settings = Settings::from_sources(&options, &sources, &|name| lookup(&sources, name))?;
        Ok(Loaded { options, settings, sources })
    }
}

/// A variable's value.
fn lookup(sources: &Sources, name: &str) -> Option<String> {
    sources.get(name)?.values.first().map(|value| value.to_string_lossy().into_owned())
}

impl fmt::Debug for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invocation").finish_non_exhaustive()
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("settings", &self.settings).finish_non_exhaustive()
    }
}

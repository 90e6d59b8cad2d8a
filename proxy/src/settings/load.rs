//! Loads the settings of the process from the command line, the environment and the file, as often as they are asked for.

use std::ffi::OsString;
use std::fmt;

use clap::{ArgMatches, Command, FromArgMatches};

use super::environment::{self, EnvironmentVariables};
use super::error::InvalidSettings;
use super::file::ConfigFile;
use super::origin::Origin;
use super::otel_sources;
use super::routes::REDIS_URL;
use super::sources::Sources;
use super::{Options, Settings, command_line};

/// The command line of this process, with the definition of its options. The environment and the file are read each time the
/// settings are loaded. The words may hold a secret, so `Debug` does not show them.
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

/// The reason why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The error of the command line's parser. `--help` and `--version` are such errors too.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    /// Values, or a configuration file, that cannot be used.
    #[error(transparent)]
    Settings(#[from] InvalidSettings),
}

impl Invocation {
    /// For a program that was called with `words`, of which the first is its name. `command` defines [`Options`], and may
    /// define more.
    pub fn new(command: Command, words: impl IntoIterator<Item = OsString>) -> Self {
        Self { command, words: words.into_iter().collect() }
    }

    /// Parses the command line and the environment.
    ///
    /// # Errors
    /// The parser's error. `--help` and `--version` are such errors too.
    pub fn matches(&self) -> Result<ArgMatches, clap::Error> {
        command_line::read(&self.command, &self.words, None).map(|(matches, _)| matches)
    }

    /// Parses the command line, the environment and the file, which are not checked, and says where each value came from.
    ///
    /// # Errors
    /// [`LoadError`] for the first of the three that cannot be read.
    pub fn sources(&self) -> Result<(ArgMatches, Sources), LoadError> {
        let matches = self.matches()?;
        let file = command_line::path(&matches).map(|path| ConfigFile::read(path, &self.command)).transpose()?;
        Ok(command_line::read(&self.command, &self.words, file.as_ref())?)
    }

    /// Reads the command line, the environment and the file.
    ///
    /// # Errors
    /// [`LoadError`] for the first of the three that cannot be used.
    pub fn load(&self) -> Result<Loaded, LoadError> {
        let matches = self.matches()?;
        let file = command_line::path(&matches).map(|path| ConfigFile::read(path, &self.command)).transpose()?;
        let environment = EnvironmentVariables::default();
        let mut loaded = self.with_file(file.as_ref(), &|name| environment.get(name))?;
        let unknown = environment::unknown(std::env::vars_os(), &self.command);
        let nearly_otel = environment::nearly_otel(std::env::vars_os());
        loaded.settings.warnings.extend(environment.into_warnings().chain(unknown).chain(nearly_otel));
        Ok(loaded)
    }

    /// As [`load`](Self::load), with `file` in place of the one that is named, and with `variables` as the environment's
    /// `OTEL_*` variables.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn with_file(
        &self,
        file: Option<&ConfigFile>,
        variables: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Loaded, LoadError> {
        let (matches, mut sources) = command_line::read(&self.command, &self.words, file)?;
        let mut options = Options::from_arg_matches(&matches).map_err(command_line::redacted)?;
        if let Some(url) = variables(REDIS_URL).filter(|url| !url.is_empty() && options.routes.lacks_upstream()) {
            sources.set("upstream", Origin::Environment(REDIS_URL.to_owned()), url.clone());
            options.routes.upstream = Some(url);
        }
        let (said, errors) = otel_sources::read(variables, file);
        if !errors.is_empty() {
            return Err(InvalidSettings::of_settings(errors).into());
        }
        sources.0.extend(said);
        let settings = Settings::from_sources(&options, &sources, &|name| lookup(&sources, name))?;
        Ok(Loaded { options, settings, sources })
    }
}

/// The value of the variable `name`.
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

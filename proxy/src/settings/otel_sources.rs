//! Where the `OTEL_*` variables come from: each from the environment, otherwise from the table `[otel]` of the configuration file.
//!
//! A variable that may hold a secret has a form with `_FILE` at its end, which names a file that holds the value. The
//! environment wins over the configuration file, whichever form either of them uses. An empty variable counts as unset.

use std::fs;
use std::io::{self, Read};

use super::error::SettingError;
use super::file::{ConfigFile, FileSetting};
use super::origin::Origin;
use super::otel::{OtelSettings, OtelWarning, PROXIES, SECRETS, VARIABLES};
use super::redact::redact_path;
use super::sources::{RawSetting, Sources};
use super::validation::Validation;

/// The largest file with a secret, in bytes: more than any HTTP server takes as headers.
const MAX_SECRET: u64 = 64 * 1024;

/// Looks a variable up in one of the two sources.
type Layer<'a> = &'a dyn Fn(&str) -> Option<RawSetting>;

/// Reads every variable that is set. The errors are files with a secret that cannot be used, and variables that are set
/// together with their `_FILE` form.
pub(super) fn read(
    environment: &dyn Fn(&str) -> Option<String>,
    file: Option<&ConfigFile>,
) -> (Vec<RawSetting>, Vec<SettingError>) {
    let (mut settings, mut errors) = (Vec::new(), Vec::new());
    let from_environment = |name: &str| {
        let value = environment(name).filter(|value| !value.trim().is_empty())?;
        Some(raw(name, value, Origin::Environment(name.to_owned()), None))
    };
    let from_file = |name: &str| {
        let file = file?;
        let setting = file.get(name)?;
        let value = setting.values.first().filter(|value| !value.text.trim().is_empty())?;
        let origin = Origin::File(file.path.clone(), Some(value.position));
        Some(raw(name, value.text.clone(), origin, Some(setting.clone())))
    };
    for name in VARIABLES {
        let secret_file = SECRETS.iter().find(|(secret, _)| *secret == name).map(|(_, file)| *file);
        for layer in [&from_environment as Layer<'_>, &from_file] {
            match (layer(name), secret_file.and_then(|variable| Some((variable, layer(variable)?)))) {
                (Some(_), Some((variable, by_file))) => errors.push(SettingError {
                    setting: Some(variable.into()),
                    origin: by_file.origin,
                    value: None,
                    problem: format!("{name} is set beside it"),
                    remedy: "set only one of them".into(),
                }),
                (Some(value), None) => settings.push(value),
                (None, Some((variable, by_file))) => match secret(&by_file) {
                    Ok(value) => {
                        settings.push(raw(name, value, by_file.origin.clone(), None));
                        // The path too, because the file is followed.
                        settings.push(RawSetting { name: variable.to_owned(), ..by_file });
                    }
                    Err(problem) => errors.push(SettingError {
                        setting: Some(variable.into()),
                        origin: by_file.origin,
                        value: by_file.values.first().map(|path| redact_path(path.as_ref())),
                        problem: problem.to_string(),
                        remedy: "name a readable file that holds what the variable would".into(),
                    }),
                },
                (None, None) => continue,
            }
            break;
        }
    }
    settings.extend(PROXIES.as_flattened().iter().filter_map(|name| from_environment(name)));
    (settings, errors)
}

fn raw(name: &str, value: String, origin: Origin, in_file: Option<FileSetting>) -> RawSetting {
    RawSetting { name: name.to_owned(), origin, values: vec![value.into()], in_file }
}

/// Reads the secret from the file that `by_file` names, without white space around it.
fn secret(by_file: &RawSetting) -> io::Result<String> {
    let path = by_file.values.first().map(|path| path.to_string_lossy().trim().to_owned()).unwrap_or_default();
    let mut text = String::new();
    fs::File::open(path)?.take(MAX_SECRET + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_SECRET {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is larger than 64 KiB"));
    }
    let text = text.trim();
    if text.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is empty"));
    }
    Ok(text.to_owned())
}

impl Validation<'_> {
    /// The meaning of the `OTEL_*` variables, with a warning for each value that was set aside.
    pub(super) fn otel(&mut self, lookup: &dyn Fn(&str) -> Option<String>) -> Option<(OtelSettings, Vec<String>)> {
        match OtelSettings::from_lookup(lookup) {
            Ok((otel, warnings)) => {
                Some((otel, warnings.iter().map(|warning| located(self.sources, warning)).collect()))
            }
            Err(error) => {
                let (setting, value, problem, remedy) = error.parts();
                self.reject(setting, value, problem, remedy);
                None
            }
        }
    }
}

/// The text of `warning`, with the position if the configuration file set the variable.
fn located(sources: &Sources, warning: &OtelWarning) -> String {
    match sources.origin(warning.variable, None) {
        origin @ Origin::File(..) => format!("{origin}: {warning}"),
        _ => warning.to_string(),
    }
}

//! The settings as they were given, and the source that each value came from.

use std::ffi::OsString;
use std::fmt;

use super::file::FileSetting;
use super::origin::{Origin, Position};

/// One option or `OTEL_*` variable as it was given. The values may be secrets, so `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct RawSetting {
    /// The option's name without `--`, or the variable's.
    pub name: String,
    /// The source that all its values came from.
    pub origin: Origin,
    /// The values as they were typed.
    pub values: Vec<OsString>,
    /// The same setting with its positions, if it came from the configuration file.
    pub(super) in_file: Option<FileSetting>,
}

impl fmt::Debug for RawSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.origin)
    }
}

/// Every setting as it was given.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Sources(pub Vec<RawSetting>);

impl Sources {
    /// The option `name`, without `--`, or the variable `name`, as it was given.
    pub fn get(&self, name: &str) -> Option<&RawSetting> {
        self.0.iter().find(|setting| setting.name == name)
    }

    /// Takes note that the option `name` was given as `value`, in place of what was known of it.
    pub(super) fn set(&mut self, name: &str, origin: Origin, value: String) {
        self.0.retain(|setting| setting.name != name);
        self.0.push(RawSetting { name: name.to_owned(), origin, values: vec![value.into()], in_file: None });
    }

    /// The origin of the option or variable `name`.
    pub fn origin_of(&self, name: &str) -> Origin {
        self.get(name).map_or(Origin::Default, |setting| setting.origin.clone())
    }

    /// The origin of `value`, one of the values of the option `name`. In a file it is the position of that value.
    pub fn origin(&self, name: &str, value: Option<&str>) -> Origin {
        let Some(setting) = self.get(name) else { return Origin::Default };
        match (&setting.origin, &setting.in_file) {
            (Origin::File(path, _), Some(setting)) => Origin::File(path.clone(), Some(position_of(setting, value))),
            (origin, _) => origin.clone(),
        }
    }

    /// The origin of the value at `index` of the option `name`, or of `part` if that is one of the value's parts.
    pub fn origin_at(&self, name: &str, index: usize, part: Option<&str>) -> Origin {
        let Some(setting) = self.get(name) else { return Origin::Default };
        let value = setting.in_file.as_ref().and_then(|setting| setting.values.get(index));
        match (&setting.origin, value) {
            (Origin::File(path, _), Some(value)) => {
                let part = value.parts.iter().find(|(text, _)| Some(text.as_str()) == part);
                Origin::File(path.clone(), Some(part.map_or(value.position, |(_, position)| *position)))
            }
            (origin, _) => origin.clone(),
        }
    }
}

/// The position of `value` among the values of `setting`, or among their parts.
fn position_of(setting: &FileSetting, value: Option<&str>) -> Position {
    let Some(text) = value else { return setting.position };
    let parts = || setting.values.iter().flat_map(|value| &value.parts);
    let whole = setting.values.iter().find(|value| value.text == text).map(|value| value.position);
    whole.or_else(|| parts().find(|(part, _)| part == text).map(|(_, position)| *position)).unwrap_or_else(|| {
        // A part of a text on one line, or a setting of one value.
        let holds = setting.values.iter().find(|value| value.text.contains(text));
        holds.or(setting.values.first()).map_or(setting.position, |value| value.position)
    })
}

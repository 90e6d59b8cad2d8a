//! Modes by name, for all channels and for some: `inject orders.*=strip`.

use redistributed_core::glob::{Glob, GlobError};
use redistributed_core::policy::Mode;

use crate::live_policy::Modes;

/// A text that names no modes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModesError {
    /// Not a word for all channels.
    #[error("one word has to be the mode of all other channels: inject, strip, observe or auto")]
    NoGeneral,
    /// Two.
    #[error("two words are the mode of all other channels: `{0}` and `{1}`")]
    TwoGeneral(&'static str, &'static str),
    /// Neither a mode nor a glob with a mode.
    #[error("`{0}` is neither a mode nor GLOB=MODE; the modes are inject, strip, observe and auto")]
    Unknown(String),
    /// A glob that cannot have been meant.
    #[error("`{0}`: {1}")]
    Glob(String, GlobError),
}

/// The mode's name, as operators write it.
pub fn name(mode: Mode) -> &'static str {
    match mode {
        Mode::Inject => "inject",
        Mode::Strip => "strip",
        Mode::Observe => "observe",
        Mode::Auto => "auto",
    }
}

/// The mode of this name.
pub fn named(text: &str) -> Option<Mode> {
    [Mode::Inject, Mode::Strip, Mode::Observe, Mode::Auto].into_iter().find(|mode| name(*mode) == text)
}

/// As [`parse`] reads it.
pub fn show(modes: &Modes) -> String {
    let channels = modes.channels.iter().map(|(glob, mode)| format!(" {}={}", glob.as_str(), name(*mode)));
    name(modes.general).to_owned() + &channels.collect::<String>()
}

/// Reads words separated by white space: one mode, and any number of `GLOB=MODE`, of which the first that matches a channel
/// decides.
///
/// # Errors
/// [`ModesError`] for the first word that cannot be used.
pub fn parse(text: &str) -> Result<Modes, ModesError> {
    let (mut general, mut channels) = (None, Vec::new());
    for word in text.split_whitespace() {
        if let Some(mode) = named(word) {
            match general.replace(mode) {
                Some(before) => return Err(ModesError::TwoGeneral(name(before), name(mode))),
                None => continue,
            }
        }
        // From the right: a channel may hold a `=`, the name of a mode does not.
        let choice = word.rsplit_once('=').and_then(|(pattern, mode)| Some((pattern, named(mode)?)));
        let (pattern, mode) = choice.ok_or_else(|| ModesError::Unknown(word.to_owned()))?;
        channels.push((Glob::new(pattern).map_err(|problem| ModesError::Glob(word.to_owned(), problem))?, mode));
    }
    Ok(Modes { general: general.ok_or(ModesError::NoGeneral)?, channels })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_shown_in_the_same_words() {
        for text in ["inject", "strip", "observe", "auto", "inject orders.*=strip a=b=observe b=auto"] {
            assert_eq!(show(&parse(text).unwrap()), text);
        }
        assert_eq!(show(&parse(" a=strip\n inject \n").unwrap()), "inject a=strip");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, error) in [
            ("", ModesError::NoGeneral),
            ("a=strip", ModesError::NoGeneral),
            ("inject strip", ModesError::TwoGeneral("inject", "strip")),
            ("inject off", ModesError::Unknown("off".to_owned())),
            ("inject a=off", ModesError::Unknown("a=off".to_owned())),
            ("Inject", ModesError::Unknown("Inject".to_owned())),
            ("inject =strip", ModesError::Glob("=strip".to_owned(), GlobError::Empty)),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }
}

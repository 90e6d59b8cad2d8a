//! Modes by name, for all channels and for some: `inject orders.*=strip`.

use redistributed_core::choice::Choice;
use redistributed_core::glob::{Glob, GlobError};
use redistributed_core::policy::Mode;

use super::choices;

/// A mode for all channels, and other modes for some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modes {
    /// The mode of channels that no glob matches.
    pub general: Mode,
    /// The first glob that matches decides.
    pub channels: Vec<(Glob, Mode)>,
}

/// A text that names no modes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModesError {
    /// Not a word for all channels.
    #[error("one word has to be the mode of all other channels: {}", choices::listed::<Mode>("or", str::to_owned))]
    NoGeneral,
    /// Two.
    #[error("two words are the mode of all other channels: `{0}` and `{1}`")]
    TwoGeneral(Mode, Mode),
    /// Neither a mode nor a glob with a mode.
    #[error("`{0}` is neither a mode nor GLOB=MODE; the modes are {known}", known = choices::listed::<Mode>("and", str::to_owned))]
    Unknown(String),
    /// A glob that cannot have been meant.
    #[error("`{0}`: {1}")]
    Glob(String, GlobError),
}

/// As [`parse`] reads it.
pub fn show(modes: &Modes) -> String {
    let channels = modes.channels.iter().map(|(glob, mode)| format!(" {}={}", glob.as_str(), mode));
    modes.general.to_string() + &channels.collect::<String>()
}

/// Reads words separated by white space: one mode, and any number of `GLOB=MODE`, of which the first that matches a channel
/// decides.
///
/// # Errors
/// [`ModesError`] for the first word that cannot be used.
pub fn parse(text: &str) -> Result<Modes, ModesError> {
    let (mut general, mut channels) = (None, Vec::new());
    for word in text.split_whitespace() {
        if let Some(mode) = Mode::parse(word) {
            match general.replace(mode) {
                Some(before) => return Err(ModesError::TwoGeneral(before, mode)),
                None => continue,
            }
        }
        // From the right: a channel may hold a `=`, the name of a mode does not.
        let choice = word.rsplit_once('=').and_then(|(pattern, mode)| Some((pattern, Mode::parse(mode)?)));
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
            ("inject strip", ModesError::TwoGeneral(Mode::Inject, Mode::Strip)),
            ("inject off", ModesError::Unknown("off".to_owned())),
            ("inject a=off", ModesError::Unknown("a=off".to_owned())),
            ("Inject", ModesError::Unknown("Inject".to_owned())),
            ("inject =strip", ModesError::Glob("=strip".to_owned(), GlobError::Empty)),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }
}

//! The modes of a policy as one text: `inject orders.*=strip`.

use std::fmt;
use std::str::FromStr;

use redistributed_core::choice::Choice;
use redistributed_core::glob::{Glob, GlobError};
use redistributed_core::policy::Mode;
use redistributed_core::printable::printable;

use super::choices;

/// A mode for all channels, and other modes for some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modes {
    /// The mode of channels that no glob matches.
    pub general: Mode,
    /// The mode of a channel: the first glob that matches it decides.
    pub channels: Vec<(Glob, Mode)>,
}

/// A text that names no modes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModesError {
    /// No word is a mode for all channels.
    #[error("one word has to be the mode of all other channels: {}", choices::list::<Mode>("or", str::to_owned))]
    NoGeneral,
    /// Two words are modes for all channels.
    #[error("two words are the mode of all other channels: `{0}` and `{1}`")]
    TwoGeneral(Mode, Mode),
    /// A word is neither a mode nor a glob with a mode.
    #[error(
        "`{word}` is neither a mode nor GLOB=MODE; the modes are {known}",
        word = printable(.0),
        known = choices::list::<Mode>("and", str::to_owned)
    )]
    Unknown(String),
    /// A glob cannot be used.
    #[error("`{word}`: {1}", word = printable(.0))]
    Glob(String, GlobError),
}

impl FromStr for Modes {
    type Err = ModesError;

    /// Reads words separated by white space: one mode, and any number of `GLOB=MODE`, of which the first that matches a
    /// channel decides.
    fn from_str(text: &str) -> Result<Self, ModesError> {
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
        Ok(Self { general: general.ok_or(ModesError::NoGeneral)?, channels })
    }
}

impl fmt::Display for Modes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.general)?;
        self.channels.iter().try_for_each(|(glob, mode)| write!(f, " {}={mode}", printable(glob.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_shown_in_the_same_words() {
        for text in ["inject", "strip", "observe", "auto", "inject orders.*=strip a=b=observe b=auto"] {
            assert_eq!(text.parse::<Modes>().unwrap().to_string(), text);
        }
        assert_eq!(" a=strip\n inject \n".parse::<Modes>().unwrap().to_string(), "inject a=strip");
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
            assert_eq!(text.parse::<Modes>(), Err(error), "{text}");
        }
    }
}

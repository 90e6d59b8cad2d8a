//! Settings whose value is one of a few names, each defined once.
//!
//! The macro [`choice!`] defines the enum. The name of each value and its line in `--help` stand beside the variant,
//! and everything else follows from them: parsing, display, the possible values that help lists, and the texts of errors.

/// A setting whose value is one of a few names.
pub trait Choice: Copy + Eq + 'static {
    /// Every value, in the order in which help lists them.
    const ALL: &'static [Self];

    /// The name that an operator writes for this value.
    fn name(self) -> &'static str;

    /// One line about this value, for help.
    fn help(self) -> &'static str;

    /// The value that an operator writes as `name`, in lower case; `None` if there is none.
    fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|choice| choice.name() == name)
    }
}

/// Defines an enum that implements [`Choice`], `Display` and `Default`.
///
/// The line of help of a value is the doc comment of its variant without the final period.
///
/// ```
/// use redistributed_core::choice::{Choice, choice};
///
/// choice! {
///     /// How loud it is.
///     pub enum Volume, default Low {
///         /// Only the neighbours hear it.
///         Low = "low",
///         /// Everybody hears it.
///         High = "high",
///     }
/// }
///
/// assert_eq!(Volume::parse("high"), Some(Volume::High));
/// assert_eq!(Volume::default().to_string(), "low");
/// assert_eq!(Volume::High.help(), "Everybody hears it");
/// ```
#[macro_export]
macro_rules! choice {
    (
        $(#[$meta:meta])*
        $visibility:vis enum $type:ident, default $default:ident {
            $($(#[doc = $help:literal])+ $variant:ident = $name:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $visibility enum $type {
            $($(#[doc = $help])+ $variant,)+
        }

        impl $crate::choice::Choice for $type {
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            fn help(self) -> &'static str {
                let line = match self {
                    $(Self::$variant => concat!($($help),+),)+
                };
                line.trim_ascii().trim_end_matches('.')
            }
        }

        impl ::core::default::Default for $type {
            fn default() -> Self {
                Self::$default
            }
        }

        impl ::core::fmt::Display for $type {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.pad($crate::choice::Choice::name(*self))
            }
        }
    };
}

pub use choice;

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::Choice;
    use crate::policy::Mode;

    #[test]
    fn a_name_is_parsed_as_what_shows_it_and_nothing_else_is() {
        for mode in Mode::ALL {
            assert_eq!(Mode::parse(&mode.to_string()), Some(*mode));
        }
        for other in ["", "Inject", " inject", "injected"] {
            assert_eq!(Mode::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_line_of_help_is_the_doc_comment() {
        assert_eq!(Mode::Inject.help(), "Add a context to each publish, remove it from each delivery");
    }
}

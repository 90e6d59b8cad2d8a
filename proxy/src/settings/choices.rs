//! Options whose value is one of a few names, and switches.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use redistributed_core::choice::Choice;

/// Reads a choice from the command line, and tells help the names of all values.
pub(super) fn parser<T: Choice + Send + Sync>() -> impl TypedValueParser<Value = T> {
    let values = T::ALL.iter().map(|choice| PossibleValue::new(choice.name()).help(choice.help()));
    PossibleValuesParser::new(values).try_map(|name| T::parse(&name).ok_or("it is not known"))
}

/// The names of all values, each in the form that `form` gives it, as in `inject, strip, observe or auto`.
pub(super) fn list<T: Choice>(conjunction: &str, form: impl Fn(&str) -> String) -> String {
    let names: Vec<String> = T::ALL.iter().map(|choice| form(choice.name())).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} {conjunction} {last}", first.join(", ")),
        None => String::new(),
    }
}

/// Reads from its variable whether a switch is on.
pub(super) fn switch(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("write true or false"),
    }
}

#[cfg(test)]
mod tests {
    use redistributed_core::policy::{Mode, Relation};

    use super::*;

    #[test]
    fn names_are_listed_as_in_a_sentence() {
        assert_eq!(list::<Mode>("or", str::to_owned), "inject, strip, observe or auto");
        assert_eq!(list::<Relation>("and", |name| format!("GLOB={name}")), "GLOB=parent and GLOB=link");
    }
}

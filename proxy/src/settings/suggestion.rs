//! The name that was probably meant.

/// Longest word that is compared: the comparison takes as long as both lengths multiplied.
const MAX_LEN: usize = 64;

/// The member of `known` that is nearest to `word`, if it is near enough to have been meant: a third of its letters may
/// differ, and two always.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > MAX_LEN {
        return None;
    }
    let distance = |name: &'a str| (strsim::damerau_levenshtein(word, name), name);
    let (edits, name) = known.into_iter().map(distance).min_by_key(|(edits, _)| *edits)?;
    (edits <= (name.len() / 3).max(2)).then_some(name)
}

/// As the end of a sentence: what to write, which is the nearest of `known` or else `otherwise`.
pub(crate) fn remedy<'a>(word: &str, known: impl IntoIterator<Item = &'a str>, otherwise: &str) -> String {
    nearest(word, known).map_or_else(|| otherwise.to_owned(), |name| format!("did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_another_word_is_not() {
        let known = ["mode", "mode-for", "drain-timeout", "log-level"];
        for (word, meant) in [
            ("moed", Some("mode")),
            ("drain_timeout", Some("drain-timeout")),
            ("loglevel", Some("log-level")),
            ("database", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
        assert_eq!(nearest(&"m".repeat(100_000), known), None);
    }
}

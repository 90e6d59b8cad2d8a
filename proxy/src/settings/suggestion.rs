//! Suggestions: the known name that a misspelt one probably stands for.

/// The longest word that is compared, in bytes. The time of a comparison grows with the product of both lengths.
const MAX_LEN: usize = 64;

/// The member of `known` that is most similar to `word` by Damerau-Levenshtein distance. It is `None` if more than a third
/// of the letters differ, where two letters may always differ.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > MAX_LEN {
        return None;
    }
    let distance = |name: &'a str| (strsim::damerau_levenshtein(word, name), name);
    let (edits, name) = known.into_iter().map(distance).min_by_key(|(edits, _)| *edits)?;
    (edits <= (name.len() / 3).max(2)).then_some(name)
}

/// The remedy for an unknown `word`: a question whether the nearest of `known` was meant, or `otherwise` if none is near.
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

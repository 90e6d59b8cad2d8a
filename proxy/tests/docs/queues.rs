//! `proxy/docs/queues.md` against the languages that it has examples in.

use std::process::Command;

const DOCUMENT: &str = include_str!("../../docs/queues.md");

/// The block of code of this language.
fn block(language: &str) -> &'static str {
    let begin = format!("```{language}\n");
    let (_, behind) = DOCUMENT.split_once(&begin).unwrap_or_else(|| panic!("no block of {language}"));
    behind.split_once("```").expect("the block has an end").0
}

#[test]
fn the_examples_of_other_languages_print_the_ids_that_the_program_computes() {
    for (program, option, language) in [("python3", "-c", "python"), ("node", "-e", "javascript")] {
        let output = Command::new(program).args([option, block(language)]).output();
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
        let printed = String::from_utf8_lossy(&output.stdout);
        let failed = String::from_utf8_lossy(&output.stderr);
        // They are also those of the core's own test (`carrier::derived`).
        assert_eq!(printed, block("text"), "{language}: {failed}");
    }
}

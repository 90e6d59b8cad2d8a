//! `proxy/docs/limits.md` has the program's bounds, and tests that exist.

use redistributed_core::carrier::trailer;
use redistributed_core::policy::MAX_CHANNEL_LEN;
use redistributed_core::trace::context::{MAX_BAGGAGE, MAX_TRACE_STATE};

use crate::docs::page::{self, root};
use crate::support::spawn::{command, run};

/// The value of a setting that nobody has set.
fn default(name: &str) -> String {
    let ended = run(command(&["--check-config", "--listen", "127.0.0.1:0", "--upstream", "redis://cache"]));
    let line = ended.stdout.lines().find(|line| line.starts_with(&format!("{name} = "))).unwrap_or_else(|| {
        panic!("no {name} in\n{}", ended.stdout);
    });
    line.split_once(" = ").unwrap().1.split_once('#').unwrap().0.trim().to_owned()
}

/// `12345` as `12,345`.
fn grouped(number: &str) -> String {
    let head = number.len() % 3;
    let (first, rest) = number.split_at(head);
    let rest = rest.as_bytes().chunks(3).map(|chunk| std::str::from_utf8(chunk).unwrap());
    std::iter::once(first).filter(|first| !first.is_empty()).chain(rest).collect::<Vec<_>>().join(",")
}

#[test]
fn every_bound_that_can_be_set_is_told_with_its_default() {
    let page = page::page("proxy/docs/limits.md");
    let bounds: Vec<_> = page.table("what").iter().map(|row| row[1].text.clone()).collect();
    let says = |name: &str, value: &str| {
        let row = bounds.iter().find(|text| text.starts_with(name)).unwrap_or_else(|| panic!("no row {name}"));
        assert!(row.starts_with(&format!("{name}, {value}")), "{name} is {value} unless set, and the page says: {row}");
    };
    for name in ["max-connections", "OTEL_BSP_MAX_QUEUE_SIZE"] {
        let option = if name.starts_with("OTEL") { name.to_owned() } else { format!("--{name}") };
        says(&option, &grouped(&default(name)));
    }
    for name in ["connect-timeout", "handshake-timeout", "drain-timeout"] {
        says(&format!("--{name}"), &default(name).replace('s', " s"));
    }
    assert_eq!(default("inject-limit").parse(), Ok((1 << 20) - 2));
    says("--inject-limit", "1 MiB less 2 bytes");
    assert!(page.text.contains(&format!("`--flush-timeout`, {}", default("flush-timeout").replace('s', " s"))));
}

#[test]
fn fixed_bounds_are_those_of_the_program() {
    let limits = page::page("proxy/docs/limits.md").text;
    let says = |text: &str| assert!(limits.contains(text), "limits.md does not say {text:?}");
    says(&format!("| {MAX_TRACE_STATE} and {} bytes |", grouped(&MAX_BAGGAGE.to_string())));
    says(&format!("| a channel's name | {} KiB |", MAX_CHANNEL_LEN / 1024));
    says(&format!("the same, at least 1 MiB, and {} KiB more", trailer::MAX_LEN / 1024));
    for page in ["README.md", "proxy/docs/messages.md", "proxy/docs/rollout.md"] {
        let text = page::page(page).text;
        assert!(text.contains(&trailer::MIN_LEN.to_string()), "{page} does not say how long a trailer is");
    }
}

#[test]
fn every_test_that_holds_a_bound_exists() {
    let page = page::page("proxy/docs/limits.md");
    let tests: Vec<_> = page.table("what").iter().flat_map(|row| row[3].links.clone()).collect();
    assert!(tests.len() > 15, "the tests are not found: {tests:?}");
    for (name, file) in tests {
        let text = std::fs::read_to_string(root().join("proxy/docs").join(&file)).unwrap();
        let is_there = file.ends_with(&name) || text.contains(&format!("fn {name}("));
        assert!(is_there, "there is no test {name} in {file}");
    }
}

/// A figure in the README was measured, and the page says under which conditions.
#[test]
fn the_figures_of_the_readme_are_those_of_the_page_about_cost() {
    let readme = page::page("README.md").text;
    let (_, cost) = readme.split_once("## What does it cost?").unwrap();
    let (cost, _) = cost.split_once("\n## ").unwrap();
    let measured = page::page("proxy/docs/performance.md").text;
    let figures: Vec<_> =
        cost.split(|c: char| !c.is_ascii_digit() && c != '.').map(|word| word.trim_matches('.')).collect();
    let figures: Vec<_> = figures.into_iter().filter(|figure| figure.contains('.')).collect();
    assert!(figures.len() > 2, "the figures are not found: {figures:?}");
    for figure in figures {
        assert!(measured.contains(figure), "performance.md knows nothing of {figure}");
    }
}

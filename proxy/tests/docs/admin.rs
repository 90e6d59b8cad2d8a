//! The admin port, the log and the exit codes, as the documents have them.

use std::collections::BTreeSet;

use crate::docs::modules;
use crate::docs::page::{self, Cell};
use crate::support::admin::Proxy;
use crate::support::spawn::{command, run};

#[tokio::test]
async fn every_admin_path_is_documented_with_its_methods_and_no_other() {
    let proxy = Proxy::start("redis://127.0.0.1:1", &[], &[]);
    let (status, index) = proxy.get("/").await;
    assert_eq!(status, 200);
    let served: BTreeSet<_> =
        index.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).collect();
    let page = page::page("proxy/docs/admin.md");
    let documented: BTreeSet<_> = page.table("request").iter().map(|row| row[0].text.clone()).collect();
    assert_eq!(documented, served, "the document has left, the program right");
    // A path that the documents name elsewhere, as in `GET /config`.
    for page in page::all() {
        for code in &page.code {
            let mut words = code.split_whitespace();
            let (Some("GET" | "PUT" | "DELETE" | "POST"), Some(path)) = (words.next(), words.next()) else { continue };
            if path.starts_with('/') {
                assert!(served.contains(code.as_str()), "{} names {code}", page.path);
            }
        }
    }
}

/// A metric that any document names is on the page; its meaning is in `metrics.md`, which has a test of its own.
#[tokio::test]
async fn every_metric_that_is_named_exists() {
    let proxy = Proxy::start("redis://127.0.0.1:1", &[], &[]);
    let metrics = proxy.metrics().await;
    let known: BTreeSet<_> =
        metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let crates = ["redistributed_core"];
    let mut tried = 0;
    for page in page::all() {
        for word in page.text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            if word.starts_with("redistributed_") && !crates.contains(&word) {
                assert!(known.contains(word), "{} names {word}, which is no metric", page.path);
                tried += 1;
            }
        }
    }
    assert!(tried > 40, "only {tried} names were found");
}

/// The codes that the end of a `--help` lists.
fn told(arguments: &[&str]) -> BTreeSet<String> {
    let help = run(command(arguments)).stdout;
    let (_, codes) = help.split_once("Exit codes:\n").expect("the codes are listed");
    let codes = codes.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    codes.filter(|code| !code.is_empty()).map(str::to_owned).collect()
}

#[test]
fn every_exit_code_is_documented_and_no_other() {
    let page = page::page("proxy/docs/command-line.md");
    // A table for each of them, in this order.
    let mut documented = vec![BTreeSet::new()];
    for code in page.rows.iter().filter_map(|row| code(row)) {
        if documented.last().unwrap().contains("0") && code == "0" {
            documented.push(BTreeSet::new());
        }
        documented.last_mut().unwrap().insert(code);
    }
    let calls = [&["--help"][..], &["check", "--help"], &["decode", "--help"], &["view", "--help"], &["top", "--help"]];
    let told = calls.map(told);
    assert_eq!(documented, told, "the document has left, the program right");
}

fn code(row: &[Cell]) -> Option<String> {
    let text = &row.first()?.text;
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.clone())
}

/// What the log says when something is wrong, by which an operator finds the row. The end of a line may be an error's.
#[test]
fn every_line_of_the_log_that_is_quoted_is_in_the_program() {
    let page = page::page("proxy/docs/connections.md");
    let sources: String = modules::sources("proxy/src").into_values().collect();
    let quoted: Vec<_> = page.table("what is wrong").iter().flat_map(|row| row[2].code.clone()).collect();
    let lines: Vec<_> = quoted.iter().filter(|code| code.len() > "GET /readyz".len()).collect();
    assert!(lines.len() > 5, "the lines are not found: {quoted:?}");
    for line in lines {
        let start: Vec<_> = line.split(' ').take(4).collect();
        assert!(sources.contains(&start.join(" ")), "nothing in the program says {line:?}");
    }
}

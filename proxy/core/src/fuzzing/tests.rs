//! The properties over the seeds of their fuzz targets.

use super::*;
use std::path::Path;

/// Runs a property over the seeds of its fuzz target.
fn over_seeds(target: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let seeds: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!seeds.is_empty(), "{target} has seeds");
    for seed in seeds {
        property(&std::fs::read(seed).unwrap());
    }
}

#[test]
fn the_scanner_does_not_depend_on_the_cut() {
    over_seeds("scan", scan);
}

#[test]
fn carriers_are_total_and_exact() {
    over_seeds("carrier", carrier);
}

#[test]
fn text_forms_are_total() {
    over_seeds("traceparent", traceparent);
}

#[test]
fn http_connections_do_not_depend_on_the_cut() {
    over_seeds("http", http);
}

#[test]
fn sessions_do_not_depend_on_the_cut() {
    over_seeds("session", session);
}

#[test]
fn causes_are_among_what_came_before() {
    over_seeds("causes", causes);
}

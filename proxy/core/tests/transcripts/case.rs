//! The cases of a file, read line by line.

use std::collections::BTreeMap;
use std::sync::Arc;

use redistributed_core::{Counter, Policy, Side};

use super::notation::{bytes, request};
use super::policy::policy;

/// A conversation and what is expected of the session.
pub(crate) struct Case {
    /// File, line and promise.
    pub(crate) name: String,
    pub(crate) policy: Arc<Policy>,
    pub(crate) steps: Vec<Step>,
    /// The expected spans, as the file has them.
    pub(crate) spans: Vec<String>,
    /// The expected values of the counters that the file names.
    pub(crate) counts: BTreeMap<String, u64>,
}

pub(crate) enum Step {
    Send { from: Side, bytes: Vec<u8>, expected: Vec<u8> },
    End(Side),
    Close,
    Policy(Arc<Policy>),
}

impl Case {
    /// Reads the `text` of a file, whose name goes into the names of the cases.
    pub(crate) fn read_all(file: &str, text: &str) -> Vec<Self> {
        let mut cases: Vec<Self> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix("== ") {
                cases.push(Self {
                    name: format!("{file}:{}: {name}", number + 1),
                    policy: Arc::new(policy("")),
                    steps: Vec::new(),
                    spans: Vec::new(),
                    counts: BTreeMap::new(),
                });
                continue;
            }
            let case = cases.last_mut().expect("a case begins with ==");
            assert!(case.line(line), "{file}:{}: {line}", number + 1);
        }
        cases
    }

    /// Reads a line of the case; false if it is none.
    fn line(&mut self, line: &str) -> bool {
        let (head, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (head, rest) {
            ("policy", settings) => self.policy = Arc::new(policy(settings)),
            ("switch", settings) => self.steps.push(Step::Policy(Arc::new(policy(settings)))),
            ("C>", _) => self.send(Side::Client, request(rest)),
            ("S>", _) => self.send(Side::Server, bytes(rest)),
            ("S=" | "C=", _) => {
                let Some(Step::Send { from, expected, .. }) = self.steps.last_mut() else { return false };
                match from {
                    Side::Client if head == "S=" => *expected = request(rest),
                    Side::Server if head == "C=" => *expected = bytes(rest),
                    _ => return false,
                }
            }
            ("C", "end") => self.steps.push(Step::End(Side::Client)),
            ("S", "end") => self.steps.push(Step::End(Side::Server)),
            ("close", "") => self.steps.push(Step::Close),
            ("span", span) => self.spans.push(span.to_owned()),
            ("count", counts) => {
                for count in counts.split_whitespace() {
                    let (name, value) = count.split_once('=').expect("name=value");
                    assert!(Counter::NAMES.contains(&name), "{name} is no counter");
                    self.counts.insert(name.to_owned(), value.parse().unwrap());
                }
            }
            _ => return false,
        }
        true
    }

    fn send(&mut self, from: Side, bytes: Vec<u8>) {
        self.steps.push(Step::Send { from, expected: bytes.clone(), bytes });
    }
}

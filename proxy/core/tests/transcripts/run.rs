//! What a session makes of a case, compared with what the case expects.

use std::fmt::Write as _;

use redistributed_core::trace::ids::CountingIds;
use redistributed_core::{Counter, Side};

use super::case::{Case, Step};
use super::records;
use crate::support::{Driver, Rng};

/// How the bytes of a case are cut into the pieces that the session gets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    Lines,
    /// Successive lines of one side are one piece.
    Joined,
    Bytes,
    /// Pieces of random lengths that this seed decides.
    Random(u64),
}

impl Case {
    /// Feeds the case to a session.
    ///
    /// # Errors
    ///
    /// A description of the first thing that is not as the case expects it.
    pub(crate) fn run(&self, cut: Cut) -> Result<(), String> {
        let mut driver = Driver::new(&self.policy);
        let mut ids = CountingIds::default();
        let mut expected: [Vec<u8>; 2] = Default::default();
        let mut waiting: Vec<u8> = Vec::new();
        let mut rng = Rng(match cut {
            Cut::Random(seed) => seed,
            _ => 0,
        });
        for (number, step) in self.steps.iter().enumerate() {
            match step {
                Step::Send { from, bytes, expected: sent } => {
                    expected[*from as usize].extend_from_slice(sent);
                    waiting.extend_from_slice(bytes);
                    let next = self.steps.get(number + 1);
                    if matches!(cut, Cut::Joined) && matches!(next, Some(Step::Send { from: f, .. }) if f == from) {
                        continue;
                    }
                    feed(&mut driver, *from, &waiting, cut, &mut rng, &mut ids);
                    waiting.clear();
                }
                // What the session held back leaves now, so only the whole can be compared with what is expected.
                Step::End(from) => driver.end_of_stream(*from),
                Step::Close => driver.close(),
                Step::Policy(policy) => driver.set_policy(policy),
            }
            let ended = |side| self.steps.iter().any(|step| matches!(step, Step::End(from) if *from == side));
            for (side, left) in [(Side::Client, &driver.to_server), (Side::Server, &driver.to_client)] {
                let expected = &expected[side as usize];
                let complete = !ended(side) || number + 1 == self.steps.len();
                if left != expected && (complete || !expected.starts_with(left)) {
                    return Err(difference(&format!("from {side:?} after step {}", number + 1), expected, left));
                }
            }
        }
        self.compare_records(&driver)?;
        self.compare_counts(&driver)
    }

    fn compare_records(&self, driver: &Driver) -> Result<(), String> {
        let (deliveries, others): (Vec<_>, Vec<_>) = self.spans.iter().partition(|span| span.starts_with("deliver "));
        for (expected, spans) in [(others, &driver.spans), (deliveries, &driver.deliveries)] {
            let got: Vec<_> = spans.iter().map(records::fields).collect();
            let same = expected.len() == got.len()
                && expected.iter().zip(&got).all(|(line, got)| records::is_described_by(got, line));
            if !same {
                let mut text = String::from("  records:\n");
                expected.iter().for_each(|line| writeln!(text, "    expected {line}").unwrap());
                got.iter().for_each(|got| writeln!(text, "    got      {}", records::describe(got)).unwrap());
                return Err(text);
            }
        }
        Ok(())
    }

    fn compare_counts(&self, driver: &Driver) -> Result<(), String> {
        /// Counters of things that go well.
        const GOOD: [&str; 9] = [
            "commands",
            "published",
            "injected",
            "receivers",
            "delivered",
            "delivered_reserved",
            "stripped",
            "entries_injected",
            "entries_stripped",
        ];
        let mut text = String::new();
        for (name, got) in Counter::NAMES.iter().zip(driver.counts) {
            let expected = self.counts.get(*name).copied().or((!GOOD.contains(name)).then_some(0));
            if expected.is_some_and(|expected| expected != got) {
                writeln!(text, "  {name} is {got}, expected {}", expected.unwrap_or_default()).unwrap();
            }
        }
        if text.is_empty() { Ok(()) } else { Err(text) }
    }
}

/// Most bytes at each end of a step that are fed one by one.
const MANY: usize = 10_000;

fn feed(driver: &mut Driver, from: Side, mut bytes: &[u8], cut: Cut, rng: &mut Rng, ids: &mut CountingIds) {
    let total = bytes.len();
    while !bytes.is_empty() {
        let len = match cut {
            Cut::Lines | Cut::Joined => bytes.len(),
            // The middle of very long steps holds nothing that is not also at their ends.
            Cut::Bytes if bytes.len() + MANY > total || bytes.len() <= MANY => 1,
            Cut::Bytes => bytes.len() - MANY,
            Cut::Random(_) => (1 + rng.below(if total > MANY { 4000 } else { 40 })).min(bytes.len()),
        };
        let (piece, rest) = bytes.split_at(len);
        driver.feed(from, piece, ids);
        bytes = rest;
    }
}

/// Describes the first difference of two byte strings, with what stands around it.
fn difference(what: &str, expected: &[u8], got: &[u8]) -> String {
    let same = expected.iter().zip(got).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(60);
    let shown = |bytes: &[u8]| bytes[from..bytes.len().min(same + 200)].escape_ascii().to_string();
    format!("  bytes {what}, different at {same}:\n    expected {}\n    got      {}\n", shown(expected), shown(got))
}

//! How good answers are, and how good they have to be.

use crate::failure::Failure;

/// The least precision of all answers together, and in one cell of the table with at least `MANY` answers.
const PRECISION: f64 = 0.999;
const PRECISION_OF_ONE: f64 = 0.99;
const MANY: u32 = 30;

/// Commands, and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Score {
    /// Commands that have a cause, and those of them of which it was named. Recall is the one by the other.
    pub(super) caused: u32,
    pub(super) found: u32,
    /// All commands of which a cause was named.
    pub(super) named: u32,
    pub(super) right: u32,
    /// Causes named of commands that have none, such as heartbeats.
    pub(super) invented: u32,
    pub(super) publishes: u32,
    pub(super) publishes_right: u32,
    /// Right in the end, late answers included. A publish is decided at once.
    pub(super) right_in_the_end: u32,
    pub(super) late_wrong: u32,
    pub(super) links: u32,
    pub(super) links_right: u32,
}

/// What was worse than it may be.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    worse: String,
}

impl Bounds {
    /// Holds one cell of the table against the bounds.
    pub(super) fn hold(&mut self, name: &str, score: &Score, has_heartbeat: bool) {
        if score.named >= MANY && score.precision() < PRECISION_OF_ONE {
            self.complain(name, "the precision is too low");
        }
        if has_heartbeat && score.invented > 0 {
            self.complain(name, "a heartbeat has got a cause");
        }
    }

    /// Holds all answers together against the bounds.
    pub(super) fn hold_all(&mut self, name: &str, score: &Score) {
        if score.named > 0 && score.precision() < PRECISION {
            self.complain(name, "the precision of all is too low");
        }
    }

    pub(super) fn complain(&mut self, name: &str, what: &str) {
        self.worse.push_str(&format!("\n  {name}: {what}"));
    }

    /// # Errors
    /// If anything was worse than it may be.
    pub(super) fn result(self) -> Result<(), Failure> {
        if self.worse.is_empty() {
            Ok(())
        } else {
            Err(Failure::Worse(format!("the answers are worse than they may be:{}", self.worse)))
        }
    }
}

impl Score {
    pub(super) fn heading(what: &str) -> String {
        format!(
            "{what:<28} {:>7} {:>7} {:>6} {:>8} {:>9} {:>7} {:>10} {:>7} {:>11} {:>6} {:>6}",
            "caused",
            "named",
            "wrong",
            "invented",
            "precision",
            "recall",
            "publishes",
            "in end",
            "late, wrong",
            "links",
            "wrong"
        )
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (to, from) in self.counts().into_iter().zip(other.clone().counts()) {
            *to += *from;
        }
    }

    fn counts(&mut self) -> [&mut u32; 11] {
        [
            &mut self.caused,
            &mut self.found,
            &mut self.named,
            &mut self.right,
            &mut self.invented,
            &mut self.publishes,
            &mut self.publishes_right,
            &mut self.right_in_the_end,
            &mut self.late_wrong,
            &mut self.links,
            &mut self.links_right,
        ]
    }

    pub(super) fn precision(&self) -> f64 {
        f64::from(self.right) / f64::from(self.named)
    }

    pub(super) fn recall(&self) -> f64 {
        f64::from(self.found) / f64::from(self.caused)
    }

    pub(super) fn row(&self, name: &str) -> String {
        let ratio = |part: u32, whole: u32| match whole {
            0 => "-".to_owned(),
            _ => format!("{:.4}", f64::from(part) / f64::from(whole)),
        };
        format!(
            "{name:<28} {:>7} {:>7} {:>6} {:>8} {:>9} {:>7} {:>10} {:>7} {:>11} {:>6} {:>6}",
            self.caused,
            self.named,
            self.named - self.right,
            self.invented,
            ratio(self.right, self.named),
            ratio(self.found, self.caused),
            ratio(self.publishes_right, self.publishes),
            ratio(self.right_in_the_end, self.caused),
            self.late_wrong,
            self.links,
            self.links - self.links_right,
        )
    }
}

//! Calls made from the documentation of a command's arguments.
//!
//! Each argument that is optional, repeatable or one of several is a decision. The simplest call takes the first choice
//! of each. Then each decision is taken in the other ways, one at a time, and then all of them at random.

use super::docs::{Argument, Documented};
use super::fixture;
use crate::support::Rng;

/// The words of a command.
pub(crate) type Words = Vec<Vec<u8>>;

/// The number of calls in which all decisions are taken at random.
const AT_RANDOM: usize = 6;

/// Different calls of a command, the simplest first.
pub(crate) fn calls(command: &Documented) -> Vec<Words> {
    let mut plain = Generator::new(command, Decisions::Scripted(Vec::new()));
    let mut calls = vec![plain.call()];
    for (position, ways) in plain.taken.clone().into_iter().enumerate() {
        for way in 1..ways {
            let mut script = vec![0; position];
            script.push(way);
            calls.push(Generator::new(command, Decisions::Scripted(script)).call());
        }
    }
    if !plain.taken.is_empty() {
        let seed = command.name.bytes().fold(0, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        calls.extend((0..AT_RANDOM).map(|n| Generator::new(command, Decisions::Random(Rng(seed + n as u64))).call()));
    }
    let mut different: Vec<Words> = Vec::new();
    for call in calls {
        if !different.contains(&call) {
            different.push(call);
        }
    }
    different
}

enum Decisions {
    /// The given decisions, and after them the first choice of each.
    Scripted(Vec<usize>),
    Random(Rng),
}

struct Generator<'a> {
    command: &'a Documented,
    decisions: Decisions,
    /// The number of choices of each decision so far.
    taken: Vec<usize>,
    words: Words,
    /// The index of the word that contains the number of the arguments that follow.
    number: Option<usize>,
    /// The number of keys so far, so that a second key is a different one.
    keys: usize,
}

impl<'a> Generator<'a> {
    fn new(command: &'a Documented, decisions: Decisions) -> Self {
        Self { command, decisions, taken: Vec::new(), words: command.words(), number: None, keys: 0 }
    }

    fn call(&mut self) -> Words {
        for argument in &self.command.arguments {
            self.argument(argument);
        }
        std::mem::take(&mut self.words)
    }

    fn decide(&mut self, ways: usize) -> usize {
        let position = self.taken.len();
        self.taken.push(ways);
        match &mut self.decisions {
            Decisions::Scripted(script) => script.get(position).copied().unwrap_or(0).min(ways - 1),
            Decisions::Random(rng) => rng.below(ways),
        }
    }

    fn argument(&mut self, argument: &Argument) {
        if argument.optional && self.decide(2) == 0 {
            return;
        }
        let number = self.number.take();
        let times = if argument.multiple { 1 + self.decide(2) } else { 1 };
        for time in 0..times {
            if let Some(token) = &argument.token
                && (time == 0 || argument.multiple_token)
            {
                self.words.push(token.clone().into_bytes());
            }
            match argument.kind.as_str() {
                "pure-token" => {}
                "oneof" => {
                    let way = self.decide(argument.arguments.len());
                    self.argument(&argument.arguments[way]);
                }
                "block" => argument.arguments.iter().for_each(|part| self.argument(part)),
                kind => {
                    if kind == "key" {
                        self.keys += 1;
                    }
                    let word = fixture::value(self.command, argument, self.keys);
                    self.words.push(word.into_bytes());
                }
            }
        }
        if let Some(at) = number {
            self.words[at] = times.to_string().into_bytes();
        }
        // As in ZUNION numkeys key [key ...]. The argument that follows sets the number.
        if matches!(argument.name.as_str(), "numkeys" | "numfields" | "numids" | "num-vertices") {
            self.number = Some(self.words.len() - 1);
        }
    }
}

//! Plays a recording to the inference of causes, and prints its answers.
//!
//! ```text
//! cargo run --release --example replay -- [--warm] LOG
//! ```
//!
//! A recording is what a sidecar sees, one JSON object a line, in the order in which it saw it; `-` is standard input.
//! `proxy/docs/causes.md` describes the form. For each command one answer is printed at once,
//! `{"id":COMMAND,"p":CAUSE or null,"links":[CAUSE, ...],"rule":WHY}`, and what becomes known later is printed as another one
//! with `"late":1`. The links are a batch, all of which are causes; `"maybe"` has two to four candidates, one of which is.
//!
//! With `--warm` the recording is played twice, a minute apart and with other ids, and the answers of the second time are
//! printed: those of a sidecar that has run for some time.

mod player;

use std::error::Error;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};

use player::{World, number};
use serde_json::Value;

/// What is added to ids and times when a recording is played for the second time.
const OTHER_IDS: u64 = 10_000_000;
const MINUTE: u64 = 60_000_000;

const USAGE: &str = "usage: replay [--warm] LOG\n\nLOG is a recording as JSON lines, or - for standard input.";

fn main() -> std::process::ExitCode {
    match replay() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            // Whoever reads the answers may have seen enough.
            let _ = writeln!(std::io::stderr(), "{error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn replay() -> Result<(), Box<dyn Error>> {
    let (mut warm, mut log) = (false, None);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--warm" => warm = true,
            other if log.is_none() && (other == "-" || !other.starts_with('-')) => log = Some(argument),
            _ => return Err(USAGE.into()),
        }
    }
    let events = read(&log.ok_or(USAGE)?)?;
    let mut world = World::default();
    let mut out = BufWriter::new(std::io::stdout().lock());
    world.play(&events, 0, 0, |answer| if warm { Ok(()) } else { writeln!(out, "{answer}") })?;
    if warm {
        let end = events.last().map_or(0, |event| number(event, "t"));
        world.play(&events, end + MINUTE, OTHER_IDS, |answer| writeln!(out, "{answer}"))?;
    }
    Ok(out.flush()?)
}

fn read(log: &str) -> Result<Vec<Value>, Box<dyn Error>> {
    let input: Box<dyn Read> = if log == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(log).map_err(|error| format!("{log}: {error}"))?)
    };
    let mut events = Vec::new();
    for (number, line) in (1..).zip(BufReader::new(input).lines()) {
        let line = line.map_err(|error| format!("{log}, line {number}: {error}"))?;
        events.push(serde_json::from_str(&line).map_err(|error| format!("{log}, line {number}: {error}"))?);
    }
    Ok(events)
}

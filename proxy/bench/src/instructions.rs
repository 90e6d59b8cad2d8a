//! What the pure core costs in instructions and allocations, compared with a stored baseline: `make bench-core`.
//!
//! Neither depends on the machine's load, so a regression of a few percent is seen on any machine. Each workload of the
//! core's bench runs twice under callgrind, with different numbers of rounds; the difference is the cost of the rounds,
//! without start and set-up. Allocations are the calls of the allocator that callgrind has seen.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::failure::Failure;
use crate::options::Core;

/// Rounds of the two runs.
const ROUNDS: [u32; 2] = [20, 120];

/// Operations in a round of the bench.
const OPERATIONS: u32 = 16;

/// More instructions than the baseline by this factor fail the check.
const TOLERANCE: f64 = 1.03;

/// The functions of the C library that hand out memory.
const ALLOCATORS: [&str; 6] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign"];

/// Allocations that an operation may make on average, by the beginning of a workload's name: an untouched command and an
/// event for the inference of causes none, a traced publish at most one, and a command whose cause is asked for one. One in a round
/// of 4 KiB publishes is cut in two by the end of a read, and its beginning is kept in a buffer meanwhile.
const ALLOWED: [(&str, f64); 7] = [
    ("get-", 0.0),
    ("set-", 0.0),
    ("array-", 0.0),
    ("publish-4k", 1.0 + 1.0 / 16.0),
    ("publish-", 1.0),
    ("causes-", 0.0),
    ("followed-", 1.0),
];

/// Fewer allocations an operation than this count as none: the difference of two runs is not exact.
const ALMOST_NONE: f64 = 0.01;

const HEADER: &str = "\
# Instructions an operation of the core, by workload, on x86-64 with the stable compiler of the day. Written by
# `make bench-core UPDATE=1`: after a change that is worth what it costs, and after a compiler that changes them all.
";

/// What one operation costs, on average.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Cost {
    instructions: f64,
    allocations: f64,
}

/// Runs every workload, prints what an operation costs, and compares.
///
/// # Errors
/// If a workload costs more than the baseline allows, or allocates more than was promised.
pub(crate) fn check(options: &Core, say: impl Fn(&str)) -> Result<(), Failure> {
    let baseline =
        if options.update { Vec::new() } else { parse_baseline(&options.baseline, &read(&options.baseline)?)? };
    let folder = tempfile::tempdir().map_err(Failure::Folder)?;
    let mut worse = String::new();
    let mut update = HEADER.to_owned();
    say(&format!("{:<28} {:>14} {:>14} {:>8}   allocations", "workload", "instructions", "baseline", "change"));
    let names = list(options)?;
    for name in names.lines() {
        let [few, many] = ROUNDS.map(|rounds| run(options, name, rounds, folder.path()));
        let cost = per_operation(few?, many?);
        let before = baseline.iter().find(|(of, _)| of == name).map(|&(_, instructions)| instructions);
        let change = before.map(|before| cost.instructions / before);
        // Writing to a string cannot fail.
        let _ = writeln!(update, "{name} {:.1}", cost.instructions);
        say(&format!(
            "{name:<28} {:>14.1} {:>14} {:>8}   {:.2}",
            cost.instructions,
            before.map_or("-".to_owned(), |before| format!("{before:.1}")),
            change.map_or("-".to_owned(), |change| format!("{:+.1} %", (change - 1.0) * 100.0)),
            cost.allocations
        ));
        if change.is_some_and(|change| change > TOLERANCE) {
            let _ = write!(worse, "\n  {name} takes more instructions than the baseline allows");
        }
        if before.is_none() && !options.update {
            let _ = write!(worse, "\n  {name} is not in the baseline");
        }
        if let Some((_, allowed)) = ALLOWED.iter().find(|(prefix, _)| name.starts_with(prefix))
            && cost.allocations > allowed + ALMOST_NONE
        {
            let _ = write!(worse, "\n  {name} allocates more than {allowed} times an operation");
        }
    }
    for (name, _) in baseline.iter().filter(|(name, _)| !names.lines().any(|now| now == name)) {
        let _ = write!(worse, "\n  {name} is in the baseline and no longer a workload");
    }
    if options.update {
        std::fs::write(&options.baseline, update)
            .map_err(|cause| Failure::Write { path: options.baseline.clone(), cause })?;
    }
    if worse.is_empty() { Ok(()) } else { Err(Failure::Worse(worse)) }
}

/// The names of the bench's workloads, one a line: what it prints first in each line of its own report.
fn list(options: &Core) -> Result<String, Failure> {
    output(Command::new(&options.bench).arg("list"), "the core's bench")
}

fn run(options: &Core, workload: &str, rounds: u32, folder: &Path) -> Result<(u32, Cost), Failure> {
    let path = folder.join(format!("{workload}.{rounds}"));
    let mut out_file = std::ffi::OsString::from("--callgrind-out-file=");
    out_file.push(&path);
    let mut command = Command::new(&options.valgrind);
    command.args(["-q", "--tool=callgrind"]).arg(out_file).arg(&options.bench);
    output(command.args(["count", workload, &rounds.to_string()]), "valgrind")?;
    let text = read(&path)?;
    let total =
        parse_profile(&text).ok_or_else(|| Failure::Format { path, what: "no callgrind profile".to_owned() })?;
    Ok((rounds, total))
}

fn output(command: &mut Command, name: &str) -> Result<String, Failure> {
    let output = command.output().map_err(|cause| Failure::Start { name: name.to_owned(), cause })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(Failure::Died { name: name.to_owned(), said: String::from_utf8_lossy(&output.stderr).into_owned() })
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|cause| Failure::Read { path: path.to_owned(), cause })
}

fn per_operation(few: (u32, Cost), many: (u32, Cost)) -> Cost {
    let operations = f64::from((many.0 - few.0) * OPERATIONS);
    Cost {
        instructions: (many.1.instructions - few.1.instructions) / operations,
        allocations: (many.1.allocations - few.1.allocations) / operations,
    }
}

/// Sums of a whole run. In callgrind's format a call is a line `cfn=(id) name` and a line `calls=count position`; a name
/// stands behind its id only the first time.
fn parse_profile(text: &str) -> Option<Cost> {
    let mut cost = Cost::default();
    let mut allocators: Vec<&str> = Vec::new();
    let mut calls_allocator = false;
    for line in text.lines() {
        if let Some(total) = line.strip_prefix("summary: ") {
            cost.instructions = total.trim().parse().ok()?;
        } else if let Some(function) = line.strip_prefix("fn=").or_else(|| line.strip_prefix("cfn=")) {
            let (id, name) = function.split_once(' ').unwrap_or((function, ""));
            if ALLOCATORS.contains(&name) {
                allocators.push(id);
            }
            calls_allocator = line.starts_with('c') && allocators.contains(&id);
        } else if let Some(calls) = line.strip_prefix("calls=").filter(|_| calls_allocator) {
            cost.allocations += calls.split(' ').next()?.parse::<f64>().ok()?;
        }
    }
    (cost.instructions > 0.0).then_some(cost)
}

fn parse_baseline(path: &Path, text: &str) -> Result<Vec<(String, f64)>, Failure> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let parse = |line: &str| {
        let (name, instructions) = line.split_once(' ')?;
        Some((name.to_owned(), instructions.trim().parse().ok()?))
    };
    lines
        .map(|line| parse(line).ok_or_else(|| Failure::Format { path: path.to_owned(), what: line.to_owned() }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_whether_the_name_is_spelled_out_or_known() {
        let profile = "events: Ir\nsummary: 1000\n\nfn=(1) main\n10 5\ncfn=(2) malloc\ncalls=3 0\n11 40\n\
            cfn=(3) _int_malloc\ncalls=9 0\n12 1\nfn=(4) other\ncfn=(2)\ncalls=4 +3\n12 2\nfn=(2)\n1 1\n\
            cfn=(3)\ncalls=7 0\n1 1\n";
        assert_eq!(parse_profile(profile), Some(Cost { instructions: 1000.0, allocations: 7.0 }));
        assert_eq!(parse_profile(""), None);
    }

    #[test]
    fn the_start_of_the_program_is_not_counted() {
        let at = |rounds: u32| {
            let operations = f64::from(rounds * OPERATIONS);
            (rounds, Cost { instructions: 1e6 + operations * 50.0, allocations: 99.0 + operations * 2.0 })
        };
        assert_eq!(per_operation(at(20), at(120)), Cost { instructions: 50.0, allocations: 2.0 });
    }

    #[test]
    fn what_is_not_a_baseline_is_refused() {
        let path = Path::new("baseline.txt");
        assert_eq!(parse_baseline(path, "# text\nget-64 12.5\n").unwrap(), [("get-64".to_owned(), 12.5)]);
        assert!(parse_baseline(path, "get-64 many\n").is_err());
    }
}

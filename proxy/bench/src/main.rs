//! What the proxy costs: `make bench`.
//!
//! Throughput, latency, processor time and memory, beside no proxy at all and beside HAProxy, on one machine and in one
//! run. The figures of a machine depend on its load; the ratios much less, because the targets take turns.

mod checklist;
mod failure;
mod load;
mod measure;
mod open_files;
mod options;
mod processes;
mod report;
mod sink;
mod stats;
mod targets;
mod usage;
mod workloads;

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;

use failure::Failure;
use measure::Plan;
use options::{Command, Options, Run};
use targets::{Rig, Target};

/// The most connections that any workload opens at a time.
const CONNECTIONS: usize = 10_000;

fn main() -> ExitCode {
    let result = match Options::parse().command {
        Command::Run(options) => run(options),
        Command::Sink { address } => sink::serve(address),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // If standard error is closed too, only the exit code is left.
            let _ = writeln!(std::io::stderr(), "bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut options: Run) -> Result<(), Failure> {
    let workloads = workloads::chosen(&options);
    if options.list {
        workloads.iter().for_each(|workload| say(workload.kind));
        return Ok(());
    }
    if workloads.is_empty() {
        let only = std::mem::take(&mut options.only);
        let names: Vec<_> = workloads::chosen(&options).iter().map(|workload| workload.kind.to_string()).collect();
        return Err(Failure::NothingToDo(only.join(","), names.join("\n")));
    }
    let program = &mut options.programs.redistributed;
    *program = program.canonicalize().map_err(|cause| Failure::Read { path: program.clone(), cause })?;
    let plan = plan(&options);

    let start = Instant::now();
    let mut targets: Vec<Target> = workloads.iter().flat_map(|workload| workload.targets.clone()).collect();
    targets.sort_unstable_by_key(|&target| target as u8);
    targets.dedup();
    let room = open_files::make_room(CONNECTIONS);
    let mut rig = Rig::start(&options.programs, &targets, room)?;
    say(report::heading());
    let mut all = Vec::new();
    for workload in &workloads {
        let series = measure::series(&mut rig, workload, plan)?;
        say(report::series(&series));
        all.push(series);
    }
    say(format_args!("Targets, as ratios of this run: median (least-most of {} rounds)", plan.rounds));
    say(checklist::lines(&all));
    say(format_args!("{:.0} s", start.elapsed().as_secs_f64()));
    Ok(())
}

fn plan(options: &Run) -> Plan {
    let (rounds, seconds) = match (options.quick, options.full) {
        (true, _) => (3, 0.6),
        (_, true) => (5, 1.0),
        _ => (5, 0.8),
    };
    let window = Duration::from_secs_f64(options.seconds.unwrap_or(seconds));
    Plan { rounds: options.rounds.unwrap_or(rounds), window }
}

fn say(text: impl Display) {
    // Nobody reads any more, as in `bench | head -1`: there is nobody left to tell.
    let _ = writeln!(std::io::stdout(), "{text}");
}

//! What the proxy costs: `make bench`.
//!
//! Throughput, latency, processor time and memory, beside no proxy at all and beside HAProxy, on one machine and in one
//! run. The figures of a machine depend on its load; the ratios much less, because the targets take turns.
//!
//! Processor time and memory are read from `/proc`, so all of it is for Linux; elsewhere this library is empty.
#![cfg(target_os = "linux")]

mod causes;
mod checklist;
mod failure;
mod instructions;
mod load;
mod measure;
mod memory;
mod open_files;
mod options;
mod processes;
mod report;
mod sink;
mod stats;
mod targets;
mod usage;
mod web;
mod workloads;

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;

use checklist::Results;
use failure::Failure;
use measure::Plan;
use memory::Idle;
use options::{Command, Options, Run};
use targets::{Rig, Seat, Target};
use workloads::Workload;

/// The most connections that any workload opens at a time.
const CONNECTIONS: usize = 10_000;

/// Rounds of a growth series, whose steps are compared with each other.
const GROWTH_ROUNDS: usize = 2;

/// Does what the command line asks for; a failure goes to standard error.
pub fn main() -> ExitCode {
    let result = match Options::parse().command {
        Command::Run(options) => run(options),
        Command::Core(options) => instructions::check(&options, |line| say(line)),
        Command::Causes(options) => causes::check(&options, |line| say(line)),
        Command::Launch { parent, command } => Err(processes::launch(parent, &command)),
        Command::Sink { address } => sink::serve(address),
        Command::Web { version, address } => web::serve(version, address),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // If standard error is closed too, only the exit code is left.
            let _ = writeln!(std::io::stderr(), "bench: {failure}");
            match failure {
                Failure::NothingToDo(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn run(mut options: Run) -> Result<(), Failure> {
    let (workloads, growth) = (workloads::chosen(&options), workloads::growth(&options));
    let memory = workloads::measures_memory(&options);
    let names = workloads::names(&options).join("\n");
    if options.list {
        say(names);
        return Ok(());
    }
    if names.is_empty() {
        return Err(Failure::NothingToDo(options.only.join(",")));
    }
    let program = &mut options.programs.redistributed;
    *program = program.canonicalize().map_err(|cause| Failure::Read { path: program.clone(), cause })?;
    let plan = plan(&options);
    let start = Instant::now();
    say(report::machine());

    let mut targets: Vec<Target> = workloads.iter().flat_map(|workload| workload.targets.clone()).collect();
    targets.extend([Target::HaProxy, Target::Traced]);
    targets.sort_unstable_by_key(|&target| target as u8);
    targets.dedup();
    let places = places(&workloads, !growth.is_empty());
    let room = open_files::make_room(CONNECTIONS);
    let mut rig = Rig::start(&options.programs, &targets, &places, room)?;
    let mut results = Results::default();
    if memory {
        say("Memory of a new process, resident");
        if room < CONNECTIONS {
            say(format_args!("  (the limit on open files allows {room} connections, not {CONNECTIONS})"));
        }
        for &target in &targets {
            if let Some(idle) = Idle::measure(&rig, target, room)? {
                say(idle.lines());
                results.idle.push(idle);
            }
        }
        say("");
    }
    if !workloads.is_empty() {
        say(report::heading());
    }
    for workload in &workloads {
        let series = measure::series(&mut rig, workload, plan)?;
        say(report::series(&series));
        results.series.push(series);
    }
    for growth in growth {
        let plan = Plan { rounds: plan.rounds.min(GROWTH_ROUNDS), ..plan };
        let mut steps = Vec::new();
        for &(_, kind) in &growth.steps {
            let targets = vec![Target::HaProxy, Target::Traced];
            steps.push(measure::series(&mut rig, &Workload { kind, targets }, plan)?);
        }
        say(report::growth(&growth, &steps));
        results.growth.push((growth, steps));
    }
    measure::wait_for_last_spans(&rig)?;
    say(report::additions(&results.series));
    say(report::redis(&results.series));
    say(report::spans(&rig.totals()?));
    say(format_args!("Targets of this run: median (least-most of {} rounds)", plan.rounds));
    say(checklist::lines(&results));
    say(format_args!("{:.0} s; {}", start.elapsed().as_secs_f64(), report::load()));
    Ok(())
}

/// Which sidecars the workloads need, each once.
fn places(workloads: &[Workload], growth: bool) -> Vec<(Target, Seat)> {
    let needed = |workload: &Workload| {
        let seats = workload.kind.seats();
        workload
            .targets
            .iter()
            .flat_map(move |&target| seats.iter().map(move |&seat| (target, seat)))
            .collect::<Vec<_>>()
    };
    let mut places: Vec<_> = workloads.iter().flat_map(needed).collect();
    if growth {
        let both = [Target::HaProxy, Target::Traced];
        places.extend(both.into_iter().flat_map(|target| [Seat::First, Seat::Second].map(|seat| (target, seat))));
    }
    places.sort_unstable_by_key(|&(target, seat)| (target as u8, seat as u8));
    places.dedup();
    places
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

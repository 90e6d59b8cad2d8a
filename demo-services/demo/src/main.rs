//! The program behind `make demo`: runs Redis, the plain API and the plain workers on this machine, each service behind
//! a sidecar of its own, orders some reports, and prints what the sidecars tell of each transaction as a tree.
//!
//! It exits with 0 only if every tree is complete: one publish by the API, received once by every worker, and each
//! worker's announcement received by the API. Everything that it started has ended when it ends.

mod check;
mod client;
mod failure;
mod launch;
mod options;
mod ports;
mod processes;
mod programs;
mod redis;
mod relay;
mod render;
mod screen;
mod services;
mod sidecar;
mod signals;
mod story;
mod tree;
mod viewer;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use otlp_receiver::Receiver;

use crate::failure::Failure;
use crate::options::{Command, Options};
use crate::processes::Processes;
use crate::programs::Programs;
use crate::relay::{Destination, Relay};
use crate::screen::Screen;
use crate::signals::Signals;
use crate::story::Story;
use crate::viewer::Viewer;

/// One thread, and no more: children are tied to the thread that starts them (see the module `launch`).
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::from_process();
    if let Some(Command::Launch { parent, command }) = &options.command {
        return launch::launch(*parent, command);
    }
    let screen = Screen::stdout();
    match demonstrate(&options, &screen).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(Unsuccessful { failure, logs }) => {
            screen.failure(&failure, logs.as_deref());
            failure.exit_code()
        }
    }
}

/// A failure, and where the logs were left if there are any worth reading.
struct Unsuccessful {
    failure: Failure,
    logs: Option<PathBuf>,
}

impl From<Failure> for Unsuccessful {
    fn from(failure: Failure) -> Self {
        Self { failure, logs: None }
    }
}

/// Whatever happens in the middle, the end is the same: processes are ended in order, spans on their way are sent on.
async fn demonstrate(options: &Options, screen: &Screen) -> Result<(), Unsuccessful> {
    let mut signals = Signals::new()?;
    let collector = Destination::from_environment()?;
    let programs = Programs::find(options)?;
    let viewer = if options.views(collector.is_some()) { Some(Viewer::start(&programs, screen).await?) } else { None };
    let destination = match &viewer {
        Some(viewer) => Some(Destination::viewer(viewer.otlp, viewer.page)?),
        None => collector,
    };
    let receiver = Arc::new(Receiver::start().await.map_err(Failure::Port)?);
    let mut processes = Processes::new()?;
    let mut story = Story::new(screen, &receiver, destination.as_ref());
    let relay = destination.clone().map(|destination| Relay::start(destination, Arc::clone(&receiver)));

    let mut told = tokio::select! {
        told = story.tell(options.keeps(), &programs, &mut processes) => told,
        interrupted = signals.next() => Err(interrupted),
    };
    if told.is_ok() && options.keeps() {
        told = tokio::select! {
            told = story.go_on(&mut processes) => told,
            _ = signals.next() => Ok(()),
        };
    }

    let ended = tokio::select! {
        ended = processes.end() => ended,
        interrupted = signals.next() => Err(interrupted),
    };
    let relayed = match relay {
        Some(relay) => relay.finish(screen).await,
        None => Ok(()),
    };
    let viewed = match viewer {
        Some(viewer) => viewer.end().await,
        None => Ok(()),
    };
    match told.and(ended).and_then(|()| story.conclude()).and(relayed).and(viewed) {
        Ok(()) => Ok(()),
        Err(failure @ Failure::Interrupted { .. }) => Err(failure.into()),
        Err(failure) => Err(Unsuccessful { failure, logs: Some(processes.keep_logs()) }),
    }
}

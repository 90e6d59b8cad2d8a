//! The order of steps from the command line to the exit code, and nothing else.

use std::process::ExitCode;

use redistributed::config::{Args, Environment, Settings};
use redistributed::shutdown::{Signal, Signals};
use redistributed::telemetry::logging::{self, LIFECYCLE};
use redistributed::{RunError, healthcheck, open_files};
use tokio_util::sync::CancellationToken;

const FAILED: u8 = 1;
const WRONG_SETTINGS: u8 = 2;
const CANNOT_BIND: u8 = 3;

fn main() -> ExitCode {
    let args = match Args::from_process() {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    let environment = Environment::default();
    let mut settings = match Settings::new(&args, &|name| environment.get(name)) {
        Ok(settings) => settings,
        Err(error) => return end(WRONG_SETTINGS, &error),
    };
    if args.healthcheck {
        return healthcheck::check(&settings.routes).map_or_else(|error| end(FAILED, &error), |()| ExitCode::SUCCESS);
    }
    logging::start(args.log_format, args.log_level);
    logging::report_panics();
    for warning in settings.warnings.drain(..).chain(environment.into_warnings()) {
        tracing::warn!("{warning}");
    }
    let wanted = settings.limits.max_connections;
    let room = open_files::make_room(wanted, settings.limits.threads.get());
    if room < wanted {
        // A client over the limit is told so as Redis tells it; one that finds no file descriptor hangs.
        tracing::info!(room, wanted, "--max-connections lowered to what the limit on open files leaves room for");
        settings.limits.max_connections = room;
    }
    // Accepts and waits; connections have threads of their own.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(FAILED, &error),
    };
    let code = runtime.block_on(serve(settings));
    // A second signal leaves tasks behind, which must not be waited for.
    runtime.shutdown_background();
    code
}

async fn serve(settings: Settings) -> ExitCode {
    let listeners = match redistributed::bind(&settings).await {
        Ok(listeners) => listeners,
        Err(error) => return end(CANNOT_BIND, &error),
    };
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return end(FAILED, &error),
    };
    let stop = CancellationToken::new();
    let second_signal = async {
        let first = signals.next().await;
        tracing::info!(target: LIFECYCLE, signal = first.name(), "stopping; a second signal ends at once");
        stop.cancel();
        signals.next().await
    };
    tokio::select! {
        ended = redistributed::run(settings, listeners, stop.cancelled()) => match ended {
            Ok(_) => ExitCode::SUCCESS,
            Err(error @ (RunError::Telemetry(_) | RunError::File(_))) => end(WRONG_SETTINGS, &error),
            Err(error) => end(FAILED, &error),
        },
        signal = second_signal => {
            tracing::warn!(signal = signal.name(), "ended before the drain was over");
            ExitCode::from(Signal::exit_code(signal))
        }
    }
}

#[expect(clippy::print_stderr, reason = "the last word of a process that cannot run, whatever its log level")]
fn end(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("redistributed: {error}");
    ExitCode::from(code)
}

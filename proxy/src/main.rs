//! The order of steps from the command line to the exit code, and nothing else.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use redistributed::cli::{self, Call};
use redistributed::decode::DecodeArgs;
use redistributed::launch::{Launch, LaunchError};
use redistributed::logging::{self, LIFECYCLE, LevelHandle};
use redistributed::net::listener::{PassedSockets, shortened_backlog};
use redistributed::net::open_files;
use redistributed::reload::Reloader;
use redistributed::report_format::ReportFormat;
use redistributed::service::Services;
use redistributed::settings::{Invocation, LoadError, Loaded, Log, LogFormat, LogLevel, Settings, effective};
use redistributed::signals::{Hangups, Signal, Signals};
use redistributed::top::{TopArgs, TopError};
use redistributed::view::ViewArgs;
use redistributed::{RunError, healthcheck, preflight, service_manager};
use redistributed_core::printable::{printable, printable_lines};
use tokio_util::sync::CancellationToken;

const FAILED: u8 = 1;
/// `decode` found no context.
const CARRIES_NONE: u8 = 1;
const WRONG_SETTINGS: u8 = 2;
const CANNOT_BIND: u8 = 3;

fn main() -> ExitCode {
    match Call::read(std::env::args_os()) {
        Ok(Call::Serve(invocation)) => serve(invocation),
        Ok(Call::Run(launch)) => run(*launch),
        Ok(Call::Check(invocation, format)) => check(&invocation, format),
        Ok(Call::Decode(args)) => decode(&args),
        Ok(Call::View(args)) => view(*args),
        Ok(Call::Top(args)) => top(args),
        Ok(Call::Completions(shell)) => written(cli::write_completions(shell, &mut std::io::stdout()), 0),
        Ok(Call::Man(command)) => written(cli::write_man(command.as_deref(), &mut std::io::stdout()), 0),
        Err(LaunchError::Settings(LoadError::CommandLine(error))) => error.exit(),
        Err(error) => end(error.exit_code(), &error),
    }
}

fn serve(invocation: Invocation) -> ExitCode {
    let mut loaded = match load(&invocation) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    if loaded.options.healthcheck {
        return healthcheck::check(&loaded.settings).map_or_else(|error| end(FAILED, &error), |()| ExitCode::SUCCESS);
    }
    if loaded.options.check_config {
        return check_config(&loaded);
    }
    // Before there are other threads.
    let passed = match PassedSockets::from_environment() {
        Ok(passed) => passed,
        Err(error) => return end(CANNOT_BIND, &error),
    };
    let level = prepare(&mut loaded.settings);
    let services = Services::new(&loaded.settings);
    let reloader = Arc::new(Reloader::new(invocation, &loaded, services.clone(), level));
    with_runtime(serve_until_signal(loaded.settings, passed, services, reloader))
}

/// Starts a service behind a proxy of its own.
fn run(launch: Launch) -> ExitCode {
    let mut loaded = match load(&launch.invocation) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    if let Err(error) = preflight::open_files(&loaded) {
        return end(WRONG_SETTINGS, &preflight::explained(&error, &loaded.sources));
    }
    launch.name_service(&mut loaded.settings);
    prepare(&mut loaded.settings);
    with_runtime(async {
        // It ends after the proxy, which sends its last spans there.
        let _view = match launch.view(&mut loaded).await {
            Ok(view) => view,
            Err(error) => return end(error.exit_code(), &error),
        };
        let services = Services::new(&loaded.settings);
        let listeners = match redistributed::bind(&loaded.settings).await {
            Ok(listeners) => listeners,
            Err(error) => {
                return end(CANNOT_BIND, &preflight::explained_bind(&error, &loaded.settings, &loaded.sources));
            }
        };
        match launch.run(loaded, listeners, services).await {
            Ok(code) => ExitCode::from(code),
            Err(error) => end(error.exit_code(), &error),
        }
    })
}

/// Reads the settings, or says why they cannot be read.
fn load(invocation: &Invocation) -> Result<Loaded, ExitCode> {
    invocation.load().map_err(|error| match error {
        LoadError::CommandLine(error) => error.exit(),
        error => end(WRONG_SETTINGS, &error),
    })
}

/// Starts the log, says there what is remarkable of the settings, and makes room for the connections. Returns the log's level.
fn prepare(settings: &mut Settings) -> LevelHandle {
    let level = logging::start(settings.log);
    logging::report_panics();
    for warning in settings.warnings.drain(..) {
        tracing::warn!("{warning}");
    }
    let limits = &mut settings.limits;
    let wanted = limits.max_connections;
    let room = open_files::make_room(wanted, limits.threads.get());
    if room < wanted {
        // A client over the limit is told so as Redis tells it; one that finds no file descriptor hangs.
        tracing::info!(room, wanted, "--max-connections lowered to what the limit on open files leaves room for");
        limits.max_connections = room;
    }
    if let Some(allowed) = shortened_backlog() {
        tracing::warn!(allowed, "fewer clients may connect at once than Redis lets: raise net.core.somaxconn to 1024");
    }
    level
}

/// Runs the thread that accepts and waits; connections have threads of their own.
fn with_runtime(future: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(FAILED, &error),
    };
    let code = runtime.block_on(future);
    // A second signal leaves tasks behind, which must not be waited for.
    runtime.shutdown_background();
    code
}

async fn serve_until_signal(
    settings: Settings,
    passed: PassedSockets,
    services: Arc<Services>,
    reloader: Arc<Reloader>,
) -> ExitCode {
    let (mut signals, mut hangups) = match (Signals::listen(), Hangups::listen()) {
        (Ok(signals), Ok(hangups)) => (signals, hangups),
        (Err(error), _) | (_, Err(error)) => return end(FAILED, &error),
    };
    let listeners = match redistributed::bind_with(&settings, passed).await {
        Ok(listeners) => listeners,
        Err(error) => return end(CANNOT_BIND, &preflight::explained_bind(&error, &settings, &reloader.sources())),
    };
    let stop = CancellationToken::new();
    let second_signal = async {
        let first = signals.next().await;
        tracing::info!(target: LIFECYCLE, signal = first.name(), "stopping; a second signal ends at once");
        service_manager::stopping();
        stop.cancel();
        signals.next().await
    };
    let reload = async {
        loop {
            hangups.next().await;
            service_manager::reloading();
            let reloader = reloader.clone();
            // The log has said what came of it; and a file may be somewhere that does not answer.
            let _ = tokio::task::spawn_blocking(move || reloader.reload()).await;
            service_manager::ready();
        }
    };
    tokio::select! {
        ended = redistributed::run_with(
            settings, listeners, services, Some(reloader.clone()), service_manager::ready, stop.cancelled(),
        ) => match ended {
            Ok(_) => ExitCode::SUCCESS,
            Err(error @ (RunError::Telemetry(_) | RunError::File(_) | RunError::Circle(_))) => {
                end(WRONG_SETTINGS, &preflight::explained(&error, &reloader.sources()))
            }
            Err(error) => end(FAILED, &error),
        },
        signal = second_signal => {
            tracing::warn!(signal = signal.name(), "ended before the drain was over");
            ExitCode::from(Signal::exit_code(signal))
        }
        () = reload => ExitCode::from(FAILED),
    }
}

#[expect(clippy::print_stderr, reason = "this is the answer to the one who asked for it")]
fn check_config(loaded: &Loaded) -> ExitCode {
    if let Err(error) = preflight::open_files(loaded) {
        return end(WRONG_SETTINGS, &preflight::explained(&error, &loaded.sources));
    }
    let code = answer(&effective::page(&loaded.settings, &loaded.sources), 0);
    loaded.settings.warnings.iter().for_each(|warning| eprintln!("redistributed: warning: {}", printable(warning)));
    code
}

fn check(invocation: &Invocation, format: ReportFormat) -> ExitCode {
    let loaded = match load(invocation) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    if let Err(error) = preflight::open_files(&loaded) {
        return end(WRONG_SETTINGS, &preflight::explained(&error, &loaded.sources));
    }
    with_runtime(async {
        match redistributed::check::run(&loaded.settings).await {
            Ok(findings) => {
                let code = redistributed::check::worst(&findings).exit_code();
                answer(&redistributed::check::report(&findings, format), code)
            }
            Err(error) => end(WRONG_SETTINGS, &error),
        }
    })
}

/// Shows what running proxies do.
fn top(args: TopArgs) -> ExitCode {
    with_runtime(async {
        match redistributed::top::run(args).await {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(FAILED),
            Err(error @ TopError::Token(_)) => end(WRONG_SETTINGS, &error),
            Err(error) => end(FAILED, &error),
        }
    })
}

/// Writes the answer to standard output. The exit code is `code`, and not that of success if the answer could not be written.
fn answer(text: &str, code: u8) -> ExitCode {
    written(std::io::stdout().write_all(text.as_bytes()), code)
}

/// The exit code after an answer was written. Who has read enough is content, as in `redistributed man | head -1`.
fn written(outcome: std::io::Result<()>, code: u8) -> ExitCode {
    match outcome {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            end(code.max(FAILED), &format!("cannot write to standard output: {error}"))
        }
        _ => ExitCode::from(code),
    }
}

fn decode(args: &DecodeArgs) -> ExitCode {
    let (mut from, mut to, mut aside) = (std::io::stdin().lock(), std::io::stdout().lock(), std::io::stderr().lock());
    match redistributed::decode::run(args, &mut from, &mut to, &mut aside) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(CARRIES_NONE),
        Err(error) => {
            drop(aside);
            end(WRONG_SETTINGS, &error)
        }
    }
}

/// Shows transactions.
fn view(args: ViewArgs) -> ExitCode {
    logging::start(Log { format: LogFormat::default(), level: LogLevel::default() });
    logging::report_panics();
    with_runtime(async {
        match redistributed::view::run(args).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => end(error.exit_code(), &error),
        }
    })
}

#[expect(clippy::print_stderr, reason = "the last line of a process that cannot run, whatever its log level")]
fn end(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("redistributed: {}", printable_lines(&error.to_string()));
    ExitCode::from(code)
}

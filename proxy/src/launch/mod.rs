//! `run`: a service behind a proxy of its own, without a setting. The proxy listens on a free port of 127.0.0.1 for each Redis that
//! the service's variables name, and the service starts with these variables changed.
//!
//! | module | what it knows |
//! |---|---|
//! | `variables` | which variables name a Redis, and their new values |
//! | `service_name` | what a service is called, by its command |
//! | `child` | the service as a process |

mod child;
mod service_name;
mod variables;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::Arc;

use rustix::process::Signal;
use tokio_util::sync::CancellationToken;

use crate::logging::LIFECYCLE;
use crate::serve::{Listeners, RunError, run_with};
use crate::service::Services;
use crate::settings::{HostPort, Invocation, ListenAddress, LoadError, Loaded, Settings, command_line};
use crate::view::{Beside, ViewError};
pub use child::StartError;
use child::{Child, Signals};
use variables::Redirect;
pub use variables::VariableError;

/// The address of the proxy unless the command line names one: the system chooses the port.
const LISTEN: &str = "127.0.0.1:0";

/// A service to be started: the proxy's settings, the service's command, and its variables. `Debug` shows none of them, because
/// they may hold secrets.
pub struct Launch {
    /// The settings of the proxy, as a command line.
    pub invocation: Invocation,
    command: Vec<OsString>,
    name: Option<String>,
    redirects: Vec<Redirect>,
    ignored: Vec<String>,
    view: Option<HostPort>,
}

impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launch").finish_non_exhaustive()
    }
}

/// The reason why a service cannot be put behind a proxy, or did not stay there.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The proxy's settings cannot be read.
    #[error(transparent)]
    Settings(#[from] LoadError),
    /// The variables that name the service's Redis cannot be used.
    #[error(transparent)]
    Variables(#[from] VariableError),
    /// An option makes no sense for a service that is started here.
    #[error("{0} cannot be used with `run`, which makes the routes itself: leave it out, or start the proxy by itself")]
    Option(&'static str),
    /// The service cannot be told of an address like this.
    #[error("--listen {0}: with `run` it must be an address without TLS, as in 127.0.0.1:6380")]
    Listen(ListenAddress),
    /// Transactions cannot be shown.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The service cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The proxy could not start, or has failed. The service was asked to end.
    #[error(transparent)]
    Proxy(#[from] RunError),
    /// The system refuses a handler for signals, or does not say how the service has ended.
    #[error("cannot look after the service: {0}")]
    System(#[from] io::Error),
}

impl From<clap::Error> for LaunchError {
    fn from(error: clap::Error) -> Self {
        Self::Settings(error.into())
    }
}

impl LaunchError {
    /// The exit code: 2 for settings and variables, those of shells for a command that cannot be started, otherwise 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::Variables(_) | Self::Option(_) | Self::Listen(_) => 2,
            Self::Start(error) => error.exit_code(),
            Self::View(error) => error.exit_code(),
            Self::Proxy(RunError::Telemetry(_) | RunError::File(_) | RunError::Circle(_)) => 2,
            Self::Proxy(_) | Self::System(_) => 1,
        }
    }
}

impl Launch {
    /// Reads `words`, the command line behind `run`, of which the first is the program's name, and the environment. `definition`
    /// defines the proxy's options, `--env`, and the service's command behind `--`.
    ///
    /// # Errors
    /// [`LaunchError`] for settings and variables that cannot be used.
    pub fn read(definition: clap::Command, words: Vec<OsString>) -> Result<Self, LaunchError> {
        let given = Invocation::new(definition.clone(), words.clone());
        let (matches, sources) = given.sources().map_err(|error| with_tip(error, &words))?;
        let texts = |id: &str| matches.get_many::<String>(id).unwrap_or_default().cloned().collect::<Vec<_>>();
        let command: Vec<OsString> = matches.get_many("command").unwrap_or_default().cloned().collect();
        let is_given = |name: &str| sources.get(name).is_some_and(|setting| !setting.values.is_empty());
        if is_given("route") {
            return Err(LaunchError::Option("--route"));
        }
        let upstream = texts("upstream").pop();
        let view = matches.get_one::<HostPort>("view").cloned();
        let variable = |name: &str| std::env::var(name).ok();
        let mut redirects = variables::find(&variable, &texts("env"))?;
        let mut ignored = Vec::new();
        let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
        let mut options: Vec<OsString> = words.into_iter().take(end).collect();
        let name = service_name::of(&command);
        if let Some(upstream) = upstream {
            let (redirect, others) = Redirect::of_option(&upstream, redirects);
            (redirects, ignored) = (vec![redirect], others);
        } else if redirects.is_empty() {
            return Err(variables::none(&variable).into());
        }
        match &redirects[..] {
            [one] => {
                if !is_given("listen") {
                    options.extend(["--listen", LISTEN].map(OsString::from));
                }
                if !is_given("upstream") {
                    options.extend(["--upstream", &one.upstream].map(OsString::from));
                }
            }
            _ if is_given("listen") => return Err(LaunchError::Option("--listen for several Redises")),
            several => {
                // Settings call a service without a name after OTEL_SERVICE_NAME, but a route has to have one.
                let own =
                    std::env::var("OTEL_SERVICE_NAME").ok().filter(|name| !name.is_empty()).or_else(|| name.clone());
                let own = own.unwrap_or_default();
                for Redirect { upstream, .. } in several {
                    options.extend(["--route".into(), format!("{own}={LISTEN},{upstream}").into()]);
                }
            }
        }
        options.push("--".into());
        options.extend(command.iter().cloned());
        Ok(Self { invocation: Invocation::new(definition, options), command, name, redirects, ignored, view })
    }

    /// Names the service after its command, unless the settings name it.
    pub fn name_service(&self, settings: &mut Settings) {
        if settings.otel.service_name.is_none() {
            settings.otel.service_name.clone_from(&self.name);
        }
    }

    /// Starts the viewer, if there is to be one, and has the spans of `loaded` sent there. Inside a tokio runtime.
    ///
    /// # Errors
    /// [`LaunchError::View`]: the settings have no spans for it, or it could not start.
    pub async fn view(&self, loaded: &mut Loaded) -> Result<Option<Beside>, LaunchError> {
        match &self.view {
            Some(wanted) => Ok(Some(Beside::start(wanted, &mut loaded.settings.otel, &loaded.sources).await?)),
            None => Ok(None),
        }
    }

    /// Serves `listeners`, which are those of [`invocation`](Self::invocation), and starts the service behind them. Returns the
    /// service's exit code once it has ended and the proxy has flushed its spans. Signals go to the service. Inside a tokio
    /// runtime.
    ///
    /// # Errors
    /// [`LaunchError`]: the service or the proxy could not start, or the proxy has failed.
    pub async fn run(self, loaded: Loaded, listeners: Listeners, services: Arc<Services>) -> Result<u8, LaunchError> {
        let variables = self.variables(&listeners)?;
        for name in &self.ignored {
            tracing::warn!(
                "{name} names another Redis than --upstream, which is not traced: leave --upstream out for both"
            );
        }
        let mut signals = Signals::listen()?;
        let mut service = Child::start(&self.command, &variables)?;
        let names: Vec<&str> = variables.iter().map(|(name, _)| name.as_str()).collect();
        let program = self.command.first().map(|program| program.to_string_lossy()).unwrap_or_default();
        tracing::info!(target: LIFECYCLE, "started {program} with another {}", names.join(", "));
        let stop = CancellationToken::new();
        let mut proxy = pin!(run_with(loaded.settings, listeners, services, None, || (), stop.cancelled()));
        loop {
            tokio::select! {
                code = service.ended() => {
                    stop.cancel();
                    let code = code?;
                    proxy.await?;
                    return Ok(code);
                }
                signal = signals.next() => service.signal(signal),
                failed = &mut proxy => {
                    // Its way to Redis is gone.
                    service.signal(Signal::TERM);
                    service.ended().await?;
                    failed?;
                    return Ok(1);
                }
            }
        }
    }

    /// The service's variables, with the addresses that were bound.
    fn variables(&self, listeners: &Listeners) -> Result<Vec<(String, String)>, LaunchError> {
        let mut variables = Vec::new();
        for (redirect, listener) in self.redirects.iter().zip(&listeners.routes) {
            let ListenAddress::Tcp(address) = listener.address() else {
                return Err(LaunchError::Listen(listener.address().clone()));
            };
            variables.extend(variables::rewritten(redirect, &reachable(address)));
        }
        Ok(variables)
    }
}

/// `error` with what was probably meant, if a word was not expected.
fn with_tip(error: LoadError, words: &[OsString]) -> LoadError {
    let LoadError::CommandLine(error) = error else { return error };
    let is_address = |pair: &[OsString]| match pair {
        [option, word] => option == "--view" && !word.as_encoded_bytes().starts_with(b"-"),
        _ => false,
    };
    let own = words.iter().position(|word| word == "--").map(|end| words.iter().take(end).cloned().collect::<Vec<_>>());
    let tip = match own {
        None => "put `--` in front of the service's command, as in `redistributed run -- python app.py`",
        Some(own) if own.windows(2).any(is_address) => "join the address to its option, as in `--view=127.0.0.1:16680`",
        Some(_) => return error.into(),
    };
    command_line::with_tip(error, tip).into()
}

/// The way to a listener on this machine.
fn reachable(address: &HostPort) -> HostPort {
    let host = match address.host.as_str() {
        "0.0.0.0" => "127.0.0.1",
        "::" => "::1",
        host => host,
    };
    HostPort { host: host.to_owned(), port: address.port }
}

//! `view`: the collector with a web page, as a program of its own or beside the proxy of `run`. What it shows, and how spans
//! get there, is in the package `redistributed-view`; here are its sockets, its log and its end.

mod args;

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use redistributed_view::{DEFAULT_MEMORY, Sockets, Viewer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::logging::LIFECYCLE;
use crate::net::listener::{BindError, PassedSockets, Socket};
use crate::settings::otel::{BatchSettings, OtelSettings};
use crate::settings::redact::redact_path;
use crate::settings::sources::Sources;
use crate::settings::{HostPort, ListenAddress};
use crate::signals::Signals;
pub use args::{Memory, Port, ViewArgs, page};

/// The largest file that is opened, in bytes.
const MAX_FILE: u64 = 64 << 20;

/// How long a span waits for others to share its request with, where a person waits for it.
const SOON: Duration = Duration::from_millis(200);

/// The variables that name a collector.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];

/// The reason why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// One of the viewer's addresses cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A file cannot be opened, or is none with traces.
    #[error("{path}: {problem}")]
    File {
        /// The path of the file, without what may be secret.
        path: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The settings name a collector, and spans go to one place.
    #[error("--view and {0} are both set, and spans go to one place: leave one of them out")]
    Collector(&'static str),
    /// `OTEL_SDK_DISABLED` is true, so no spans are made.
    #[error("--view has nothing to show, because OTEL_SDK_DISABLED is true: leave one of them out")]
    Disabled,
    /// The system refuses a handler for signals, a thread or an event loop.
    #[error("cannot start the viewer: {0}")]
    System(#[from] io::Error),
}

impl ViewError {
    /// The exit code: 2 for settings and files, 3 for addresses, otherwise 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::File { .. } | Self::Collector(_) | Self::Disabled => 2,
            Self::Bind(_) => 3,
            Self::System(_) => 1,
        }
    }
}

/// Serves what `args` say until a signal asks for the end. Inside a tokio runtime.
///
/// # Errors
/// [`ViewError`]: it could not start.
pub async fn run(args: ViewArgs) -> Result<(), ViewError> {
    let mut signals = Signals::listen()?;
    let (page, address) = bind("--listen", &args.listen).await?;
    let http = bind_port("--otlp-http", &args.otlp_http).await?;
    let grpc = bind_port("--otlp-grpc", &args.otlp_grpc).await?;
    let viewer = Viewer::new(args.memory.0, hosts(&args.listen, args.allow_host));
    for path in &args.files {
        open(&viewer, path)?;
    }
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "whoever reaches the page sees all spans: it has no passwords");
    }
    tracing::info!(target: LIFECYCLE, %address, "listening: open http://{}/", reachable(address));
    for (port, what) in [(&http, "HTTP"), (&grpc, "gRPC")] {
        if let Some((_, address)) = port {
            tracing::info!(target: LIFECYCLE, %address, "listening for OTLP over {what}");
        }
    }
    let socket = |port: Option<(TcpListener, SocketAddr)>| port.map(|(socket, _)| socket);
    let sockets = Sockets { page, http: socket(http), grpc: socket(grpc) };
    let signal = async { tracing::info!(target: LIFECYCLE, signal = signals.next().await.name(), "stopping") };
    viewer.serve(sockets, signal).await;
    Ok(())
}

/// A viewer beside the proxy. Dropping it ends it.
#[derive(Debug)]
pub struct Beside {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Beside {
    /// Starts a viewer at `wanted`, on a thread and with an event loop of its own, and has the spans of `otel` sent there.
    /// Inside a tokio
    /// runtime.
    ///
    /// # Errors
    /// [`ViewError`]: the settings have no spans for it, or it could not start.
    pub async fn start(wanted: &HostPort, otel: &mut OtelSettings, sources: &Sources) -> Result<Self, ViewError> {
        if !otel.enabled {
            return Err(ViewError::Disabled);
        }
        if let Some(variable) = ENDPOINTS.into_iter().find(|variable| sources.get(variable).is_some()) {
            return Err(ViewError::Collector(variable));
        }
        let (page, address) = bind("--view", wanted).await?;
        let own = HostPort { host: "127.0.0.1".to_owned(), port: 0 };
        let (otlp, collector) = bind("--view", &own).await?;
        otel.otlp = to(collector);
        if otel.batch.schedule_delay == BatchSettings::default().schedule_delay {
            otel.batch.schedule_delay = SOON;
        }
        let viewer = Viewer::new(DEFAULT_MEMORY, hosts(wanted, Vec::new()));
        let (page, otlp) = (page.into_std()?, otlp.into_std()?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let serve = move || {
            runtime.block_on(async {
                // Neither fails unless the event loop cannot watch another socket.
                if let (Ok(page), Ok(otlp)) = (TcpListener::from_std(page), TcpListener::from_std(otlp)) {
                    let sockets = Sockets { page, http: Some(otlp), grpc: None };
                    viewer.serve(sockets, stopped.cancelled()).await;
                }
            });
        };
        let thread = thread::Builder::new().name("view".to_owned()).spawn(serve)?;
        tracing::info!(target: LIFECYCLE, "transactions are shown as they happen: open http://{}/", reachable(address));
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.stop.cancel();
        // A panic there was logged.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The exporter that sends to `collector`.
fn to(collector: SocketAddr) -> Option<crate::settings::otel::OtlpSettings> {
    let endpoint = format!("http://{collector}");
    let lookup = |name: &str| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| endpoint.clone());
    // It is an address, so it can be read.
    OtelSettings::from_lookup(&lookup).ok().and_then(|(settings, _)| settings.otlp)
}

/// Binds `wanted`, which the option `setting` names.
async fn bind(setting: &'static str, wanted: &HostPort) -> Result<(TcpListener, SocketAddr), ViewError> {
    // The mode is for the file of a Unix socket.
    let socket = Socket::bind(setting, &ListenAddress::Tcp(wanted.clone()), 0, &mut PassedSockets::default()).await?;
    let address = socket.socket_address();
    match (socket.into_tcp(), address) {
        (Some(socket), Some(address)) => Ok((socket, address)),
        _ => Err(ViewError::System(io::Error::other("a socket of TCP has no address"))),
    }
}

/// Binds `port`, which the option `setting` names, unless it is off.
async fn bind_port(setting: &'static str, port: &Port) -> Result<Option<(TcpListener, SocketAddr)>, ViewError> {
    match port {
        Port::Off => Ok(None),
        Port::At(wanted) => bind(setting, wanted).await.map(Some),
    }
}

/// The names by which the page may be asked for, besides those of this machine.
fn hosts(listen: &HostPort, more: Vec<String>) -> Vec<String> {
    let is_any = ["0.0.0.0", "::"].contains(&listen.host.as_str());
    more.into_iter().chain((!is_any).then(|| listen.host.clone())).collect()
}

/// The way to a listener on this machine.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    address
}

fn open(viewer: &Viewer, path: &Path) -> Result<(), ViewError> {
    let failed = |problem: String| ViewError::File { path: redact_path(path), problem };
    let mut text = Vec::new();
    // One byte more, so that a file that is too large is told from the largest.
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut text));
    read.map_err(|error| failed(format!("{error}; name a file with traces that can be read")))?;
    viewer.open(&text).map(drop).map_err(failed)
}

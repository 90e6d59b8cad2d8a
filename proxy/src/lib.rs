//! The tokio shell of redistributed: everything that has sockets, a clock, randomness or an environment.
//!
//! | module | what it does |
//! |---|---|
//! | [`cli`] | what the program was called for |
//! | [`settings`] | what the operator set, and what it means: plain, checked data that everything else may use |
//! | [`reload`] | the settings read again in a running process |
//! | [`preflight`] | mistakes that show before anything is served, with the setting that they come from |
//! | [`net`] | connections: listeners, the way to Redis, TLS and the keys for it |
//! | [`server`] | accepts clients |
//! | [`workers`] | the threads that carry connections |
//! | [`redis`] | what the proxy itself asks Redis, on connections of its own |
//! | [`auto`] | who is known to be behind a proxy, for mode `auto` |
//! | [`live_policy`] | the policy in force, and its switch |
//! | [`files`] | files that settings name, followed when they change |
//! | [`relay`] | carries bytes between the two through a [`redistributed_core::Session`] |
//! | [`telemetry`] | spans out, counters |
//! | [`logging`] | the proxy's own log |
//! | [`admin`] | health, metrics, settings and the mode switch over HTTP |
//! | [`shutdown`] | signals and the drain |
//! | [`check`] | tries everything that the settings name |
//! | [`decode`] | which trace context payloads carry |
//! | [`report_format`] | the form in which `check` and `decode` answer |
//! | [`healthcheck`] | the same program asking whether it runs |
//!
//! [`run`] is the whole program between its settings and its end.
#![warn(missing_docs)]

pub mod admin;
pub mod auto;
pub mod check;
pub mod cli;
pub mod clock;
pub mod decode;
pub mod entropy;
pub mod error;
pub mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod healthcheck;
pub mod live_policy;
pub mod logging;
pub mod net;
pub mod preflight;
pub mod redis;
pub mod relay;
pub mod reload;
pub mod report_format;
pub mod server;
pub mod settings;
pub mod shutdown;
pub mod telemetry;
pub mod workers;

use std::future::Future;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use admin::Admin;
use auto::AutoMode;
use entropy::Entropy;
use files::FileError;
use live_policy::LivePolicy;
use logging::LIFECYCLE;
use net::key_material::KeyMaterial;
use net::listener::{self, BindError, Handshakes, Listener};
use net::upstream::Dialer;
use reload::Reloader;
use server::RouteServer;
use settings::Settings;
use telemetry::route_stats::RouteStats;
use telemetry::stats::Stats;
use telemetry::{ExportSummary, Host, Peer, Resource, Telemetry, TelemetryError};
use workers::Workers;

/// Why the program could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Spans cannot be exported as the variables say.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// A certificate, a key or a password cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// No ids can be made.
    #[error("the system has no randomness: {0}")]
    Entropy(#[from] getrandom::Error),
    /// A thread that carries connections cannot be started.
    #[error("cannot start a thread for connections: {0}")]
    Thread(#[from] std::io::Error),
    /// A listener's task ended by itself.
    #[error("a listener has failed: {0}")]
    Listener(#[from] JoinError),
}

/// What there is to say at the end.
#[derive(Debug)]
pub struct Report {
    /// Connections that were still open when the time to drain was over.
    pub cut_off: usize,
    /// What became of the spans.
    pub spans: ExportSummary,
    /// What was counted.
    pub stats: Arc<Stats>,
}

/// The sockets that the settings ask for.
#[derive(Debug)]
pub struct Listeners {
    /// In the order of the routes.
    pub routes: Vec<Listener>,
    /// The admin port's, if there is one.
    pub admin: Option<TcpListener>,
}

/// Binds the listen address of every route and of the admin port, before anything is served.
///
/// # Errors
/// The first address that cannot be bound.
pub async fn bind(settings: &Settings) -> Result<Listeners, BindError> {
    let mut routes = Vec::with_capacity(settings.routes.len());
    for route in &settings.routes {
        routes.push(Listener::bind(route, settings).await?);
    }
    let admin = match &settings.admin {
        Some(address) => Some(listener::bind("--admin", address).await?),
        None => None,
    };
    Ok(Listeners { routes, admin })
}

/// Serves `listeners` until `stop` is ready, then drains and flushes. Dropping the future ends everything at once.
///
/// # Errors
/// [`RunError`]: it could not start, or a listener failed.
pub async fn run(settings: Settings, listeners: Listeners, stop: impl Future<Output = ()>) -> Result<Report, RunError> {
    let policy = LivePolicy::new(settings.policy.clone());
    run_with(settings, listeners, policy, None, stop).await
}

/// The same with a policy that the caller can change meanwhile, and with what reads the settings again for the admin
/// port.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    settings: Settings,
    listeners: Listeners,
    policy: Arc<LivePolicy>,
    reloader: Option<Arc<Reloader>>,
    stop: impl Future<Output = ()>,
) -> Result<Report, RunError> {
    let material = KeyMaterial::read(&settings)?;
    if let Some(reloader) = &reloader {
        reloader.follow(material.clone());
    }
    let dialers: Vec<Dialer> = listeners
        .routes
        .iter()
        .map(|listener| Dialer::new(listener.route(), &settings, &material))
        .collect::<Result<_, _>>()?;
    let telemetry = Telemetry::start(&settings.otel, settings.limits.threads)?;
    let mut resources: Vec<Arc<Resource>> = Vec::new();
    let host = Host::detect();
    for listener in &listeners.routes {
        let resource = Arc::new(Resource::of_service(listener.route().name.as_deref(), &settings.otel, &host));
        // Routes of one name are one service.
        let known = resources.iter().find(|known| known.service_name() == resource.service_name()).cloned();
        resources.push(known.unwrap_or(resource));
    }
    let stats = Arc::new(RouteStats::new(resources.iter().map(|resource| &**resource.service_name())));
    let workers = Arc::new(Workers::start(settings.limits.threads)?);
    let permits = Arc::new(Semaphore::new(settings.limits.max_connections));
    let stopping = CancellationToken::new();
    let mut accepting = JoinSet::new();
    let mut auto = Vec::new();
    // Until the end of the drain too: what is still subscribed is still announced.
    let mut asking = JoinSet::new();
    let bound = listeners.routes.into_iter().zip(&resources).zip(dialers.clone());
    for (index, ((listener, resource), dialer)) in bound.enumerate() {
        let route = listener.route().clone();
        let name = route.name.as_deref().or(settings.otel.service_name.as_deref());
        let mode = policy.modes();
        tracing::info!(
            target: LIFECYCLE, address = %listener.address(), upstream = %route.upstream, service = name, %mode, "listening"
        );
        let handshakes = Handshakes::of(&route.listen, &material, settings.limits.handshake_timeout)?;
        let of_route =
            AutoMode::new(settings.auto, policy.clone(), dialer.clone(), workers.clone(), Entropy::from_os()?);
        of_route.start(&mut asking);
        auto.push(of_route.clone());
        let peer = Peer { address: route.upstream.server_address(), port: route.upstream.server_port() };
        let (sink, stats) = (telemetry.sink(resource, &peer), stats.of(index));
        let server = RouteServer::new(dialer, handshakes, policy.clone(), sink, stats, of_route);
        accepting.spawn(server.accept(
            listener,
            permits.clone(),
            workers.clone(),
            Entropy::from_os()?,
            stopping.clone(),
        ));
    }

    tokio::spawn(material.follow(stopping.clone()));

    // Until the end of the drain, so that what a stopping process does can be seen.
    let admin_stop = CancellationToken::new();
    let _stop_admin = admin_stop.clone().drop_guard();
    if let Some(listener) = listeners.admin {
        if let Ok(address) = listener.local_addr() {
            tracing::info!(target: LIFECYCLE, %address, "admin port");
        }
        let settings = settings.clone();
        let admin = Admin {
            settings,
            dialers,
            auto,
            policy: policy.clone(),
            reloader,
            stats: stats.clone(),
            spans: telemetry.totals(),
            tap: telemetry.tap(),
            draining: stopping.clone(),
            began: clock::wall(),
        };
        tokio::spawn(Arc::new(admin).serve(listener, admin_stop));
    }

    tokio::select! {
        () = stop => {}
        Some(ended) = accepting.join_next() => {
            // Listeners end only when told to.
            ended?;
        }
    }
    let deadline = Instant::now() + settings.limits.drain_timeout;
    stopping.cancel();
    let mut cut_off = 0;
    while let Some(connections) = accepting.join_next().await {
        cut_off += shutdown::drain(&mut connections?, deadline).await;
    }
    let spans = telemetry.shutdown(settings.limits.flush_timeout).await;
    let stats = Arc::new(stats.total());
    stats.log();
    tracing::info!(
        target: LIFECYCLE,
        cut_off,
        spans_sent = spans.sent,
        spans_failed = spans.failed,
        spans_dropped = spans.dropped,
        spans_unsent = spans.queued,
        "stopped"
    );
    Ok(Report { cut_off, spans, stats })
}

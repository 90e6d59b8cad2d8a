//! The life of the process between its settings and its end: bind, build, serve, drain.

use std::future::Future;
use std::sync::Arc;

use redistributed_core::trace::UnixNanos;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::admin::Admin;
use crate::auto::AutoMode;
use crate::clock;
use crate::endpoint::http::HttpEndpoint;
use crate::endpoint::redis::RedisEndpoint;
use crate::endpoint::{Acceptor, report_defect};
use crate::entropy::Entropy;
use crate::explain;
use crate::files::FileError;
use crate::logging::LIFECYCLE;
use crate::memory;
use crate::net::hop::Questions;
use crate::net::key_material::KeyMaterial;
use crate::net::listener::{BindError, Handshakes, Listener, PassedSockets, Socket};
use crate::net::upstream::Dialer;
use crate::out_of_band::OutOfBand;
use crate::reload::Reloader;
use crate::service::Services;
use crate::settings::http::{HTTP, listen_url};
use crate::settings::{HttpPort, ListenAddress, Settings, Upstream};
use crate::telemetry::stats::Stats;
use crate::telemetry::{ExportSummary, Peer, Telemetry, TelemetryError};
use crate::workers::Workers;

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
    /// A proxy was started in front of itself.
    #[error(
        "the upstream {0} leads back to this proxy, so that each connection would make more without end: name the Redis \
         itself as upstream"
    )]
    Circle(Upstream),
    /// A listener's task ended by itself.
    #[error("a listener has failed: {0}")]
    Listener(#[from] JoinError),
}

/// The final account of a process.
#[derive(Debug)]
pub struct Report {
    /// Connections that were still open when the time to drain was over.
    pub cut_off: usize,
    /// What became of the spans.
    pub spans: ExportSummary,
    /// The counters of all services, added up.
    pub stats: Arc<Stats>,
}

/// The sockets that the settings ask for.
#[derive(Debug)]
pub struct Listeners {
    /// In the order of the routes.
    pub routes: Vec<Listener>,
    /// In the order of the HTTP ports.
    pub http: Vec<Socket>,
    /// The admin port's, if there is one.
    pub admin: Option<Socket>,
}

/// Binds the listen address of every route, of every HTTP port and of the admin port, before anything is served.
///
/// # Errors
/// The first address that cannot be bound.
pub async fn bind(settings: &Settings) -> Result<Listeners, BindError> {
    bind_with(settings, PassedSockets::default()).await
}

/// The same with sockets that the service manager has passed, each for the address that it is bound to.
///
/// # Errors
/// The first address that cannot be bound, or the first passed socket that has no place in the settings.
pub async fn bind_with(settings: &Settings, mut passed: PassedSockets) -> Result<Listeners, BindError> {
    let mut routes = Vec::with_capacity(settings.routes.len());
    for route in &settings.routes {
        routes.push(Listener::bind(route, settings, &mut passed).await?);
    }
    let mut http = Vec::with_capacity(settings.http.len());
    for port in &settings.http {
        http.push(Socket::bind(HTTP, &port.listen, settings.socket_mode, &mut passed).await?);
    }
    let admin = match &settings.admin.address {
        Some(address) => Some(Socket::bind("--admin", address, settings.socket_mode, &mut passed).await?),
        None => None,
    };
    passed.all_taken()?;
    Ok(Listeners { routes, http, admin })
}

/// Serves `listeners` until `stop` is ready, then drains and flushes. Dropping the future ends everything at once.
///
/// # Errors
/// [`RunError`]: it could not start, or a listener failed.
pub async fn run(settings: Settings, listeners: Listeners, stop: impl Future<Output = ()>) -> Result<Report, RunError> {
    let services = Services::new(&settings);
    run_with(settings, listeners, services, None, || (), stop).await
}

/// The same with services whose policy the caller can change meanwhile, and with what reads the settings again for the admin
/// port. `serving` is called once clients are accepted.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    settings: Settings,
    listeners: Listeners,
    services: Arc<Services>,
    reloader: Option<Arc<Reloader>>,
    serving: impl FnOnce(),
    stop: impl Future<Output = ()>,
) -> Result<Report, RunError> {
    let Listeners { routes, http, admin } = listeners;
    let server = Server::build(settings, services, reloader)?;
    let endpoints = routes.into_iter().map(|listener| server.endpoint(listener)).collect::<Result<Vec<_>, _>>()?;
    let mut served = server.serve(endpoints, http, admin)?;
    serving();
    served.until(stop).await?;
    served.drain().await
}

/// What is built once and serves all endpoints.
struct Server {
    settings: Settings,
    services: Arc<Services>,
    reloader: Option<Arc<Reloader>>,
    /// The certificates, keys and secrets in force.
    keys: KeyMaterial,
    telemetry: Telemetry,
    workers: Arc<Workers>,
    /// By which the listeners recognise a way back to this process.
    questions: Questions,
    began: UnixNanos,
}

impl Server {
    fn build(settings: Settings, services: Arc<Services>, reloader: Option<Arc<Reloader>>) -> Result<Self, RunError> {
        let keys = KeyMaterial::read(&settings)?;
        services.set_context_keys(keys.context_keys());
        if let Some(reloader) = &reloader {
            reloader.follow(keys.clone());
        }
        let mut telemetry = Telemetry::start_with(&settings.otel, keys.collectors.clone(), settings.limits.threads)?;
        if settings.admin.address.is_some() {
            telemetry = telemetry.measuring(&settings.otel);
        }
        let workers = Arc::new(Workers::start(settings.limits.threads)?);
        Ok(Self {
            settings,
            services,
            reloader,
            keys,
            telemetry,
            workers,
            questions: Questions::default(),
            began: clock::wall(),
        })
    }

    /// The endpoint of a route that has been bound.
    fn endpoint(&self, listener: Listener) -> Result<(Arc<RedisEndpoint>, Listener), RunError> {
        let route = listener.route();
        let service = self.services.get(route.name.as_deref());
        let dialer = Dialer::new(route, &self.settings, &self.keys)?;
        let handshakes = Handshakes::of(&route.listen, &self.keys, self.settings.limits.handshake_timeout)?;
        let peer = Peer { address: route.upstream.server_address(), port: route.upstream.server_port() };
        let sink = self.telemetry.sink(&service.resource, &peer);
        let (policy, workers) = (Arc::clone(&service.policy), Arc::clone(&self.workers));
        let out_of_band = OutOfBand::new(Arc::clone(&policy), dialer.clone(), Arc::clone(&service.stats));
        let auto = AutoMode::new(self.settings.auto, policy, dialer.clone(), workers, Entropy::from_os()?);
        let questions = self.questions.clone();
        Ok((RedisEndpoint::new(service, dialer, handshakes, sink, auto, out_of_band, questions), listener))
    }

    /// The endpoint of an HTTP port, whose connections end when `stopping` says so and nothing is asked on them.
    fn http_endpoint(&self, port: &HttpPort, stopping: CancellationToken) -> Result<HttpEndpoint, RunError> {
        let service = self.services.get(port.name.as_deref());
        let dialer = Dialer::to_service(&port.service, &self.settings);
        let handshakes = Handshakes::of(&port.listen, &self.keys, self.settings.limits.handshake_timeout)?;
        // A service without it must not be asked in it.
        let protocols: &[&str] = if port.speaks_http2 { &["h2", "http/1.1"] } else { &["http/1.1"] };
        let handshakes = handshakes.map(|handshakes| handshakes.offering(protocols));
        let peer = Peer { address: port.service.server_address(), port: port.service.server_port() };
        let sink = self.telemetry.sink(&service.resource, &peer);
        let settings = Arc::clone(&self.settings.http_policy);
        let requests = service.follow.requests();
        Ok(HttpEndpoint::new(service, dialer, handshakes, sink, settings, stopping).witnessed_by(requests))
    }

    /// Begins to accept clients, and to do what goes on beside them.
    fn serve(
        self,
        endpoints: Vec<(Arc<RedisEndpoint>, Listener)>,
        http: Vec<Socket>,
        admin: Option<Socket>,
    ) -> Result<Serving, RunError> {
        let stopping = CancellationToken::new();
        let limits = self.settings.limits;
        let acceptor = Acceptor::new(limits.max_connections, Arc::clone(&self.workers), stopping.clone());
        let (mut accepting, mut background) = (JoinSet::new(), JoinSet::new());
        let mut served = Vec::with_capacity(endpoints.len());
        let (circle, circles) = mpsc::channel(1);
        for (endpoint, listener) in endpoints {
            let route = listener.route();
            // A service that nobody named has no name in the log.
            let service = route.name.as_deref().or(self.settings.otel.service_name.as_deref());
            let mode = self.services.modes();
            tracing::info!(
                target: LIFECYCLE, address = %listener.address(), upstream = %route.upstream, service, %mode, "listening"
            );
            endpoint.start(&mut background);
            background.spawn(Arc::clone(&endpoint).look_upstream(Entropy::from_os()?, circle.clone()));
            let socket = listener.into_socket();
            accepting.spawn(acceptor.clone().run(Arc::clone(&endpoint), socket, Entropy::from_os()?));
            served.push(endpoint);
        }
        // A port 0 of the settings is another one by now.
        let http_addresses: Vec<_> = http.iter().map(|socket| socket.address().clone()).collect();
        for (port, socket) in self.settings.http.iter().zip(http) {
            let endpoint = Arc::new(self.http_endpoint(port, stopping.clone())?);
            let service = port.name.as_deref().or(self.settings.otel.service_name.as_deref());
            let (address, upstream) = (listen_url(socket.address()), port.service_url());
            tracing::info!(target: LIFECYCLE, address, upstream, service, "listening for HTTP");
            accepting.spawn(acceptor.clone().run(endpoint, socket, Entropy::from_os()?));
        }
        for service in self.services.all() {
            background.spawn(Arc::clone(&service.follow).run(Arc::clone(&self.workers)));
        }
        self.introduce(&http_addresses);
        let services = Arc::clone(&self.services);
        let changed = move |keys: &KeyMaterial| services.set_context_keys(keys.context_keys());
        background.spawn(self.keys.clone().follow(stopping.clone(), changed));
        background.spawn(memory::give_back());
        let admin = admin.map(|listener| self.serve_admin(listener, served, stopping.clone()));
        let Self { settings, services, telemetry, workers, .. } = self;
        Ok(Serving {
            settings,
            services,
            telemetry,
            _workers: workers,
            accepting,
            circles,
            _background: background,
            stopping,
            _admin: admin,
        })
    }

    /// Says in words what is served, and what that means for those who are not behind a proxy.
    fn introduce(&self, http: &[ListenAddress]) {
        let started = explain::start(&self.settings, &self.services.modes(), http);
        tracing::info!(target: LIFECYCLE, "{started}");
        let seen = explain::seen_without_proxy(&self.services.in_force());
        if let Some(seen) = seen.filter(|_| !self.settings.routes.is_empty()) {
            tracing::info!(
                target: LIFECYCLE,
                "in mode inject, subscribers that are not behind a redistributed see what it adds: {seen}; mode auto adds \
                 nothing where one of them subscribes"
            );
        }
    }

    /// Serves the admin port until the guard is dropped.
    fn serve_admin(
        &self,
        listener: Socket,
        endpoints: Vec<Arc<RedisEndpoint>>,
        draining: CancellationToken,
    ) -> DropGuard {
        tracing::info!(target: LIFECYCLE, address = %listener.address(), "admin port");
        let admin = Admin {
            settings: self.settings.clone(),
            services: Arc::clone(&self.services),
            endpoints,
            keys: self.keys.clone(),
            reloader: self.reloader.clone(),
            spans: self.telemetry.totals(),
            meters: self.telemetry.meters(),
            tap: self.telemetry.tap(),
            draining,
            began: self.began,
        };
        let stop = CancellationToken::new();
        tokio::spawn(admin.serve(listener, stop.clone()));
        stop.drop_guard()
    }
}

/// A process that accepts clients. Dropping it ends everything at once.
struct Serving {
    settings: Settings,
    services: Arc<Services>,
    telemetry: Telemetry,
    /// Until the end of the drain: the connections that are still open run there.
    _workers: Arc<Workers>,
    /// A task for each endpoint, which returns the connections that are open at its end.
    accepting: JoinSet<JoinSet<()>>,
    /// The upstreams of which it was found out at the start that they lead back to this process.
    circles: mpsc::Receiver<Upstream>,
    /// Until the end of the drain too: what is still subscribed is still announced, and spans are handed over.
    _background: JoinSet<()>,
    stopping: CancellationToken,
    /// Until the end of the drain too, so that what a stopping process does can be seen.
    _admin: Option<DropGuard>,
}

impl Serving {
    /// Serves until `stop` is ready.
    async fn until(&mut self, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        tokio::select! {
            () = stop => {}
            Some(upstream) = self.circles.recv() => return Err(RunError::Circle(upstream)),
            Some(ended) = self.accepting.join_next() => {
                // Listeners end only when told to.
                ended?;
            }
        }
        Ok(())
    }

    /// Accepts no more, lets open connections go on until the time to drain is over, and sends the last spans.
    async fn drain(mut self) -> Result<Report, RunError> {
        let limits = self.settings.limits;
        let deadline = Instant::now() + limits.drain_timeout;
        self.stopping.cancel();
        let mut cut_off = 0;
        while let Some(connections) = self.accepting.join_next().await {
            cut_off += drain(&mut connections?, deadline).await;
        }
        // What waits for more to become known waits no longer.
        self.services.all().iter().for_each(|service| service.follow.flush());
        let spans = self.telemetry.shutdown(limits.flush_timeout).await;
        let stats = Arc::new(self.services.total());
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
}

/// Lets `connections` go on until `deadline`, then ends those that are still open, and returns how many they were.
async fn drain(connections: &mut JoinSet<()>, deadline: Instant) -> usize {
    while let Ok(Some(ended)) = timeout_at(deadline, connections.join_next()).await {
        report_defect(ended);
    }
    let cut_off = connections.len();
    connections.shutdown().await;
    cut_off
}

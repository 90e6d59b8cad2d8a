//! The admin port: what runs, how it does, and the switch.
//!
//! `requests` lists what it answers.
//!
//! Whoever reaches this port may look. Switching, reloading and watching messages is for those who connect over loopback or by
//! a Unix socket, unless `--admin-control` or `--admin-token-file` says otherwise. A web page that a browser shows may do none
//! of it: a request that names an `Origin` is refused, and so is a tap for the sake of another site, which could not read it but
//! would take its place.

mod access;
mod exposition;
mod metrics;
mod pages;
mod process;
mod ready;
mod requests;
mod slots;
mod tap;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use redistributed_core::policy::Mode;
use redistributed_core::printable::printable_lines;
use redistributed_core::trace::UnixNanos;
use tokio_util::sync::CancellationToken;

use crate::endpoint::redis::RedisEndpoint;
use crate::explain;
use crate::logging::LIFECYCLE;
use crate::net::key_material::KeyMaterial;
use crate::net::listener::{Client, ClientName, Socket};
use crate::reload::Reloader;
use crate::service::Services;
use crate::settings::Settings;
use crate::settings::modes::Modes;
use crate::telemetry::SpanTotals;
use crate::telemetry::meter::Meters;
use crate::telemetry::tap::{MAX_WATCHERS, Tap};
use access::{Access, Refusal};
use exposition::Format;
use ready::Readiness;
use requests::{Action, Found, Permission};
use slots::{Door, Leaving, Places, Visit};

/// The longest body of a request, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// How long a request's head may take to arrive.
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// How long a request's body may take to arrive after its head. Less than an answer may take, so that there is one.
const BODY_LIMIT: Duration = Duration::from_secs(5);

/// What the admin port shows and controls.
#[derive(Debug)]
pub struct Admin {
    /// The settings as they were checked at the start.
    pub settings: Settings,
    /// All services, and the switch for their modes.
    pub services: Arc<Services>,
    /// The endpoints of all services.
    pub endpoints: Vec<Arc<RedisEndpoint>>,
    /// The certificates and secrets in force.
    pub keys: KeyMaterial,
    /// Reads the settings again, if the process can do that.
    pub reloader: Option<Arc<Reloader>>,
    /// The counts of spans.
    pub spans: SpanTotals,
    /// What is measured of operations, if anything is.
    pub meters: Option<Arc<Meters>>,
    /// The tap, where messages can be watched.
    pub tap: Arc<Tap>,
    /// Cancelled when the process begins to stop.
    pub draining: CancellationToken,
    /// The time at which the process began, by the wall clock.
    pub began: UnixNanos,
}

type PageResponse = Response<Either<Full<Bytes>, tap::Lines>>;

/// The admin port while it answers.
#[derive(Debug)]
struct Port {
    admin: Admin,
    access: Access,
    places: Places,
    readiness: Arc<Readiness>,
}

impl Admin {
    /// Answers requests until `stop`.
    pub async fn serve(self, listener: Socket, stop: CancellationToken) {
        let access = Access::new(&self.settings.admin, self.keys.admin_token.clone());
        let readiness = Readiness::new(self.endpoints.clone());
        let port = Arc::new(Port { admin: self, access, places: Places::new(), readiness });
        let mut door = Door::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok(client) => {
                    let visit = tokio::select! {
                        () = stop.cancelled() => return,
                        visit = door.next() => visit,
                    };
                    let Some(visit) = visit else { return };
                    let (port, stop, leaving) = (Arc::clone(&port), stop.clone(), Leaving(Arc::clone(&visit)));
                    let task = tokio::spawn(async move {
                        tokio::select! {
                            () = stop.cancelled() => {}
                            () = port.connection(client, &leaving.0) => {}
                        }
                    });
                    door.entered(task.abort_handle(), visit);
                }
                // Out of file descriptors, most likely: the relay says so, and this must not become a busy loop.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

impl Port {
    async fn connection(self: Arc<Self>, client: Client, visit: &Arc<Visit>) {
        let peer = client.peer.clone();
        // Without TLS there is no handshake that could fail.
        let Ok(stream) = client.into_stream(None).await else { return };
        let answer = |request| {
            visit.ask();
            let (port, peer, visit) = (Arc::clone(&self), peer.clone(), Arc::clone(visit));
            async move { Ok::<_, Infallible>(port.answer(request, &peer, &visit).await) }
        };
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            // One request each: a peer that asks and does not read the answers cannot keep its place.
            .keep_alive(false)
            .header_read_timeout(HEAD_LIMIT)
            .serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::select! {
            served = served => if let Err(error) = served {
                tracing::debug!(%peer, %error, "admin connection failed");
            },
            () = visit.late() => tracing::debug!(%peer, "an admin connection was closed, because its answer was not read in time"),
        }
    }

    async fn answer(&self, request: Request<Incoming>, peer: &ClientName, visit: &Visit) -> PageResponse {
        let found = requests::find(request.method(), request.uri().path());
        let needs_control = match &found {
            Found::Request(known) => known.permission == Permission::Control,
            Found::OtherMethods(_) | Found::NoSuchPath => access::is_change(request.method()),
        };
        match self.access.refusal(peer, needs_control, request.headers()) {
            None => {}
            Some(Refusal::Forbidden(why)) => return text(StatusCode::FORBIDDEN, why),
            Some(Refusal::Unauthorized(why)) => return unauthorized(why),
        }
        let known = match found {
            Found::Request(known) => known,
            Found::OtherMethods(methods) => return not_allowed(&methods),
            Found::NoSuchPath => {
                let body = format!("there is no such page; these are:\n{}", requests::index());
                return text(StatusCode::NOT_FOUND, body);
            }
        };
        if !self.places.take(known.kind(), visit) {
            return busy();
        }
        match known.action {
            Action::Index => text(StatusCode::OK, requests::index()),
            Action::Health => text(StatusCode::OK, "ok\n"),
            Action::Ready => self.ready().await,
            Action::Metrics => self.metrics(&request),
            Action::Tap => self.watch(&request),
            Action::Config => self.config(),
            Action::Mode => self.mode(),
            Action::SwitchMode => self.switch(request, peer).await,
            Action::RestoreMode => {
                self.admin.services.restore();
                self.report_switch(peer);
                self.mode()
            }
            Action::Reload => self.reload(peer).await,
        }
    }

    async fn ready(&self) -> PageResponse {
        if self.admin.draining.is_cancelled() {
            return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
        }
        let failures = self.readiness.failures().await;
        if failures.is_empty() {
            text(StatusCode::OK, "ok\n")
        } else {
            text(StatusCode::SERVICE_UNAVAILABLE, failures.to_string())
        }
    }

    fn metrics(&self, request: &Request<Incoming>) -> PageResponse {
        let format = Format::accepted(request.headers().get(header::ACCEPT));
        let mut answer = text(StatusCode::OK, metrics::page(&self.admin, format));
        answer.headers_mut().insert(header::CONTENT_TYPE, format.content_type());
        answer
    }

    fn watch(&self, request: &Request<Incoming>) -> PageResponse {
        let site = request.headers().get("sec-fetch-site");
        if site.is_some_and(|site| site != "none" && site != "same-origin") {
            return text(StatusCode::FORBIDDEN, "a web page may not watch\n");
        }
        let query = request.uri().query().unwrap_or_default();
        let filter = match tap::Filter::parse(query, &self.admin.services) {
            Ok(filter) => filter,
            Err(problem) => return text(StatusCode::BAD_REQUEST, format!("{problem}\n")),
        };
        let Some(watcher) = self.admin.tap.watch() else {
            let problem = format!("{MAX_WATCHERS} watch already; try again when one has left\n");
            return text(StatusCode::SERVICE_UNAVAILABLE, problem);
        };
        let lines = tap::open(watcher, filter, self.admin.draining.clone());
        let mut answer = Response::new(Either::Right(lines));
        let lines_of_json = header::HeaderValue::from_static("application/x-ndjson");
        answer.headers_mut().insert(header::CONTENT_TYPE, lines_of_json);
        answer
    }

    fn config(&self) -> PageResponse {
        let Admin { settings, services, reloader, .. } = &self.admin;
        let modes = services.modes();
        text(
            StatusCode::OK,
            match reloader {
                Some(reloader) => pages::config(&reloader.in_force(settings), Some(&reloader.sources()), &modes),
                None => pages::config(settings, None, &modes),
            },
        )
    }

    async fn reload(&self, peer: &ClientName) -> PageResponse {
        let Some(reloader) = self.admin.reloader.clone() else {
            return text(StatusCode::CONFLICT, "nothing here reads settings again\n");
        };
        tracing::info!(target: LIFECYCLE, %peer, "asked to read the configuration again");
        match tokio::task::spawn_blocking(move || reloader.reload()).await {
            Ok(Ok(reloaded)) => {
                let status = if reloaded.is_usable() { StatusCode::OK } else { StatusCode::CONFLICT };
                text(status, format!("{}\n", printable_lines(&reloaded.to_string())))
            }
            Ok(Err(error)) => text(StatusCode::CONFLICT, format!("{}\n", printable_lines(&error.to_string()))),
            // It has panicked, and the log says where.
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the configuration could not be read again\n"),
        }
    }

    fn mode(&self) -> PageResponse {
        text(StatusCode::OK, format!("{}\n", self.admin.services.modes()))
    }

    /// The modes in force, and what the subscribers of this proxy will see because it does not remove contexts any more.
    fn mode_and_consequence(&self) -> PageResponse {
        let (modes, policy) = (self.admin.services.modes(), self.admin.services.in_force());
        let subscribed: usize = self.admin.endpoints.iter().map(|endpoint| endpoint.auto().subscribed()).sum();
        if subscribed == 0 || !policy.uses(Mode::Observe) {
            return self.mode();
        }
        let (connections, seen) =
            (if subscribed == 1 { "connection" } else { "connections" }, explain::added_bytes(&policy));
        text(
            StatusCode::OK,
            format!(
                "{modes}\nin mode observe no context is removed: {subscribed} {connections} subscribed through this proxy \
                 will see what other proxies add: {seen}\n"
            ),
        )
    }

    async fn switch(&self, request: Request<Incoming>, peer: &ClientName) -> PageResponse {
        let body = Limited::new(request.into_body(), MAX_BODY).collect();
        let body = match tokio::time::timeout(BODY_LIMIT, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let problem = "nothing was changed: the body is longer than 64 KiB; write the modes and nothing else\n";
                return text(StatusCode::PAYLOAD_TOO_LARGE, problem);
            }
            Ok(Err(error)) => {
                return text(
                    StatusCode::BAD_REQUEST,
                    format!("nothing was changed: the body cannot be read: {error}\n"),
                );
            }
            Err(_) => {
                let problem = "nothing was changed: the body did not arrive within 5 seconds\n";
                return text(StatusCode::REQUEST_TIMEOUT, problem);
            }
        };
        let Ok(words) = std::str::from_utf8(&body) else {
            return text(StatusCode::BAD_REQUEST, "nothing was changed: the body is not UTF-8\n");
        };
        match words.parse::<Modes>() {
            Ok(modes) => {
                self.admin.services.switch(modes);
                self.report_switch(peer);
                self.mode_and_consequence()
            }
            Err(problem) => text(StatusCode::BAD_REQUEST, format!("nothing was changed: {problem}\n")),
        }
    }

    fn report_switch(&self, peer: &ClientName) {
        let modes = self.admin.services.modes();
        tracing::info!(target: LIFECYCLE, %peer, %modes, "mode switched");
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> PageResponse {
    let mut answer = Response::new(Either::Left(Full::new(body.into())));
    *answer.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, plain);
    answer
}

fn unauthorized(why: &'static str) -> PageResponse {
    let mut answer = text(StatusCode::UNAUTHORIZED, why);
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    answer
}

fn busy() -> PageResponse {
    let mut answer =
        text(StatusCode::SERVICE_UNAVAILABLE, "as many answers as there are places for are being sent; try again\n");
    answer.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    answer
}

fn not_allowed(methods: &str) -> PageResponse {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, format!("this page takes {methods}\n"));
    // The names of methods are valid in a header.
    if let Ok(methods) = header::HeaderValue::from_str(methods) {
        answer.headers_mut().insert(header::ALLOW, methods);
    }
    answer
}

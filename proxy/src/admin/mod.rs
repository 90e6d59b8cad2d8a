//! The admin port: what runs, how it does, and the switch.
//!
//! `requests` lists what it answers.
//!
//! Whoever reaches this port may look. Switching, reloading and watching messages is for those who connect over loopback,
//! unless `--admin-control` says otherwise. A web page that a browser on this machine shows may do none of it: a change
//! that names an `Origin` is refused, and so is a tap for the sake of another site, which could not read it but would take
//! its place.

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
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use redistributed_core::policy::Mode;
use redistributed_core::trace::UnixNanos;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::endpoint::redis::RedisEndpoint;
use crate::explain;
use crate::logging::LIFECYCLE;
use crate::reload::Reloader;
use crate::service::Services;
use crate::settings::Settings;
use crate::settings::modes::Modes;
use crate::telemetry::SpanTotals;
use crate::telemetry::tap::{MAX_WATCHERS, Tap};
use exposition::Format;
use requests::{Access, Action, Found};
use slots::Slots;

/// The longest body of a request, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// How long a request's head may take to arrive, and a connection may be idle.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the admin port shows and controls.
#[derive(Debug)]
pub struct Admin {
    /// The settings as they were checked at the start.
    pub settings: Settings,
    /// All services, and the switch for their modes.
    pub services: Arc<Services>,
    /// The endpoints of all services.
    pub endpoints: Vec<Arc<RedisEndpoint>>,
    /// Reads the settings again, if the process can do that.
    pub reloader: Option<Arc<Reloader>>,
    /// The counts of spans.
    pub spans: SpanTotals,
    /// The tap, where messages can be watched.
    pub tap: Arc<Tap>,
    /// Cancelled when the process begins to stop.
    pub draining: CancellationToken,
    /// The time at which the process began, by the wall clock.
    pub began: UnixNanos,
}

type PageResponse = Response<Either<Full<Bytes>, tap::Lines>>;

impl Admin {
    /// Answers requests until `stop`.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let mut slots = Slots::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let permit = tokio::select! {
                        () = stop.cancelled() => return,
                        permit = slots.next() => permit,
                    };
                    let Some(permit) = permit else { return };
                    let (admin, stop, asked) = (Arc::clone(&self), stop.clone(), Arc::<AtomicBool>::default());
                    let has_asked = Arc::clone(&asked);
                    let task = tokio::spawn(async move {
                        tokio::select! {
                            () = stop.cancelled() => {}
                            () = admin.connection(stream, peer, &has_asked) => {}
                        }
                        drop(permit);
                    });
                    slots.taken(task.abort_handle(), asked);
                }
                // Out of file descriptors, most likely: the relay says so, and this must not become a busy loop.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, asked: &AtomicBool) {
        let answer = |request| {
            asked.store(true, Ordering::Relaxed);
            let admin = Arc::clone(&self);
            async move { Ok::<_, Infallible>(admin.answer(request, peer).await) }
        };
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            // One request each: a peer that asks and does not read the answers cannot keep its place.
            .keep_alive(false)
            .header_read_timeout(PATIENCE)
            .serve_connection(TokioIo::new(stream), service_fn(answer))
            .await;
        if let Err(error) = served {
            tracing::debug!(%peer, %error, "admin connection failed");
        }
    }

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> PageResponse {
        let found = requests::find(request.method(), request.uri().path());
        let needs_control = match &found {
            Found::Request(known) => known.access == Access::Control,
            Found::OtherMethods(_) | Found::NoSuchPath => access::is_change(request.method()),
        };
        let control = self.settings.admin_control;
        if let Some(why) = access::refusal(control, peer.ip(), request.method(), needs_control, request.headers()) {
            return text(StatusCode::FORBIDDEN, why);
        }
        let known = match found {
            Found::Request(known) => known,
            Found::OtherMethods(methods) => return not_allowed(&methods),
            Found::NoSuchPath => {
                let body = format!("there is no such page; these are:\n{}", requests::index());
                return text(StatusCode::NOT_FOUND, body);
            }
        };
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
                self.services.restore();
                self.report_switch(peer);
                self.mode()
            }
            Action::Reload => self.reload(peer).await,
        }
    }

    async fn ready(&self) -> PageResponse {
        let failures = ready::failures(&self.endpoints).await;
        if failures.is_empty() { text(StatusCode::OK, "ok\n") } else { text(StatusCode::SERVICE_UNAVAILABLE, failures) }
    }

    fn metrics(&self, request: &Request<Incoming>) -> PageResponse {
        let format = Format::accepted(request.headers().get(header::ACCEPT));
        let mut answer = text(StatusCode::OK, metrics::page(self, format));
        answer.headers_mut().insert(header::CONTENT_TYPE, format.content_type());
        answer
    }

    fn watch(&self, request: &Request<Incoming>) -> PageResponse {
        let site = request.headers().get("sec-fetch-site");
        if site.is_some_and(|site| site != "none" && site != "same-origin") {
            return text(StatusCode::FORBIDDEN, "a web page may not watch\n");
        }
        let query = request.uri().query().unwrap_or_default();
        let filter = match tap::Filter::parse(query, &self.services) {
            Ok(filter) => filter,
            Err(problem) => return text(StatusCode::BAD_REQUEST, format!("{problem}\n")),
        };
        let Some(watcher) = self.tap.watch() else {
            let problem = format!("{MAX_WATCHERS} watch already; try again when one has left\n");
            return text(StatusCode::SERVICE_UNAVAILABLE, problem);
        };
        let lines = tap::open(watcher, filter, self.draining.clone());
        let mut answer = Response::new(Either::Right(lines));
        let lines_of_json = header::HeaderValue::from_static("application/x-ndjson");
        answer.headers_mut().insert(header::CONTENT_TYPE, lines_of_json);
        answer
    }

    fn config(&self) -> PageResponse {
        let modes = self.services.modes();
        text(
            StatusCode::OK,
            match &self.reloader {
                Some(reloader) => pages::config(&reloader.in_force(&self.settings), Some(&reloader.sources()), &modes),
                None => pages::config(&self.settings, None, &modes),
            },
        )
    }

    async fn reload(&self, peer: SocketAddr) -> PageResponse {
        let Some(reloader) = self.reloader.clone() else {
            return text(StatusCode::CONFLICT, "nothing here reads settings again\n");
        };
        tracing::info!(target: LIFECYCLE, %peer, "asked to read the configuration again");
        match tokio::task::spawn_blocking(move || reloader.reload()).await {
            Ok(Ok(reloaded)) => {
                let status = if reloaded.is_usable() { StatusCode::OK } else { StatusCode::CONFLICT };
                text(status, format!("{reloaded}\n"))
            }
            Ok(Err(error)) => text(StatusCode::CONFLICT, format!("{error}\n")),
            // It has panicked, and the log says where.
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the configuration could not be read again\n"),
        }
    }

    fn mode(&self) -> PageResponse {
        text(StatusCode::OK, format!("{}\n", self.services.modes()))
    }

    /// The modes in force, and what the subscribers of this proxy will see because it does not remove contexts any more.
    fn mode_and_consequence(&self) -> PageResponse {
        let (modes, policy) = (self.services.modes(), self.services.in_force());
        let subscribed: usize = self.endpoints.iter().map(|endpoint| endpoint.auto().subscribed()).sum();
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

    async fn switch(&self, request: Request<Incoming>, peer: SocketAddr) -> PageResponse {
        let body = Limited::new(request.into_body(), MAX_BODY).collect();
        let body = match tokio::time::timeout(PATIENCE, body).await {
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
                let problem = "nothing was changed: the body did not arrive within 10 seconds\n";
                return text(StatusCode::REQUEST_TIMEOUT, problem);
            }
        };
        let Ok(words) = std::str::from_utf8(&body) else {
            return text(StatusCode::BAD_REQUEST, "nothing was changed: the body is not UTF-8\n");
        };
        match words.parse::<Modes>() {
            Ok(modes) => {
                self.services.switch(modes);
                self.report_switch(peer);
                self.mode_and_consequence()
            }
            Err(problem) => text(StatusCode::BAD_REQUEST, format!("nothing was changed: {problem}\n")),
        }
    }

    fn report_switch(&self, peer: SocketAddr) {
        let modes = self.services.modes();
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

fn not_allowed(methods: &str) -> PageResponse {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, format!("this page takes {methods}\n"));
    // The names of methods are valid in a header.
    if let Ok(methods) = header::HeaderValue::from_str(methods) {
        answer.headers_mut().insert(header::ALLOW, methods);
    }
    answer
}

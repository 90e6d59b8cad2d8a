//! The admin port: what runs, how it does, and the switch.
//!
//! | request | answer |
//! |---|---|
//! | `GET /healthz` | 200: the process runs |
//! | `GET /readyz` | 200 if every Redis answers `PING`, otherwise 503 and which does not |
//! | `GET /metrics` | what is counted and timed, for Prometheus |
//! | `GET /tap` | messages' envelopes as they pass, one JSON object a line, until the reader leaves |
//! | `GET /config` | the settings in force and where each came from, without secrets |
//! | `GET /mode` | the modes in force, as in `inject orders.*=strip` |
//! | `PUT /mode` | puts the modes in the body in force, for every open connection too |
//! | `DELETE /mode` | goes back to what the settings say |
//! | `POST /reload` | reads the configuration file, certificates and passwords again, as SIGHUP does |
//!
//! Whoever reaches this port may look. Switching, reloading and watching messages is for those who connect over loopback,
//! unless `--admin-control` says otherwise. A web page that a browser on this machine shows may do none of it: a change
//! that names an `Origin` is refused, and so is a tap for the sake of another site, which could not read it but would take
//! its place.

mod access;
mod exposition;
mod metrics;
mod pages;
mod places;
mod process;
mod ready;
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
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use redistributed_core::trace::UnixNanos;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::endpoint::redis::RedisEndpoint;
use crate::logging::LIFECYCLE;
use crate::reload::Reloader;
use crate::service::Services;
use crate::settings::Settings;
use crate::settings::modes::Modes;
use crate::telemetry::SpanTotals;
use crate::telemetry::tap::{MAX_LISTENERS, Tap};
use exposition::Format;
use places::Places;

/// Longest body of a request, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// How long a request's head may take to arrive, and a connection may be idle.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the pages tell of, and the switch works on.
#[derive(Debug)]
pub struct Admin {
    /// As they were checked at the start.
    pub settings: Settings,
    /// All services, and the switch for their modes.
    pub services: Arc<Services>,
    /// All endpoints.
    pub endpoints: Vec<Arc<RedisEndpoint>>,
    /// What reads the settings again, if something does.
    pub reloader: Option<Arc<Reloader>>,
    /// What became of the spans.
    pub spans: SpanTotals,
    /// Where messages can be watched.
    pub tap: Arc<Tap>,
    /// Cancelled when the process begins to stop.
    pub draining: CancellationToken,
    /// When it began, by the wall clock.
    pub began: UnixNanos,
}

type Answer = Response<Either<Full<Bytes>, tap::Lines>>;

impl Admin {
    /// Answers requests until `stop`.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let mut places = Places::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let permit = tokio::select! {
                        () = stop.cancelled() => return,
                        permit = places.next() => permit,
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
                    places.taken(task.abort_handle(), asked);
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

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Answer {
        let what = (request.method(), request.uri().path());
        if let Some(why) = access::refusal(self.settings.admin_control, peer.ip(), what, request.headers()) {
            return text(StatusCode::FORBIDDEN, why);
        }
        let get = matches!(*request.method(), Method::GET | Method::HEAD);
        match (request.uri().path(), request.method()) {
            ("/", _) if get => text(StatusCode::OK, pages::INDEX),
            ("/healthz", _) if get => text(StatusCode::OK, "ok\n"),
            ("/readyz", _) if get => self.ready().await,
            ("/metrics", _) if get => self.metrics(&request),
            ("/tap", &Method::GET) => self.watch(&request),
            ("/config", _) if get => self.config(),
            ("/mode", _) if get => self.mode(),
            ("/mode", &Method::PUT) => self.switch(request, peer).await,
            ("/mode", &Method::DELETE) => {
                self.services.restore();
                self.report_switch(peer);
                self.mode()
            }
            ("/mode", _) => not_allowed("GET, PUT, DELETE"),
            ("/reload", &Method::POST) => self.reload(peer).await,
            ("/reload", _) => not_allowed("POST"),
            ("/" | "/healthz" | "/readyz" | "/metrics" | "/config" | "/tap", _) => not_allowed("GET"),
            _ => text(StatusCode::NOT_FOUND, format!("there is no such page; these are:\n{}", pages::INDEX)),
        }
    }

    async fn ready(&self) -> Answer {
        let failures = ready::failures(&self.endpoints).await;
        if failures.is_empty() { text(StatusCode::OK, "ok\n") } else { text(StatusCode::SERVICE_UNAVAILABLE, failures) }
    }

    fn metrics(&self, request: &Request<Incoming>) -> Answer {
        let format = Format::accepted(request.headers().get(header::ACCEPT));
        let mut answer = text(StatusCode::OK, metrics::page(self, format));
        answer.headers_mut().insert(header::CONTENT_TYPE, format.content_type());
        answer
    }

    fn watch(&self, request: &Request<Incoming>) -> Answer {
        let site = request.headers().get("sec-fetch-site");
        if site.is_some_and(|site| site != "none" && site != "same-origin") {
            return text(StatusCode::FORBIDDEN, "a web page may not watch\n");
        }
        let query = request.uri().query().unwrap_or_default();
        let filter = match tap::Filter::parse(query, &self.services) {
            Ok(filter) => filter,
            Err(problem) => return text(StatusCode::BAD_REQUEST, format!("{problem}\n")),
        };
        let Some(listener) = self.tap.listen() else {
            let problem = format!("{MAX_LISTENERS} watch already; try again when one has left\n");
            return text(StatusCode::SERVICE_UNAVAILABLE, problem);
        };
        let lines = tap::open(listener, filter, self.draining.clone());
        let mut answer = Response::new(Either::Right(lines));
        let lines_of_json = header::HeaderValue::from_static("application/x-ndjson");
        answer.headers_mut().insert(header::CONTENT_TYPE, lines_of_json);
        answer
    }

    fn config(&self) -> Answer {
        let modes = self.services.modes();
        text(
            StatusCode::OK,
            match &self.reloader {
                Some(reloader) => pages::config(&reloader.in_force(&self.settings), Some(&reloader.sources()), &modes),
                None => pages::config(&self.settings, None, &modes),
            },
        )
    }

    async fn reload(&self, peer: SocketAddr) -> Answer {
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

    fn mode(&self) -> Answer {
        text(StatusCode::OK, format!("{}\n", self.services.modes()))
    }

    async fn switch(&self, request: Request<Incoming>, peer: SocketAddr) -> Answer {
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
                self.mode()
            }
            Err(problem) => text(StatusCode::BAD_REQUEST, format!("nothing was changed: {problem}\n")),
        }
    }

    fn report_switch(&self, peer: SocketAddr) {
        let modes = self.services.modes();
        tracing::info!(target: LIFECYCLE, %peer, %modes, "mode switched");
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(body.into())));
    *answer.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, plain);
    answer
}

fn not_allowed(methods: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, format!("this page takes {methods}\n"));
    answer.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(methods));
    answer
}

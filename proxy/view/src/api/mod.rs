//! What the page asks for, and the page itself.
//!
//! | module | what it knows |
//! |---|---|
//! | `answers` | answers as JSON |
//! | `events` | changes as they happen, by server-sent events |

mod answers;
mod events;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::access::Access;
use crate::body::{self, Answer, BodyError};
use crate::forms::open::{self, MAX_FILE};
use crate::forms::{jaeger_json, otlp_json};
use crate::ids::{self, TracePrefix};
use crate::page;
use crate::store::{Found, Query, Snapshot, Store};

const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// The number of transactions in an answer, unless it is asked for another one, and at most.
const LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

/// The number of messages without a context in an answer.
const UNTRACED: usize = 1_000;

/// The number of pages that may be told of changes at a time.
const LISTENERS: usize = 16;

/// Where spans come in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Receivers {
    /// The address that takes OTLP over HTTP, unless it is off.
    pub(crate) http: Option<SocketAddr>,
    /// The address that takes OTLP over gRPC, unless it is off.
    pub(crate) grpc: Option<SocketAddr>,
}

/// What the page's listener answers with.
#[derive(Debug)]
pub(crate) struct Api {
    store: Arc<Store>,
    access: Access,
    receivers: Receivers,
    /// A file that is opened takes memory of its own, so there is one at a time.
    opening: Semaphore,
    listeners: Arc<Semaphore>,
}

impl Api {
    /// Answers from `store` those whom `access` allows.
    pub(crate) fn new(store: Arc<Store>, access: Access, receivers: Receivers) -> Self {
        Self { store, access, receivers, opening: Semaphore::new(1), listeners: Arc::new(Semaphore::new(LISTENERS)) }
    }

    /// The answer to a request.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Answer {
        let mut answer = match self.access.refusal(request.method(), request.headers(), request.uri()) {
            Some(why) => error(StatusCode::FORBIDDEN, why),
            None => self.route(request).await,
        };
        for (name, value) in [
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
        ] {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        if let Ok(policy) = HeaderValue::from_str(&page::page().policy) {
            answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        answer
    }

    async fn route(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        if path == "/api/open" {
            return match *request.method() {
                Method::POST => self.open(request).await,
                _ => not_allowed("POST"),
            };
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return not_allowed("GET, HEAD");
        }
        match &*path {
            "/" => body::answer(StatusCode::OK, HTML, page::page().html.as_str()),
            "/healthz" => body::answer(StatusCode::OK, TEXT, "ok\n"),
            "/api/transactions" => self.transactions(&query).await,
            "/api/graph" => answered(answers::graph(&mut self.store.graph())),
            "/api/channels" => answered(answers::channels(&self.store.channels())),
            "/api/untraced" => answered(answers::untraced(&self.store.untraced(UNTRACED))),
            "/api/events" => self.events(&query, request.headers()),
            _ => match path.strip_prefix("/api/transactions/") {
                Some(rest) => self.transaction(rest),
                None => error(StatusCode::NOT_FOUND, "there is no such page; the viewer is at /"),
            },
        }
    }

    async fn transactions(&self, query: &str) -> Answer {
        let query = match read_query(query) {
            Ok(query) => query,
            Err(why) => return error(StatusCode::BAD_REQUEST, &why),
        };
        let mut found = Found::default();
        while !self.store.search(&query, &mut found) {
            tokio::task::yield_now().await;
        }
        answered(answers::found(&found, self.store.kept(), self.receivers))
    }

    /// The answer about one transaction: `rest` is its id, and the form in which it is to be saved.
    fn transaction(&self, rest: &str) -> Answer {
        let (id, form) = rest.split_once('/').unwrap_or((rest, ""));
        if !["", "jaeger.json", "otlp.json"].contains(&form) {
            return error(StatusCode::NOT_FOUND, "a transaction is saved as jaeger.json or as otlp.json");
        }
        let Some(trace) = ids::trace_id(id) else {
            return error(StatusCode::BAD_REQUEST, "a trace id has up to 32 hexadecimal digits");
        };
        let Some(snapshot) = self.store.transaction(trace) else {
            return error(
                StatusCode::NOT_FOUND,
                "this transaction is not kept: it has not come, or was forgotten for newer ones",
            );
        };
        match form {
            "jaeger.json" => saved(snapshot, form, jaeger_json::write),
            "otlp.json" => saved(snapshot, form, otlp_json::write),
            _ => body::pieces(JSON, answers::transaction(snapshot)),
        }
    }

    fn events(&self, query: &str, headers: &HeaderMap) -> Answer {
        let Ok(place) = Arc::clone(&self.listeners).try_acquire_owned() else {
            return error(StatusCode::SERVICE_UNAVAILABLE, "16 pages are told of changes already: close one of them");
        };
        let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
        let since = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "since");
        events::answer(
            Arc::clone(&self.store),
            self.receivers,
            last.or(since.and_then(|(_, value)| value.parse().ok())),
            place,
        )
    }

    async fn open(&self, request: Request<Incoming>) -> Answer {
        let Ok(_place) = self.opening.try_acquire() else {
            return error(StatusCode::SERVICE_UNAVAILABLE, "another file is being opened: try again when it is");
        };
        let text = match body::read(request.into_body(), MAX_FILE).await {
            Ok(text) => text,
            Err(BodyError::TooLong) => {
                return error(StatusCode::PAYLOAD_TOO_LARGE, "a file may have 64 MiB: save fewer traces in one file");
            }
            Err(why) => return error(StatusCode::BAD_REQUEST, &why.to_string()),
        };
        match self.store.open(&text) {
            Ok(traces) => answered(
                json!({"transactions": self.store.summaries(&traces).iter().map(answers::summary).collect::<Value>()}),
            ),
            Err(why) => error(StatusCode::BAD_REQUEST, &why),
        }
    }
}

impl Store {
    /// Keeps the spans of a file, and returns their traces.
    ///
    /// # Errors
    /// What is wrong with the file, where, and what to do.
    pub(crate) fn open(&self, text: &[u8]) -> Result<BTreeSet<redistributed_core::trace::TraceId>, String> {
        let (mut traces, mut refused, mut why) = (BTreeSet::new(), 0, None);
        open::read(text, &mut |batch| {
            traces.extend(batch.spans.iter().map(|(trace, _)| *trace));
            let (spans, reason) = self.insert(batch);
            refused += spans;
            why = why.or(reason);
        })?;
        match why {
            Some(why) if traces.is_empty() => {
                Err(format!("none of the {refused} spans in the file can be shown: {why}"))
            }
            None if traces.is_empty() => {
                Err("there is no span in the file: save it again, with a trace in it".to_owned())
            }
            _ => Ok(traces),
        }
    }
}

/// The question in the query of a URL.
fn read_query(query: &str) -> Result<Query, String> {
    let mut read = Query { limit: LIMIT, ..Query::default() };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let value = value.trim();
        if value.is_empty() {
            continue;
        }
        let wrong = |what: &str| format!("{name}={value} is not {what}");
        match &*name {
            "service" => read.service = Some(value.to_owned()),
            "channel" => read.channel = Some(value.to_owned()),
            "text" => read.text = Some(value.to_ascii_lowercase()),
            "trace" => read.trace = Some(TracePrefix::parse(value).ok_or_else(|| wrong("the begin of a trace id"))?),
            "min_us" => read.least = Some(nanoseconds(value).ok_or_else(|| wrong("a number of microseconds"))?),
            "max_us" => read.most = Some(nanoseconds(value).ok_or_else(|| wrong("a number of microseconds"))?),
            "errors" => read.has_errors = value == "1",
            "before" => read.before = Some(value.parse().map_err(|_| wrong("what an answer has named as `next`"))?),
            "limit" => {
                let limit: usize = value.parse().map_err(|_| wrong("a number"))?;
                read.limit = limit.clamp(1, MAX_LIMIT);
            }
            _ => {}
        }
    }
    Ok(read)
}

fn nanoseconds(microseconds: &str) -> Option<u64> {
    let number: f64 = microseconds.parse().ok()?;
    // A number that is too large becomes the largest.
    (number >= 0.0).then_some((number * 1_000.0) as u64)
}

fn saved<I>(snapshot: Snapshot, form: &str, write: impl FnOnce(Snapshot) -> I) -> Answer
where
    I: Iterator<Item = String> + Send + 'static,
{
    let name = format!("attachment; filename=\"trace-{}.{form}\"", ids::trace_text(snapshot.summary.trace));
    let mut answer = body::pieces(JSON, write(snapshot));
    if let Ok(name) = HeaderValue::from_str(&name) {
        answer.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    answer
}

fn answered(value: Value) -> Answer {
    body::answer(StatusCode::OK, JSON, value.to_string())
}

fn error(status: StatusCode, why: &str) -> Answer {
    body::answer(status, JSON, json!({"error": why}).to_string())
}

fn not_allowed(methods: &'static str) -> Answer {
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "this is not the method for it");
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_from_the_query() {
        let query =
            read_query("service=api&channel=a%2Ab&text=%20Boom+x&errors=1&min_us=1.5&limit=7&before=9&trace=&other=1");
        let query = query.unwrap();
        assert_eq!(query.service.as_deref(), Some("api"));
        assert_eq!(query.channel.as_deref(), Some("a*b"));
        assert_eq!(query.text.as_deref(), Some("boom x"));
        assert_eq!((query.has_errors, query.least, query.most), (true, Some(1_500), None));
        assert_eq!((query.limit, query.before, query.trace), (7, Some(9), None));
        for wrong in ["trace=xyz", "min_us=-1", "max_us=NaN", "before=a", "limit=-1"] {
            assert!(read_query(wrong).is_err(), "{wrong}");
        }
        assert_eq!(read_query("limit=100000").unwrap().limit, MAX_LIMIT);
        assert_eq!(read_query("limit=0").unwrap().limit, 1);
    }
}

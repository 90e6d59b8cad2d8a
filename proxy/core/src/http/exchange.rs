//! A request and its response: from their facts to a span.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::environment::Environment;
use super::policy::HttpPolicy;
use super::propagation::{Carried, outgoing, traceparent};
use crate::counts::Counter;
use crate::policy::{Mode, Policy};
use crate::rewrite::child_of;
use crate::trace::request::{self, Method, Request, Version};
use crate::trace::{Context, ErrorType, Operation, SpanContext, SpanRecord, UnixNanos};

/// The most bytes of a path, and of a query, that a span shows.
const MAX_PATH: usize = 1024;

/// The most bytes of a user agent that a span shows.
const MAX_USER_AGENT: usize = 512;

/// The longest host that a span names, in bytes. A longer one is left out.
const MAX_HOST: usize = 255;

/// The parts of a query whose values are credentials, as the semantic conventions for `url.query` list them.
const SECRET_PARAMETERS: [&str; 4] = ["AWSAccessKeyId", "Signature", "sig", "X-Goog-Signature"];

/// The head of a request, as far as a span is made of it.
#[derive(Clone, Debug)]
pub struct RequestHead<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version: Version,
    is_secure: bool,
    host: Option<&'a [u8]>,
    user_agent: Option<&'a [u8]>,
    carried: Carried<'a>,
}

impl<'a> RequestHead<'a> {
    /// The head of a request that came by TLS or not. `target` is the path and the query, or another form of a request target.
    pub fn new(method: &'a [u8], target: &'a [u8], version: Version, is_secure: bool) -> Self {
        Self { method, target, version, is_secure, host: None, user_agent: None, carried: Carried::default() }
    }

    /// Takes note of a header. Its name may be in any case. `:authority` of HTTP/2 counts as `host`.
    pub fn notice(&mut self, name: &[u8], value: &'a [u8]) {
        if name.eq_ignore_ascii_case(b"host") {
            self.host = Some(value);
        } else if name.eq_ignore_ascii_case(b"user-agent") {
            self.user_agent = Some(value);
        } else {
            self.carried.notice(name, value);
        }
    }
}

/// A request and its response, from the request's head until the response is complete.
#[derive(Debug)]
pub struct Exchange {
    span: Option<SpanContext>,
    parent: Option<Context>,
    start: UnixNanos,
    /// What the span tells of the request; `None` if it is neither recorded nor measured.
    request: Option<Box<Request>>,
    has_guessed_route: bool,
    /// How many bytes of the request's content have passed so far.
    pub request_size: u64,
    /// How many bytes of the response's content have passed so far.
    pub response_size: u64,
    status: Option<u16>,
}

impl Exchange {
    /// Begins the span of a request whose first byte came at `start`. The sampler decides here, once.
    pub fn begin(head: &RequestHead<'_>, start: UnixNanos, env: &mut Environment<'_>, settings: &HttpPolicy) -> Self {
        let mut exchange = Self {
            span: None,
            parent: None,
            start,
            request: None,
            has_guessed_route: false,
            request_size: 0,
            response_size: 0,
            status: None,
        };
        if !env.policy.enabled {
            return exchange;
        }
        exchange.parent = head.carried.context(env.policy.propagators);
        let (span, is_recorded) = child_of(exchange.parent.as_ref(), env.policy, env.ids);
        exchange.span = Some(span);
        if is_recorded || env.measured {
            let (request, has_guessed_route) = described(head, is_recorded, settings);
            exchange.request = Some(Box::new(request));
            exchange.has_guessed_route = has_guessed_route;
        }
        exchange
    }

    /// The span, recorded or not; `None` if no spans are made.
    pub fn span(&self) -> Option<SpanContext> {
        self.span
    }

    /// What the spans that the request causes descend from; `None` if no spans are made.
    pub fn context(&self) -> Option<Context> {
        let (trace_state, baggage) = match &self.parent {
            Some(parent) => (parent.trace_state.clone(), parent.baggage.clone()),
            None => (None, None),
        };
        self.span.map(|span| Context { span, trace_state, baggage, published: None })
    }

    /// The headers of the request that are replaced or added, in lower case; those without a value are removed. There are none in
    /// the modes that add nothing.
    pub fn request_headers(&self, policy: &Policy) -> Vec<(&'static str, Option<String>)> {
        match (self.span, policy.mode) {
            (Some(span), Mode::Auto | Mode::Inject) => outgoing(policy.propagators, span, self.parent.as_ref()),
            _ => Vec::new(),
        }
    }

    /// The headers that are added to the response, in the spelling of HTTP/1.
    pub fn response_headers(&self, settings: &HttpPolicy) -> Vec<(&'static str, String)> {
        let Some(span) = self.span else { return Vec::new() };
        let mut headers = Vec::new();
        if settings.answer.has_trace_response() {
            headers.push(("traceresponse", traceparent(span)));
        }
        if settings.answer.has_server_timing() {
            headers.push(("Server-Timing", alloc::format!("traceparent;desc=\"{}\"", traceparent(span))));
        }
        headers
    }

    /// Takes note of the response's status, which is not an interim one unless it is 101.
    pub fn answered(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// The finished span, which ends at `end`; `None` if it is neither recorded nor measured. `error` says why there is no complete response. Without
    /// one, a status of 500 or more is the error.
    pub fn finish(self, end: UnixNanos, error: Option<&'static str>) -> Option<SpanRecord> {
        let (context, mut request) = (self.span?, self.request?);
        request.status = self.status;
        request.request_size = self.request_size;
        request.response_size = self.response_size;
        // The service knows no such path, or not with this method: then it is the client's word, and no route.
        if self.has_guessed_route && matches!(self.status, Some(404 | 405)) {
            request.route = None;
        }
        let of_status = self.status.filter(|status| *status >= 500).map(ErrorType::from_status);
        Some(SpanRecord {
            parent: self.parent.as_ref().map(|parent| parent.span.span_id),
            trace_state: self.parent.and_then(|parent| parent.trace_state),
            end,
            error: error.map(ErrorType::named).or(of_status),
            ..SpanRecord::new(context, self.start, Operation::Request(request))
        })
    }
}

/// What a span tells of a request, and whether its route was guessed. Of a request that is only measured, what no metric tells is left
/// out.
fn described(head: &RequestHead<'_>, is_recorded: bool, settings: &HttpPolicy) -> (Request, bool) {
    let target = Target::read(head.target, head.method);
    let path = target.path.map(|path| shown(path, MAX_PATH));
    let route = path.as_deref().and_then(|path| settings.route(path));
    let method = Method::read(head.method);
    let mut request = Request {
        method,
        original_method: None,
        route: route.as_ref().map(|route| Arc::clone(&route.text)),
        is_secure: head.is_secure,
        path: None,
        query: None,
        host: None,
        port: None,
        user_agent: None,
        version: head.version,
        status: None,
        request_size: 0,
        response_size: 0,
    };
    if is_recorded {
        let (host, port) = target.authority.or(head.host).and_then(host_and_port).unzip();
        let query = target.query.filter(|_| settings.shows_query);
        request.original_method = (method == Method::Other).then(|| shown(head.method, request::MAX_METHOD));
        request.path = path;
        request.query = query.map(|query| shown(&without_secrets(query), MAX_PATH));
        (request.host, request.port) = (host, port.flatten());
        request.user_agent = head.user_agent.map(|text| shown(text, MAX_USER_AGENT));
    }
    (request, route.is_some_and(|route| route.is_guessed))
}

/// A request target in any of its forms (RFC 9112, section 3.2).
struct Target<'a> {
    authority: Option<&'a [u8]>,
    path: Option<&'a [u8]>,
    query: Option<&'a [u8]>,
}

impl<'a> Target<'a> {
    fn read(target: &'a [u8], method: &[u8]) -> Self {
        if method == b"CONNECT" {
            return Self { authority: Some(target), path: None, query: None };
        }
        let (authority, rest) = match memchr::memmem::find(target, b"://") {
            Some(at) if !target.starts_with(b"/") => {
                let after = target.get(at + 3..).unwrap_or_default();
                let len = memchr::memchr2(b'/', b'?', after).unwrap_or(after.len());
                (after.get(..len), after.get(len..).unwrap_or_default())
            }
            _ => (None, target),
        };
        let (path, query) = match memchr::memchr(b'?', rest) {
            Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at + 1..)),
            None => (rest, None),
        };
        Self { authority, path: Some(if path.is_empty() { b"/" } else { path }), query }
    }
}

/// The host and the port of an authority. A user's name and password in front of them are left out.
fn host_and_port(authority: &[u8]) -> Option<(Box<str>, Option<u16>)> {
    let begin = memchr::memrchr(b'@', authority).map_or(0, |at| at + 1);
    let text = core::str::from_utf8(authority.get(begin..)?).ok()?;
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        _ => (text, None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_host = !host.is_empty() && host.len() <= MAX_HOST && host.bytes().all(|byte| byte.is_ascii_graphic());
    is_host.then(|| (host.into(), port))
}

/// Cuts a text that a client has sent to `limit` bytes, and replaces what is not UTF-8.
fn shown(text: &[u8], limit: usize) -> Box<str> {
    String::from_utf8_lossy(text.get(..limit).unwrap_or(text)).into()
}

/// A query in which the values of some parameters are `REDACTED`.
fn without_secrets(query: &[u8]) -> Vec<u8> {
    let parts = query.split(|byte| *byte == b'&').map(|part| {
        let name = part.split(|byte| *byte == b'=').next().unwrap_or_default();
        match SECRET_PARAMETERS.iter().find(|secret| secret.as_bytes() == name) {
            Some(name) if part.len() > name.len() => [name.as_bytes(), b"=REDACTED"].concat(),
            _ => part.to_vec(),
        }
    });
    parts.collect::<Vec<_>>().join(&b'&')
}

/// The counter of final responses with this status; `None` if the status is of no class that is counted.
pub fn counter_of(status: u16) -> Option<Counter> {
    match status {
        200..=299 => Some(Counter::HttpResponses2xx),
        300..=399 => Some(Counter::HttpResponses3xx),
        400..=499 => Some(Counter::HttpResponses4xx),
        500..=599 => Some(Counter::HttpResponses5xx),
        _ => None,
    }
}

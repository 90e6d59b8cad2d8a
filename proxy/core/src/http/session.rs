//! One HTTP/1 connection: bytes in, bytes and events out.
//!
//! ```text
//! client bytes -> requests (context in) -> service
//!                    |  pending exchanges
//! client       <- responses             <- service bytes
//! ```
//!
//! A client has one connection to the service, and responses come in the order of requests, so the first exchange that is pending
//! is the one that a response answers. A direction that cannot be read for certain any more becomes *opaque*: its bytes pass, and no
//! more spans are made.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::body::{self, Body, End, Length};
use super::collect::{Edit, Head, Progress};
use super::environment::Environment;
use super::exchange::{Exchange, RequestHead, counter_of};
use super::head::{self, Fields};
use super::policy::HttpPolicy;
use super::propagation::is_context;
use super::witness::{RequestId, RequestSeen, SHOWN_BODY};
use crate::counts::Counter;
use crate::output::Output;
use crate::policy::Policy;
use crate::service::Event;
use crate::session::Side;
use crate::trace::request::Version;
use crate::trace::{ErrorType, UnixNanos};

/// The most requests of a connection that wait for their responses. A client that sends more at once gets no spans for them.
const MAX_PENDING: usize = 1024;

/// The state of one client connection and its connection to the service.
///
/// It holds at most one head of each direction, of [`HttpPolicy::head_limit`] bytes, and 1,024 exchanges of about 4 KiB.
#[derive(Debug)]
pub struct HttpSession {
    settings: Arc<HttpPolicy>,
    is_secure: bool,
    requests: Requests,
    responses: Responses,
    pending: VecDeque<Pending>,
    next_id: u64,
    /// The side that ended the connection first.
    left: Option<Side>,
    is_broken: bool,
}

#[derive(Debug)]
struct Requests {
    state: Reading,
    head: Head,
    /// When the first byte of the head came.
    began: UnixNanos,
    /// Whether what follows the request depends on its response, because the client asked to switch to another protocol.
    may_switch: bool,
}

#[derive(Debug)]
struct Responses {
    state: Reading,
    head: Head,
}

/// What comes next in a direction.
#[derive(Debug)]
enum Reading {
    Head,
    Body(Body),
    /// Another protocol if the response says so, otherwise a request. This is a state of requests only, and says whether bytes have
    /// passed meanwhile.
    Undecided(bool),
    /// Bytes that are passed on unread, to the end of the connection.
    Opaque,
}

/// An exchange whose response is not complete.
#[derive(Debug)]
struct Pending {
    id: RequestId,
    exchange: Exchange,
    is_head: bool,
    is_connect: bool,
    wants_upgrade: bool,
    /// How many bytes of the request's body and of the response's the witness has been shown.
    shown: [usize; 2],
}

impl HttpSession {
    /// A session for a new connection, which the client made by TLS or not.
    pub fn new(settings: Arc<HttpPolicy>, is_secure: bool) -> Self {
        let requests = Requests { state: Reading::Head, head: Head::default(), began: UnixNanos(0), may_switch: false };
        let responses = Responses { state: Reading::Head, head: Head::default() };
        let pending = VecDeque::new();
        Self { settings, is_secure, requests, responses, pending, next_id: 0, left: None, is_broken: false }
    }

    /// Takes all of `input`, which came from `from`. Adds the bytes to send to the other side, the events and the counts to
    /// `out`. Only how much waits depends on how the stream is cut into calls, and not what leaves in the end.
    pub fn receive(&mut self, from: Side, input: &[u8], env: &mut Environment<'_>, out: &mut Output) {
        let mut at = 0;
        while at < input.len() {
            match from {
                Side::Client => self.read_request(input, &mut at, env, out),
                Side::Server => self.read_response(input, &mut at, env, out),
            }
        }
    }

    /// Takes the end of the stream from `from`. Adds what is left of an incomplete head to `out`.
    pub fn end_of_stream(&mut self, from: Side, env: &mut Environment<'_>, out: &mut Output) {
        self.left.get_or_insert(from);
        match from {
            Side::Client => self.requests.head.pass(&[], out),
            Side::Server => {
                self.responses.head.pass(&[], out);
                if matches!(&self.responses.state, Reading::Body(body) if body.ends_with_connection())
                    && !self.is_broken
                {
                    self.finish(env, out);
                }
                self.responses.state = Reading::Opaque;
                self.abandon(Some(ErrorType::CONNECTION_CLOSED), env, out);
            }
        }
    }

    /// Takes note that the connection to `side` has failed.
    pub fn broken(&mut self, side: Side) {
        self.left.get_or_insert(side);
        self.is_broken = true;
    }

    /// Takes the end of the connection. Ends the spans of requests that have no complete response, with an error.
    pub fn close(&mut self, env: &mut Environment<'_>, out: &mut Output) {
        let error = match self.left {
            Some(Side::Client) => ErrorType::CLIENT_CLOSED,
            Some(Side::Server) | None => ErrorType::CONNECTION_CLOSED,
        };
        self.abandon(Some(error), env, out);
    }

    /// Whether the service may still have to answer something. If its bytes are not read any more, it always may.
    pub fn owes_reply(&self) -> bool {
        !self.pending.is_empty() || matches!(self.responses.state, Reading::Opaque)
    }

    /// Whether nothing has been asked that is not answered, and nothing is half said.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty()
            && matches!(self.requests.state, Reading::Head)
            && matches!(self.responses.state, Reading::Head)
            && self.requests.head.is_empty()
            && self.responses.head.is_empty()
    }

    fn read_request(&mut self, input: &[u8], at: &mut usize, env: &mut Environment<'_>, out: &mut Output) {
        let rest = input.get(*at..).unwrap_or_default();
        let Requests { state, head, began, .. } = &mut self.requests;
        match state {
            Reading::Head if head.is_empty() && matches!(rest.first(), Some(b'\r' | b'\n')) => {
                // Some clients end a body with an empty line that belongs to nothing (RFC 9112, section 2.2).
                out.forward(input, *at..*at + 1);
                *at += 1;
            }
            Reading::Head => {
                if head.is_empty() {
                    *began = env.now;
                }
                match head.take(input, at, self.settings.head_limit, may_be_replaced) {
                    Progress::NotYet => head.pass_lines(out),
                    Progress::TooLong => self.stop_reading_requests(out),
                    Progress::Complete => self.begin(env, out),
                }
            }
            Reading::Body(body) => {
                // The response may be complete before the request is.
                let last = RequestId(self.next_id.wrapping_sub(1));
                let mut pending = self.pending.back_mut().filter(|pending| pending.id == last);
                let (len, end) = body.advance(rest, |data| {
                    if let Some(pending) = &mut pending {
                        pending.exchange.request_size += size(data);
                        pending.show(Side::Client, data, false, env);
                    }
                });
                if let (Some(pending), End::Here) = (pending, end) {
                    pending.show(Side::Client, &[], true, env);
                }
                out.forward(input, *at..*at + len);
                *at += len;
                match end {
                    End::NotYet => {}
                    End::Here => self.requests.state = self.requests.after_request(),
                    End::Unclear => self.stop_reading_requests(out),
                }
            }
            Reading::Undecided(_) | Reading::Opaque => {
                if let Reading::Undecided(has_passed) = state {
                    *has_passed = true;
                }
                // What had come of a head when the service ended the reading.
                head.pass(&[], out);
                out.forward(input, *at..input.len());
                *at = input.len();
            }
        }
    }

    /// Begins the exchange of a request whose head is complete.
    fn begin(&mut self, env: &mut Environment<'_>, out: &mut Output) {
        let read = head::request(self.requests.head.bytes());
        let read = read.and_then(|(line, fields)| Some((line, fields, body::of_request(fields, line.is_http_11)?)));
        let Some((line, fields, length)) = read.filter(|_| self.pending.len() < MAX_PENDING) else {
            return self.stop_reading_requests(out);
        };
        out.counts.count(Counter::HttpRequests);
        let version = if line.is_http_11 { Version::Http11 } else { Version::Http10 };
        let mut head = RequestHead::new(line.method, line.target, version, self.is_secure);
        fields.iter().for_each(|field| head.notice(field.name, field.value));
        let exchange = Exchange::begin(&head, self.requests.began, env, &self.settings);
        let id = RequestId(self.next_id);
        self.next_id += 1;
        if let Some(witness) = &mut env.witness {
            let headers =
                |show: &mut dyn FnMut(&[u8], &[u8])| fields.iter().for_each(|field| show(field.name, field.value));
            let (method, target) = (line.method, line.target);
            let context = exchange.context();
            let seen = RequestSeen { id, context: context.as_ref(), method, target, headers: &headers };
            witness.request(env.now, seen);
        }
        let is_connect = line.method == b"CONNECT";
        let wants_upgrade = line.is_http_11 && fields.iter().any(|field| field.name.eq_ignore_ascii_case(b"upgrade"));
        let pending =
            Pending { id, exchange, is_head: line.method == b"HEAD", is_connect, wants_upgrade, shown: [0; 2] };
        let edits = request_edits(fields, &pending.exchange, env.policy);
        self.requests.head.pass(&edits, out);
        self.pending.push_back(pending);
        self.requests.may_switch = is_connect || wants_upgrade;
        let body = Body::new(if is_connect { Length::Exact(0) } else { length });
        self.requests.state = if body.is_over() { self.requests.after_request() } else { Reading::Body(body) };
    }

    fn stop_reading_requests(&mut self, out: &mut Output) {
        out.counts.count(Counter::OpaqueHttpRequest);
        self.requests.head.pass(&[], out);
        self.requests.state = Reading::Opaque;
    }

    fn read_response(&mut self, input: &[u8], at: &mut usize, env: &mut Environment<'_>, out: &mut Output) {
        let rest = input.get(*at..).unwrap_or_default();
        let Responses { state, head } = &mut self.responses;
        match state {
            Reading::Head if self.pending.is_empty() => {
                // It answers nothing that has been read, such as the words of a service that has waited for too long.
                *state = Reading::Opaque;
                self.requests.state = Reading::Opaque;
            }
            Reading::Head => match head.take(input, at, self.settings.head_limit, |_| false) {
                Progress::NotYet => head.pass_lines(out),
                Progress::TooLong => self.stop_reading_responses(env, out),
                Progress::Complete => self.answer(env, out),
            },
            Reading::Body(body) => {
                let mut pending = self.pending.front_mut();
                let (len, end) = body.advance(rest, |data| {
                    if let Some(pending) = &mut pending {
                        pending.exchange.response_size += size(data);
                        pending.show(Side::Server, data, false, env);
                    }
                });
                if let (Some(pending), End::Here) = (pending, end) {
                    pending.show(Side::Server, &[], true, env);
                }
                out.forward(input, *at..*at + len);
                *at += len;
                match end {
                    End::NotYet => {}
                    End::Here => {
                        self.responses.state = Reading::Head;
                        self.finish(env, out);
                    }
                    End::Unclear => self.stop_reading_responses(env, out),
                }
            }
            Reading::Undecided(_) | Reading::Opaque => {
                out.forward(input, *at..input.len());
                *at = input.len();
            }
        }
    }

    /// Takes a response whose head is complete.
    fn answer(&mut self, env: &mut Environment<'_>, out: &mut Output) {
        let (Some((line, fields)), Some(pending)) =
            (head::response(self.responses.head.bytes()), self.pending.front_mut())
        else {
            return self.stop_reading_responses(env, out);
        };
        let switches = match line.status {
            101 => pending.wants_upgrade,
            200..=299 => pending.is_connect,
            _ => false,
        };
        if line.status < 200 && !switches {
            if line.status == 101 {
                return self.stop_reading_responses(env, out);
            }
            return self.responses.head.pass(&[], out);
        }
        let length = if switches { Some(Length::Exact(0)) } else { body::of_response(line, fields, pending.is_head) };
        let Some(length) = length else { return self.stop_reading_responses(env, out) };
        pending.exchange.answered(line.status);
        if let Some(witness) = &mut env.witness {
            witness.response(env.now, pending.id, line.status);
        }
        if let Some(counter) = counter_of(line.status) {
            out.counts.count(counter);
        }
        let added: Vec<u8> = pending.exchange.response_headers(&self.settings).iter().flat_map(added_line).collect();
        let at = fields.end();
        self.responses.head.pass(&[Edit { range: at..at, with: added }], out);
        if switches {
            out.counts.count(Counter::HttpTunnels);
            self.finish(env, out);
            (self.requests.state, self.responses.state) = (Reading::Opaque, Reading::Opaque);
            return;
        }
        if pending.is_connect || pending.wants_upgrade {
            self.stay(out);
        }
        let body = Body::new(length);
        if body.is_over() {
            self.finish(env, out);
        } else {
            self.responses.state = Reading::Body(body);
        }
    }

    /// Takes note that the service has not switched to another protocol, as the last request had asked it.
    fn stay(&mut self, out: &mut Output) {
        self.requests.may_switch = false;
        match self.requests.state {
            Reading::Undecided(false) => self.requests.state = Reading::Head,
            // Requests have passed unread.
            Reading::Undecided(true) => self.stop_reading_requests(out),
            Reading::Head | Reading::Body(_) | Reading::Opaque => {}
        }
    }

    fn stop_reading_responses(&mut self, env: &mut Environment<'_>, out: &mut Output) {
        out.counts.count(Counter::OpaqueHttpResponse);
        self.responses.head.pass(&[], out);
        (self.requests.state, self.responses.state) = (Reading::Opaque, Reading::Opaque);
        self.abandon(None, env, out);
    }

    /// Ends the first exchange, whose response is complete once the output has been sent.
    fn finish(&mut self, env: &mut Environment<'_>, out: &mut Output) {
        let Some(pending) = self.pending.pop_front() else { return };
        pending.over(env);
        out.events.extend(pending.exchange.finish(env.now, None).map(Event::Delivered));
    }

    /// Ends all exchanges, of which no more is known.
    fn abandon(&mut self, error: Option<&'static str>, env: &mut Environment<'_>, out: &mut Output) {
        for pending in self.pending.drain(..) {
            pending.over(env);
            out.events.extend(pending.exchange.finish(env.now, error).map(Event::SpanEnded));
        }
    }
}

impl Requests {
    /// The state behind a request that is complete.
    fn after_request(&self) -> Reading {
        if self.may_switch { Reading::Undecided(false) } else { Reading::Head }
    }
}

impl Pending {
    /// Shows the witness bytes of the body that `from` sends, as many as it is shown, or that it has ended.
    fn show(&mut self, from: Side, data: &[u8], ended: bool, env: &mut Environment<'_>) {
        let Some(witness) = &mut env.witness else { return };
        let [of_request, of_response] = &mut self.shown;
        let shown = if from == Side::Client { of_request } else { of_response };
        let part = data.get(..data.len().min(SHOWN_BODY - *shown)).unwrap_or_default();
        if part.is_empty() && !ended {
            return;
        }
        *shown += part.len();
        match from {
            Side::Client => witness.request_body(self.id, part, ended),
            Side::Server => witness.response_body(env.now, self.id, part, ended),
        }
    }

    fn over(&self, env: &mut Environment<'_>) {
        if let Some(witness) = &mut env.witness {
            witness.over(env.now, self.id);
        }
    }
}

/// Whether a line of a head is a header that may be replaced.
fn may_be_replaced(line: &[u8]) -> bool {
    memchr::memchr(b':', line).is_some_and(|colon| is_context(line.get(..colon).unwrap_or_default()))
}

/// The changes by which a request passes its span on. A header keeps its place and its spelling.
fn request_edits(fields: Fields<'_>, exchange: &Exchange, policy: &Policy) -> Vec<Edit> {
    let (mut edits, mut added) = (Vec::new(), Vec::new());
    for (name, value) in exchange.request_headers(policy) {
        let mut value = value;
        for field in fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes())) {
            edits.push(match value.take() {
                Some(value) => Edit { range: field.value_range, with: value.into_bytes() },
                None => Edit { range: field.line, with: Vec::new() },
            });
        }
        if let Some(value) = value {
            added.extend(added_line(&(name, value)));
        }
    }
    edits.sort_by_key(|edit| edit.range.start);
    let at = fields.end();
    edits.push(Edit { range: at..at, with: added });
    edits
}

fn added_line((name, value): &(&str, alloc::string::String)) -> Vec<u8> {
    alloc::format!("{name}: {value}\r\n").into_bytes()
}

fn size(data: &[u8]) -> u64 {
    u64::try_from(data.len()).unwrap_or(u64::MAX)
}

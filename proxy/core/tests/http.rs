//! One HTTP/1 connection: every byte passes, and what is said of it in spans.

use std::sync::Arc;

use proptest::prelude::*;
use redistributed_core::http::{Answer, Environment, HttpPolicy, HttpSession, RequestId, RequestSeen, Witness};
use redistributed_core::policy::Mode;
use redistributed_core::service::Event;
use redistributed_core::trace::ids::CountingIds;
use redistributed_core::trace::{ErrorType, Operation, Request, SpanRecord, UnixNanos};
use redistributed_core::{Counter, Output, Policy, Side};

/// A connection whose bytes and spans are kept.
struct Connection {
    session: HttpSession,
    policy: Arc<Policy>,
    ids: CountingIds,
    now: u64,
    measured: bool,
    to_service: Vec<u8>,
    to_client: Vec<u8>,
    spans: Vec<SpanRecord>,
    counts: Vec<Counter>,
    witness: Log,
}

/// What a witness was told, a line each.
#[derive(Default)]
struct Log(Vec<String>);

impl Witness for Log {
    fn request(&mut self, _: UnixNanos, request: RequestSeen<'_>) {
        let mut names = Vec::new();
        (request.headers)(&mut |name, _| names.push(String::from_utf8_lossy(name).into_owned()));
        let (method, target) = (String::from_utf8_lossy(request.method), String::from_utf8_lossy(request.target));
        self.0.push(format!("{} {method} {target} {}", request.id.0, names.join(",")));
    }

    fn request_body(&mut self, id: RequestId, bytes: &[u8], ended: bool) {
        self.0.push(format!("{} > {}{}", id.0, bytes.len(), if ended { " end" } else { "" }));
    }

    fn response(&mut self, _: UnixNanos, id: RequestId, status: u16) {
        self.0.push(format!("{} {status}", id.0));
    }

    fn response_body(&mut self, _: UnixNanos, id: RequestId, bytes: &[u8], ended: bool) {
        self.0.push(format!("{} < {}{}", id.0, bytes.len(), if ended { " end" } else { "" }));
    }

    fn over(&mut self, _: UnixNanos, id: RequestId) {
        self.0.push(format!("{} over", id.0));
    }
}

impl Connection {
    fn new() -> Self {
        Self::with(Policy::default(), HttpPolicy::default())
    }

    fn with(policy: Policy, settings: HttpPolicy) -> Self {
        Self {
            session: HttpSession::new(Arc::new(settings), false),
            policy: Arc::new(policy),
            ids: CountingIds::default(),
            now: 0,
            measured: false,
            to_service: Vec::new(),
            to_client: Vec::new(),
            spans: Vec::new(),
            counts: Vec::new(),
            witness: Log::default(),
        }
    }

    /// A connection that adds nothing, so that every byte has to leave as it came.
    fn unchanged() -> Self {
        Self::with(Policy { mode: Mode::Observe, ..Policy::default() }, HttpPolicy::default())
    }

    fn call(&mut self, to: Side, input: &[u8], call: impl FnOnce(&mut HttpSession, &mut Environment<'_>, &mut Output)) {
        self.now += 1;
        let mut out = Output::default();
        // The witness is the test's own, and lives as long as the call.
        let mut witness = std::mem::take(&mut self.witness);
        let mut env = Environment {
            now: UnixNanos(self.now),
            policy: &self.policy,
            measured: self.measured,
            ids: &mut self.ids,
            witness: Some(&mut witness),
        };
        call(&mut self.session, &mut env, &mut out);
        self.witness = witness;
        let sent = if to == Side::Server { &mut self.to_service } else { &mut self.to_client };
        out.chunks(input).for_each(|piece| sent.extend_from_slice(piece));
        for event in out.events.drain(..) {
            let (Event::Delivered(span) | Event::SpanEnded(span)) = event else { panic!("{event:?}") };
            self.spans.push(span);
        }
        for counter in [Counter::OpaqueHttpRequest, Counter::OpaqueHttpResponse, Counter::HttpTunnels] {
            (0..out.counts.get(counter)).for_each(|_| self.counts.push(counter));
        }
    }

    fn client(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let bytes = bytes.as_ref();
        self.call(Side::Server, bytes, |session, env, out| session.receive(Side::Client, bytes, env, out));
        self
    }

    fn service(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let bytes = bytes.as_ref();
        self.call(Side::Client, bytes, |session, env, out| session.receive(Side::Server, bytes, env, out));
        self
    }

    fn ends(&mut self, side: Side) -> &mut Self {
        let to = if side == Side::Client { Side::Server } else { Side::Client };
        self.call(to, b"", |session, env, out| session.end_of_stream(side, env, out));
        self
    }

    fn close(&mut self) -> &mut Self {
        self.call(Side::Client, b"", |session, env, out| session.close(env, out));
        self
    }

    fn request(&self, index: usize) -> &Request {
        let Operation::Request(request) = &self.spans[index].operation else { panic!("{:?}", self.spans[index]) };
        request
    }

    /// The method, the status and the error of each span.
    fn told(&self) -> Vec<String> {
        let line = |index: usize| {
            let (span, request) = (&self.spans[index], self.request(index));
            let status = request.status.map(|status| format!(" {status}")).unwrap_or_default();
            let error = span.error.as_ref().map(|error| format!(" {error}")).unwrap_or_default();
            format!("{}{status}{error}", request.method.as_str())
        };
        (0..self.spans.len()).map(line).collect()
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[test]
fn a_request_passes_its_span_on_and_all_else_as_it_came() {
    let mut connection = Connection::new();
    connection.client(
        "POST /reports/7?secret=1 HTTP/1.1\r\nHOST: api:8080\r\nuser-Agent:  curl \r\nContent-Length: 3\r\n\r\nabc",
    );
    connection.service("HTTP/1.1 201 Made\r\nX: y\r\nContent-length: 5\r\n\r\nhe").service("llo");
    let span = connection.spans[0].clone();
    let traceparent = String::from_utf8(span.context.to_traceparent().to_vec()).unwrap();
    let expected = format!(
        "POST /reports/7?secret=1 HTTP/1.1\r\nHOST: api:8080\r\nuser-Agent:  curl \r\nContent-Length: 3\r\n\
         traceparent: {traceparent}\r\n\r\nabc"
    );
    assert_eq!(text(&connection.to_service), text(expected.as_bytes()));
    assert_eq!(text(&connection.to_client), text(b"HTTP/1.1 201 Made\r\nX: y\r\nContent-length: 5\r\n\r\nhello"));
    let request = connection.request(0);
    assert_eq!(
        (request.route.as_deref(), request.path.as_deref(), request.query.as_deref()),
        (Some("/reports/{id}"), Some("/reports/7"), None)
    );
    assert_eq!(
        (request.host.as_deref(), request.port, request.user_agent.as_deref()),
        (Some("api"), Some(8080), Some("curl"))
    );
    assert_eq!((request.status, request.request_size, request.response_size), (Some(201), 3, 5));
    assert_eq!((span.start, span.end, span.parent, span.error), (UnixNanos(1), UnixNanos(3), None, None));
    assert!(connection.session.is_idle() && !connection.session.owes_reply());
}

#[test]
fn the_context_of_the_client_is_the_parent_and_is_replaced_where_it_stands() {
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut connection = Connection::new();
    connection.client(format!(
        "GET / HTTP/1.1\r\nTraceParent:\t{PARENT}\r\ntracestate: a=1\r\nHost: x\r\nbaggage: k=v\r\n\r\n"
    ));
    connection.service(OK);
    let span = &connection.spans[0];
    let ours = String::from_utf8(span.context.to_traceparent().to_vec()).unwrap();
    assert_eq!(span.parent.unwrap().to_string(), "00f067aa0ba902b7");
    assert_eq!((&ours[3..35], span.trace_state.as_deref()), (&PARENT[3..35], Some("a=1")));
    assert_eq!(
        text(&connection.to_service),
        text(
            format!("GET / HTTP/1.1\r\nTraceParent:\t{ours}\r\ntracestate: a=1\r\nHost: x\r\nbaggage: k=v\r\n\r\n")
                .as_bytes()
        )
    );
}

#[test]
fn a_context_that_cannot_be_read_is_replaced_by_a_new_trace() {
    let mut connection = Connection::new();
    connection
        .client("GET / HTTP/1.1\r\ntraceparent: 00-bad\r\na: b\r\ntraceparent: 00-bad\r\ntracestate: a=1\r\n\r\n")
        .service(OK);
    let ours = String::from_utf8(connection.spans[0].context.to_traceparent().to_vec()).unwrap();
    assert_eq!(
        text(&connection.to_service),
        text(format!("GET / HTTP/1.1\r\ntraceparent: {ours}\r\na: b\r\n\r\n").as_bytes())
    );
}

#[test]
fn a_request_that_is_only_measured_has_a_record_of_what_metrics_tell() {
    let mut connection = Connection { measured: true, ..Connection::new() };
    connection
        .client(
            "GET /orders/7?a=b HTTP/1.1\r\nHost: api:8080\r\nUser-Agent: curl\r\n\
             traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00\r\n\r\n",
        )
        .service("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
    let [span] = &connection.spans[..] else { panic!("{:?}", connection.spans) };
    assert!(!span.is_exported() && span.end > span.start, "{span:?}");
    assert_eq!(span.error.as_ref().map(ErrorType::as_str), Some("503"));
    let Operation::Request(request) = &span.operation else { panic!("{span:?}") };
    assert_eq!((request.status, request.route.as_deref()), (Some(503), Some("/orders/{id}")));
    let texts = [&request.path, &request.query, &request.host, &request.user_agent];
    assert_eq!((texts, request.port), ([&None; 4], None));
}

#[test]
fn a_span_that_is_not_recorded_is_passed_on_as_such_and_a_mode_that_adds_nothing_adds_nothing() {
    let mut connection = Connection::new();
    connection
        .client("GET / HTTP/1.1\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00\r\n\r\n")
        .service(OK);
    assert!(connection.spans.is_empty());
    assert!(
        text(&connection.to_service).contains("-00\\r\\n")
            && !text(&connection.to_service).contains("00f067aa0ba902b7")
    );
    for policy in [
        Policy { mode: Mode::Observe, ..Policy::default() },
        Policy { mode: Mode::Strip, ..Policy::default() },
        Policy { enabled: false, ..Policy::default() },
    ] {
        let has_spans = policy.enabled;
        let mut connection = Connection::with(policy, HttpPolicy::default());
        connection.client("GET / HTTP/1.1\r\n\r\n").service(OK);
        assert_eq!(text(&connection.to_service), text(b"GET / HTTP/1.1\r\n\r\n"));
        assert_eq!(connection.spans.len(), usize::from(has_spans));
    }
}

#[test]
fn the_client_is_told_of_the_span_only_if_that_is_asked() {
    for (answer, headers) in [
        (Answer::TraceResponse, "traceresponse: {}\r\n"),
        (Answer::ServerTiming, "Server-Timing: traceparent;desc=\"{}\"\r\n"),
        (Answer::Both, "traceresponse: {}\r\nServer-Timing: traceparent;desc=\"{}\"\r\n"),
    ] {
        let mut connection = Connection::with(Policy::default(), HttpPolicy { answer, ..HttpPolicy::default() });
        connection.client("GET / HTTP/1.1\r\n\r\n").service("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n").service(OK);
        let ours = String::from_utf8(connection.spans[0].context.to_traceparent().to_vec()).unwrap();
        let headers = headers.replace("{}", &ours);
        let expected = format!(
            "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n{headers}\r\nok"
        );
        assert_eq!(text(&connection.to_client), text(expected.as_bytes()));
    }
}

#[test]
fn responses_are_paired_in_order_and_by_the_method() {
    let mut connection = Connection::unchanged();
    connection.client("HEAD /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n\r\nPUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nDELETE /d HTTP/1.0\r\n\r\n");
    connection
        .service("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n");
    connection.service("HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\nX: t\r\n\r\nHTTP/1.0 404 None\r\n\r\nuntil the end");
    assert_eq!(connection.told(), ["HEAD 200", "GET 304", "PUT 500 500"]);
    connection.ends(Side::Server);
    assert_eq!(connection.told()[3..], ["DELETE 404"]);
    assert_eq!((connection.request(2).request_size, connection.request(2).response_size), (3, 2));
    assert_eq!((connection.request(3).response_size, connection.request(3).route.as_deref()), (13, None));
}

#[test]
fn what_is_not_complete_is_an_error() {
    let get = "GET / HTTP/1.1\r\n\r\n";
    let mut service_ends = Connection::unchanged();
    service_ends.client(get).service("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab").ends(Side::Server);
    assert_eq!(service_ends.told(), ["GET 200 connection_closed"]);
    let mut client_ends = Connection::unchanged();
    client_ends.client(get).ends(Side::Client);
    assert!(client_ends.spans.is_empty() && client_ends.session.owes_reply(), "the client may wait with its side shut");
    assert_eq!(client_ends.close().told(), ["GET client_closed"]);
    let mut reset = Connection::unchanged();
    reset.client(get).service("HTTP/1.1 200 OK\r\n\r\nab");
    reset.session.broken(Side::Server);
    assert_eq!(reset.ends(Side::Server).told(), ["GET 200 connection_closed"]);
}

#[test]
fn a_connection_that_switches_is_a_tunnel_and_one_that_does_not_goes_on() {
    let upgrade = "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let mut switches = Connection::unchanged();
    switches.client(upgrade).service("HTTP/1.1 101 Switching\r\n\r\n\x01\x02hi").client("GET / HTTP/1.1\r\n\r\n");
    assert_eq!((switches.told(), &switches.counts[..]), (vec!["GET 101".into()], &[Counter::HttpTunnels][..]));
    let mut early = Connection::unchanged();
    early.client("CONNECT h:1 HTTP/1.1\r\n\r\n\x16\x03").service("HTTP/1.1 200 OK\r\n\r\n").client("\x01");
    assert_eq!((early.told(), early.counts.len()), (vec!["CONNECT 200".into()], 1));
    let mut stays = Connection::unchanged();
    stays.client(upgrade).service(OK).client("GET / HTTP/1.1\r\n\r\n").service(OK);
    assert_eq!((stays.told(), stays.counts.len()), (vec!["GET 200".to_owned(), "GET 200".to_owned()], 0));
    let mut ahead = Connection::unchanged();
    ahead.client(upgrade).client("GET / HTTP/1.1\r\n\r\n").service(OK).service(OK);
    assert_eq!((ahead.told(), &ahead.counts[..]), (vec!["GET 200".into()], &[Counter::OpaqueHttpRequest][..]));
}

#[test]
fn what_cannot_be_read_passes_unread() {
    let good = "GET / HTTP/1.1\r\n\r\n";
    for bad in [
        "GET / HTTP/1.1\nHost: x\n\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "\x16\x03\x01 anything\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut connection = Connection::new();
        connection.client(bad).client(good).ends(Side::Client);
        assert_eq!(text(&connection.to_service), text(format!("{bad}{good}").as_bytes()));
        assert_eq!((connection.counts.len(), connection.spans.len()), (1, 0), "{bad}");
    }
    let long = format!("GET / HTTP/1.1\r\ntraceparent: x\r\na: {}\r\n\r\n", "b".repeat(200));
    let mut connection = Connection::with(Policy::default(), HttpPolicy { head_limit: 100, ..HttpPolicy::default() });
    connection.client(&long);
    assert_eq!(text(&connection.to_service), text(long.as_bytes()));
    let mut response = Connection::unchanged();
    response.client(good).client(good).service("HTTP/1.1 200 OK\nhm\n\n").client(good);
    assert_eq!(response.told(), ["GET", "GET"], "no status, and no error of anybody");
    assert_eq!(response.counts, [Counter::OpaqueHttpResponse]);
}

#[test]
fn a_service_that_speaks_unasked_is_passed_on_and_keeps_nothing_back() {
    let mut connection = Connection::new();
    connection.client("GET / HTTP/1.1\r\nHost").service("HTTP/1.1 408 Late\r\n\r\n").client(": x\r\n\r\n");
    assert_eq!(text(&connection.to_service), text(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_eq!((connection.told().len(), connection.counts.len()), (0, 0));
}

#[test]
fn a_slow_head_reaches_the_service_line_by_line() {
    let mut connection = Connection::new();
    connection.client("GET / HTTP/1.1\r\nHost: x\r\nAcc");
    assert_eq!(text(&connection.to_service), text(b"GET / HTTP/1.1\r\nHost: x\r\n"));
    connection.client("ept: y\r\ntraceparent: z\r\nB: c\r\n");
    assert_eq!(text(&connection.to_service), text(b"GET / HTTP/1.1\r\nHost: x\r\nAccept: y\r\n"));
    connection.ends(Side::Client);
    assert!(connection.to_service.ends_with(b"Accept: y\r\ntraceparent: z\r\nB: c\r\n"));
}

#[test]
fn more_requests_than_can_be_kept_pass_unread() {
    let mut connection = Connection::unchanged();
    let many = "GET / HTTP/1.1\r\n\r\n".repeat(1_500);
    connection.client(&many);
    assert_eq!((connection.to_service.len(), &connection.counts[..]), (many.len(), &[Counter::OpaqueHttpRequest][..]));
    connection.service(OK.repeat(1_500));
    assert_eq!((connection.spans.len(), connection.to_client.len()), (1_024, 1_500 * OK.len()));
}

#[test]
fn the_witness_is_told_of_heads_and_of_the_beginning_of_bodies() {
    let mut connection = Connection::unchanged();
    connection.client("POST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n").client("x".repeat(8_000));
    connection.client("x".repeat(1_000)).service("HTTP/1.1 100 Continue\r\n\r\n").service(OK);
    let expected = [
        "0 POST /a?b Host,Content-Length",
        "0 > 8000",
        "0 > 192",
        "0 > 0 end",
        "0 200",
        "0 < 2",
        "0 < 0 end",
        "0 over",
    ];
    assert_eq!(connection.witness.0, expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// However a conversation is cut, and whatever is in it, every byte passes in a mode that adds nothing; and in a mode that adds
    /// something, both spans and bytes are the same for every way of cutting.
    #[test]
    fn every_byte_passes_however_it_is_cut(
        parts in prop::collection::vec(prop::sample::select(vec![
            "GET / HTTP/1.1\r\n", "POST /a HTTP/1.1\r\n", "HEAD / HTTP/1.0\r\n", "Host: x\r\n", "\r\n", "Content-Length: 3\r\n\r\nabc",
            "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", "traceparent: 00-1\r\n", "B3: 0\r\n", "Upgrade: x\r\n", "\n", ":", "\0",
            "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 C\r\n\r\n", "HTTP/1.1 101 S\r\n",
        ]), 0..12),
        from_service in prop::collection::vec(prop::sample::select(vec![
            "HTTP/1.1 200 OK\r\n", "HTTP/1.1 304 N\r\n", "HTTP/1.1 100 C\r\n\r\n", "HTTP/1.1 101 S\r\n", "\r\n", "Content-Length: 3\r\n\r\nabc",
            "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", "x", "\n",
        ]), 0..12),
        size in 1_usize..40,
    ) {
        let (asked, answered) = (parts.concat(), from_service.concat());
        let mut unchanged = Connection::unchanged();
        asked.as_bytes().chunks(size).for_each(|piece| { unchanged.client(piece); });
        answered.as_bytes().chunks(size).for_each(|piece| { unchanged.service(piece); });
        unchanged.ends(Side::Client).ends(Side::Server).close();
        prop_assert_eq!(text(&unchanged.to_service), text(asked.as_bytes()));
        prop_assert_eq!(text(&unchanged.to_client), text(answered.as_bytes()));

        let run = |size: usize| {
            let mut connection = Connection::new();
            asked.as_bytes().chunks(size).for_each(|piece| { connection.client(piece); });
            answered.as_bytes().chunks(size).for_each(|piece| { connection.service(piece); });
            connection.ends(Side::Client).ends(Side::Server).close();
            (text(&connection.to_service), text(&connection.to_client), connection.told())
        };
        prop_assert_eq!(run(size), run(usize::MAX));
    }
}

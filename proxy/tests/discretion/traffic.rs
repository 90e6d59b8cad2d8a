//! Secrets in what services send and receive.

use otlp_receiver::Receiver;
use rustix::process::Signal;

use crate::discretion::canary::{Canaries, position};
use crate::discretion::recorder::Recorder;
use crate::support::admin::{Proxy, Watch};
use crate::support::listener::{TestListener, Transport, handshake, words as borrowed};
use crate::support::redis::RealRedis;
use crate::support::wire::{Value, Wire, request};

/// The length in bytes above which a payload is not rewritten.
const INJECT_LIMIT: usize = 4096;

/// A channel. Its name is shown by design.
pub(crate) const CHANNEL: &str = "shownbydesign";

/// A proxy with every kind of output switched on, and the recorders of that output.
pub(crate) struct Observed {
    pub(crate) proxy: Proxy,
    collector: Receiver,
    recorder: Recorder,
    tap: Watch,
    pub(crate) canaries: Canaries,
    pub(crate) listener: TestListener,
}

type Words = Vec<Vec<u8>>;

fn words(text: &str) -> Words {
    text.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

fn encode(command: &Words) -> Vec<u8> {
    request(&command.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

impl Observed {
    async fn start(upstream: &str, protocol: &str, log_format: &str, more: &[&str]) -> Self {
        Self::behind(TestListener::new(Transport::Tcp), upstream, protocol, log_format, more).await
    }

    /// Starts a proxy whose clients connect to `listener`. With TLS, they need certificates of its authority.
    pub(crate) async fn behind(
        listener: TestListener,
        upstream: &str,
        protocol: &str,
        log_format: &str,
        more: &[&str],
    ) -> Self {
        let collector = Receiver::start().await.unwrap();
        let target = if protocol == "grpc" { collector.grpc_addr() } else { collector.http_addr() };
        let recorder = Recorder::before(target).await;
        let limit = INJECT_LIMIT.to_string();
        let arguments = [
            "--commands",
            "all",
            "--key-template",
            "*",
            "--follow",
            "parent",
            "--link-writers",
            "--log-level",
            "trace",
            "--log-format",
            log_format,
            "--inject-limit",
            &limit,
        ];
        let arguments =
            [&arguments, more, &["--read-json", "*", "--carrier", "json.*=json", "--transit-time"]].concat();
        let environment = [
            ("OTEL_TRACES_EXPORTER", "otlp,console"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", recorder.address)),
            ("OTEL_PROPAGATORS", "tracecontext,b3,jaeger"),
        ];
        let authorities = listener.authority.file();
        let asks = if listener.transport == Transport::Tls { vec!["--listen-client-ca", &authorities] } else { vec![] };
        let arguments = listener.arguments(upstream, &[asks, arguments].concat());
        let proxy = Proxy::with_routes(1, &borrowed(&arguments), &environment);
        let tap = proxy.watch("").await;
        Self { proxy, collector, recorder, tap, canaries: Canaries::new(), listener }
    }

    pub(crate) async fn connect(&self) -> Wire {
        match self.listener.transport {
            Transport::Tcp => Wire::to(self.proxy.address()).await,
            Transport::Tls => {
                let config = self.listener.client(Some(self.listener.authority.issue("orders")));
                Wire::over(handshake(self.proxy.address(), config).await.unwrap())
            }
            Transport::Unix => Wire::over(self.listener.connect(&[]).await),
        }
    }

    /// Connects until the proxy accepts the connection, because earlier ones may have to end first.
    async fn served(&self) -> Wire {
        let deadline = tokio::time::Instant::now() + crate::support::DEADLINE;
        loop {
            let mut client = self.connect().await;
            client.try_send(&request(&[b"PING"])).await;
            let (answer, _) = client.until(b"\r\n").await;
            if answer.starts_with(b"-NOAUTH") {
                return client;
            }
            assert!(tokio::time::Instant::now() < deadline, "no place became free");
        }
    }

    /// Publishes until a context is added. In mode `auto`, the receivers have to be proven first.
    async fn until_a_context_is_added(&self) {
        let deadline = tokio::time::Instant::now() + crate::support::DEADLINE;
        let mut publisher = self.connect().await;
        loop {
            publisher.publish(CHANNEL, b"x").await;
            let (_, page) = self.proxy.get("/metrics").await;
            let mut counts = page.lines().filter(|line| line.starts_with("redistributed_injected_total{"));
            if counts.any(|line| !line.ends_with(" 0")) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "no context was added");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Commands that carry secrets, each with canaries of its own.
    fn commands(&mut self, form: &str) -> Vec<Words> {
        let mut put = |command: &str, text: &str| {
            let command = command.replace("CANARY", "name");
            let parts = text.split("CANARY").map(str::to_owned).collect::<Vec<_>>();
            let mut text = parts[0].clone();
            for part in &parts[1..] {
                text += &self.canaries.put(&format!("{form} {command}"));
                text += part;
            }
            text
        };
        let mut commands: Vec<Words> = [
            "AUTH CANARY",
            "AUTH CANARY CANARY",
            "HELLO 3 AUTH CANARY CANARY",
            "HELLO 2 AUTH CANARY CANARY SETNAME me",
            "ACL SETUSER CANARY on >CANARY ~CANARY* &CANARY +@all",
            "ACL SETUSER someone on >CANARY resetkeys ~CANARY",
            "ACL GETUSER CANARY",
            "CONFIG SET masterauth CANARY",
            "CONFIG SET masteruser CANARY",
            "CONFIG SET requirepass CANARY",
            "CONFIG SET requirepass CANARY masterauth CANARY",
            "MIGRATE 127.0.0.1 1 CANARY 0 1 AUTH CANARY",
            "MIGRATE 127.0.0.1 1 CANARY 0 1 COPY AUTH2 CANARY CANARY KEYS CANARY",
            "CLIENT SETNAME me",
            "CLIENT SETINFO LIB-NAME CANARY",
            "CLIENT KILL ID CANARY",
            "SET CANARY CANARY",
            "GET CANARY CANARY CANARY",
            "MSET CANARY CANARY CANARY CANARY",
            "LPUSH CANARY CANARY",
            "HSET CANARY CANARY CANARY",
            "XADD CANARY * CANARY CANARY",
            "ECHO CANARY",
            "PING CANARY",
            "EVAL return(redis.error_reply('CANARY')) 0 CANARY",
            "EVAL return(redis.call('SET',KEYS[1],'CANARY')) 1 CANARY CANARY",
            "EVAL return(redis.call(ARGV[1])) 0 CANARY",
            "EVAL CANARY 0",
            "EVALSHA CANARY 0 CANARY",
            "SCRIPT LOAD return'CANARY'",
            "FCALL CANARY 0 CANARY",
            "FUNCTION LOAD CANARY",
            "CANARY CANARY",
            "SELECT CANARY",
            "SUBSCRIBECANARY CANARY",
            "REPLICAOF CANARY CANARYx",
            "DEBUG CANARY",
            "OBJECT CANARY CANARY",
        ]
        .iter()
        .map(|text| words(&put(text.split(' ').next().unwrap(), text)))
        .collect();
        // What queues and streams hand over. The names of a group and of a consumer are shown, and the id of an entry.
        let queue = put("queue", "CANARY");
        for text in [
            "RPUSH QUEUE CANARY CANARY CANARY CANARY",
            "BLPOP QUEUE 1",
            "LPOP QUEUE",
            "BLMOVE QUEUE CANARY LEFT RIGHT 1",
            "LMPOP 2 CANARY QUEUE LEFT COUNT 5",
            "ZADD QUEUE 1 CANARY",
            "BZPOPMIN QUEUE 1",
            "XGROUP CREATE QUEUE workers $ MKSTREAM",
            "XADD QUEUE * CANARY CANARY",
            "XREADGROUP GROUP workers me BLOCK 1 STREAMS QUEUE >",
            "XAUTOCLAIM QUEUE workers other 0 0 COUNT 1",
            "XCLAIM QUEUE workers CANARY 0 CANARY",
            "XACK QUEUE workers CANARY",
            "XACK QUEUE CANARY 1-1",
            "XREAD BLOCK 1 STREAMS QUEUE 0",
            "DEL QUEUE",
        ] {
            commands.push(words(&put(text.split(' ').next().unwrap(), text).replace("QUEUE", &queue)));
        }
        for command in ["PUBLISH", "SPUBLISH", "publish"] {
            commands.push(words(&put(command, &format!("{command} {CHANNEL} CANARY"))));
            commands.push(words(&put(command, &format!("{command} {CHANNEL} CANARY CANARY"))));
            let json =
                put(command, r#"{"secret":"CANARY","traceparent":"CANARY","b3":"CANARY","tracestate":"CANARY"}"#);
            for channel in [CHANNEL, "json.news"] {
                commands.push(vec![command.into(), channel.into(), json.clone().into_bytes()]);
            }
            // A payload over the limit, and a command name that does not exist.
            let long = put(command, "CANARY").repeat(INJECT_LIMIT / 20);
            commands.push(vec![command.into(), CHANNEL.into(), long.clone().into_bytes()]);
            commands.push(vec![long.into_bytes()]);
        }
        // Commands that would lock the other connections out.
        commands.push(words("CONFIG SET requirepass "));
        commands
    }

    /// Fetches everything that the process outputs on request while it runs.
    async fn pages(&self) -> Vec<u8> {
        let mut pages = String::new();
        for path in ["/", "/healthz", "/readyz", "/metrics", "/config", "/mode", "/tap?limit=x", "/nothing"] {
            let (head, body) = self.proxy.exchange(&format!("GET {path}"), "", "").await;
            pages += &format!("{head}\n{body}\n");
        }
        let accept = "Accept: application/openmetrics-text; version=1.0.0\r\n";
        let (head, body) = self.proxy.exchange("GET /metrics", accept, "").await;
        assert!(body.ends_with("# EOF\n"), "{body}");
        (pages + &head + &body).into_bytes()
    }

    /// Fetches what the system shows of the process.
    fn process(&self) -> Vec<u8> {
        let folder = format!("/proc/{}", self.proxy.process.pid().as_raw_nonzero());
        let mut shown = std::fs::read(format!("{folder}/cmdline")).unwrap();
        shown.extend(std::fs::read(format!("{folder}/environ")).unwrap());
        for task in std::fs::read_dir(format!("{folder}/task")).unwrap() {
            shown.extend(std::fs::read(task.unwrap().path().join("comm")).unwrap());
        }
        shown
    }

    /// Stops the proxy, and searches all of its output. The words `spans` must be in the output of spans, and the words
    /// `lines` in the log.
    pub(crate) async fn search(self, spans: &[&str], lines: &[&str]) {
        let (pages, process) = (self.pages().await, self.process());
        let Self { proxy, collector, recorder, tap, canaries, .. } = self;
        proxy.process.signal(Signal::TERM);
        let tap = tap.rest().await.into_bytes();
        let ended = tokio::task::spawn_blocking(|| proxy.process.ended()).await.unwrap();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let decoded: String = collector.requests().iter().map(|request| format!("{request:?}\n")).collect();
        let spans_in = [("exported bytes", recorder.heard()), ("console", ended.stdout.into_bytes()), ("tap", tap)];
        for (place, found) in &spans_in {
            for word in spans {
                assert!(position(found, word.as_bytes()).is_some(), "{word} should be in the {place}");
            }
            canaries.assert_absent(place, found);
        }
        for line in lines {
            assert!(ended.stderr.contains(line), "{line} should be in the log:\n{}", ended.stderr);
        }
        for (place, found) in [
            ("log", ended.stderr.into_bytes()),
            ("decoded export requests", decoded.into_bytes()),
            ("admin pages", pages),
            ("process's entries in /proc", process),
        ] {
            assert!(!found.is_empty() || spans.is_empty(), "there is no {place}");
            canaries.assert_absent(place, &found);
        }
    }
}

/// Reads until the reply to a last `PING`, or the end of the stream.
async fn settle(mut client: Wire) {
    client.try_send(&request(&[b"PING", b"thelastreply"])).await;
    client.until(b"thelastreply").await;
}

async fn subscriber(observed: &Observed) -> Wire {
    let mut subscriber = observed.connect().await;
    subscriber.subscribe(&format!("SUBSCRIBE {CHANNEL} json.news")).await;
    subscriber
}

/// Sends commands of every kind, one by one, together, in pieces and in transactions, while other clients are
/// subscribed.
pub(crate) async fn commands_in_every_form(observed: &mut Observed) {
    let mut listening = Vec::new();
    listening.push(subscriber(observed).await);
    // The names of these channels contain the names of keys.
    let mut notified = observed.connect().await;
    notified.subscribe("PSUBSCRIBE __key*__:* *").await;
    listening.push(notified);
    let mut watching = observed.connect().await;
    assert_eq!(watching.call("MONITOR").await, Value::Status("OK".into()));

    observed.until_a_context_is_added().await;
    for form in ["one by one", "pipelined", "in pieces", "in MULTI", "discarded", "inline", "under REPLY OFF"] {
        let commands = observed.commands(form);
        let mut client = observed.connect().await;
        match form {
            "one by one" => {
                for command in &commands {
                    client.send(&encode(command)).await;
                    client.frame().await;
                }
            }
            "pipelined" => client.send(&commands.iter().flat_map(encode).collect::<Vec<_>>()).await,
            "in pieces" => {
                for piece in commands.iter().flat_map(encode).collect::<Vec<_>>().chunks(7) {
                    client.send(piece).await;
                    tokio::task::yield_now().await;
                }
            }
            "in MULTI" | "discarded" => {
                client.send(&request(&[b"MULTI"])).await;
                client.send(&commands.iter().flat_map(encode).collect::<Vec<_>>()).await;
                client.send(&request(&[if form == "discarded" { b"DISCARD" } else { b"EXEC" }])).await;
            }
            "inline" => {
                for command in commands.iter().filter(|command| command.iter().all(|word| word.len() < 500)) {
                    let quoted = command.iter().map(|word| format!("{:?}", String::from_utf8_lossy(word)));
                    client.send((quoted.collect::<Vec<_>>().join(" ") + "\r\n").as_bytes()).await;
                }
            }
            _ => {
                client.send(&request(&[b"CLIENT", b"REPLY", b"OFF"])).await;
                client.send(&commands.iter().flat_map(encode).collect::<Vec<_>>()).await;
                client.send(&request(&[b"CLIENT", b"REPLY", b"ON"])).await;
            }
        }
        settle(client).await;
    }
    assert!(observed.canaries.count() > 500);
    drop((listening, watching));
    let mut client = observed.connect().await;
    client.publish(CHANNEL, b"the last").await;
    drop(client);
}

#[tokio::test]
async fn in_commands_of_every_kind_however_they_are_sent() {
    let auto = ["--mode", "auto", "--auto-interval", "50ms"];
    for (protocol, log_format, mode) in
        [("http/protobuf", "text", &[][..]), ("grpc", "json", &[]), ("http/protobuf", "json", &auto)]
    {
        let redis = RealRedis::start(&["--notify-keyspace-events", "KEA", "--enable-debug-command", "yes"]);
        let mut observed = Observed::start(&redis.url(), protocol, log_format, mode).await;
        commands_in_every_form(&mut observed).await;
        observed.search(&[CHANNEL], &["client connected", "connection over", "stopped"]).await;
    }
}

/// Sends each on a connection of its own.
pub(crate) async fn bytes_that_are_no_commands(observed: &mut Observed) {
    for malformed in [
        "*1\r\n:CANARY\r\n",
        "*2\r\n$4\r\nAUTH\r\nCANARY\r\n",
        "*CANARY\r\n",
        "*3\r\n$3\r\nSET\r\n$CANARY\r\nCANARY\r\n",
        "*3\r\n$7\r\nPUBLISH\r\n$13\r\nshownbydesign\r\n$CANARY\r\n",
        "*3\r\n$7\r\nPUBLISH\r\n$13\r\nshownbydesign\r\n:CANARY\r\n",
        "GET / HTTP/1.1\r\nAuthorization: Bearer CANARY\r\n\r\n",
        "\u{16}\u{3}\u{1}CANARY",
        "\"CANARY unbalanced\r\n",
        "\u{0}CANARY\r\n",
        "*1\r\n$9999999999\r\nCANARY",
        "*2\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n*2\r\n$6\r\nCANARY\r\n",
    ] {
        let canary = observed.canaries.put("malformed");
        let mut client = observed.connect().await;
        client.try_send(malformed.replace("CANARY", &canary).as_bytes()).await;
        // Then bytes on a connection that the proxy no longer parses.
        let canary = observed.canaries.put("unread");
        client.try_send(format!("SET {canary} {canary}\r\n").as_bytes()).await;
        client.finish().await;
    }
}

#[tokio::test]
async fn in_bytes_that_are_no_commands() {
    for (protocol, log_format) in [("grpc", "text"), ("http/protobuf", "json")] {
        let redis = RealRedis::start(&[]);
        let mut observed = Observed::start(&redis.url(), protocol, log_format, &[]).await;
        bytes_that_are_no_commands(&mut observed).await;
        let mut replica = observed.connect().await;
        let canary = observed.canaries.put("replicated");
        replica.send(&request(&[b"PSYNC", b"?", b"-1"])).await;
        replica.until(b"REDIS").await;
        redis_direct(&redis, &canary).await;
        replica.until(canary.as_bytes()).await;
        replica.try_send(&request(&[b"REPLCONF", b"ACK", canary.as_bytes()])).await;
        drop(replica);
        let mut client = observed.connect().await;
        client.publish(CHANNEL, b"the last").await;
        drop(client);
        let lines = ["a client sends what is not RESP", "became a replica link", "a client speaks HTTP"];
        observed.search(&[CHANNEL], &lines).await;
    }
}

async fn redis_direct(redis: &RealRedis, canary: &str) {
    Wire::to(redis.address()).await.call(&format!("SET {canary} {canary}")).await;
}

#[tokio::test]
async fn where_redis_refuses_and_where_connections_break() {
    let mut redis = RealRedis::start(&["--requirepass", "open", "--maxclients", "20"]);
    let mut observed = Observed::start(&redis.url(), "http/protobuf", "text", &["--max-connections", "5"]).await;
    // Without authentication, everything is refused.
    let commands = observed.commands("refused");
    let mut client = observed.connect().await;
    for command in commands.iter().filter(|command| command.iter().all(|word| word.len() < 8000)) {
        client.try_send(&encode(command)).await;
    }
    settle(client).await;
    // Without authentication, a bulk string that is too long ends the connection.
    let canary = observed.canaries.put("too long");
    let mut client = observed.connect().await;
    client.try_send(&request(&[canary.as_bytes(), &[b'x'; 20_000]])).await;
    settle(client).await;
    // Authenticated as a user with few permissions.
    let mut client = observed.connect().await;
    assert_eq!(client.call("AUTH open").await, Value::Status("OK".into()));
    client.call("ACL SETUSER limited on >pw +ping +subscribe +publish &allowed").await;
    assert_eq!(client.call("AUTH limited pw").await, Value::Status("OK".into()));
    let commands = observed.commands("not permitted");
    for command in &commands {
        client.try_send(&encode(command)).await;
    }
    settle(client).await;
    // More clients than the limit allows.
    let mut crowd = Vec::new();
    for _ in 0..8 {
        let canary = observed.canaries.put("crowded");
        let mut client = observed.connect().await;
        client.try_send(&request(&[b"AUTH", canary.as_bytes()])).await;
        crowd.push(client);
    }
    drop(crowd);
    // Clients that leave in the middle of a command.
    for _ in 0..5 {
        for command in ["PUBLISH shownbydesign CANARY", "AUTH CANARY", "SET CANARY CANARY"] {
            let canary = observed.canaries.put("cut off");
            let whole = encode(&words(&command.replace("CANARY", &canary)));
            let mut client = observed.connect().await;
            client.try_send(&whole[..whole.len() - 4]).await;
        }
    }
    // A Redis that ends in the middle of a reply, and then cannot be reached.
    let mut client = observed.served().await;
    client.call("AUTH open").await;
    client.publish(CHANNEL, observed.canaries.put("before the end").as_bytes()).await;
    let canary = observed.canaries.put("unanswered");
    client.try_send(&request(&[b"BLPOP", canary.as_bytes(), b"0"])).await;
    redis.kill();
    client.closed().await;
    let mut client = observed.connect().await;
    let canary = observed.canaries.put("unreachable");
    client.try_send(&request(&[b"AUTH", canary.as_bytes()])).await;
    client.closed().await;
    observed.search(&[CHANNEL], &["cannot reach Redis", "--max-connections reached"]).await;
}

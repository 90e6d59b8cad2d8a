//! The configuration file, tested on the binary: what wins, what is rejected, and what a reload changes.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;

use crate::support::redis::RealRedis;
use crate::support::spawn::{Ended, Spawned, command, run};
use otlp_receiver::Receiver;
use rustix::process::Signal;

/// An upstream for tests in which nobody connects.
const UNUSED: &str = "redis://127.0.0.1:1";

/// A file that can be written again.
struct ConfigFile {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl ConfigFile {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = Self { path: folder.path().join("redistributed.toml"), _folder: folder };
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        fs::write(&self.path, text).unwrap();
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

/// `--check-config` with this file.
fn check(file: &ConfigFile, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    let mut command = command(&[&["--check-config", "--config", file.path()], arguments].concat());
    command.envs(environment.iter().copied());
    run(command)
}

/// The value and the origin of a setting, as `--check-config` prints them.
fn in_force(ended: &Ended, name: &str) -> (String, String) {
    let line = ended.stdout.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")));
    let line = line.unwrap_or_else(|| panic!("no {name} in\n{}{}", ended.stdout, ended.stderr));
    let (value, origin) = line.rsplit_once("  # ").unwrap();
    (value.trim().to_owned(), origin.to_owned())
}

#[test]
fn the_command_line_wins_over_the_environment_and_that_over_the_file() {
    let file = ConfigFile::new(&format!(
        "listen = '127.0.0.1:0'\nupstream = '{UNUSED}'\nmode = 'strip'\ninclude = ['a', 'b']\ndrain-timeout = '7s'\n\
         [otel]\nOTEL_SERVICE_NAME = 'by-file'\nOTEL_TRACES_EXPORTER = 'otlp'\n\
         OTEL_BSP_MAX_QUEUE_SIZE = 77"
    ));
    let environment = [
        ("REDISTRIBUTED_MODE", "observe"),
        ("REDISTRIBUTED_INCLUDE", "c d"),
        // As container platforms pass on what is not set.
        ("REDISTRIBUTED_DRAIN_TIMEOUT", ""),
        ("OTEL_SERVICE_NAME", "by-environment"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", " "),
    ];
    let of = |ended: &Ended, name: &str| in_force(ended, name);
    let place = |place: &str| format!("{}:{place}", file.path());
    let ended = check(&file, &["--mode", "inject"], &environment);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(of(&ended, "mode"), ("inject".into(), "command line".into()));
    assert_eq!(of(&ended, "include"), ("c d".into(), "REDISTRIBUTED_INCLUDE".into()));
    assert_eq!(of(&ended, "drain-timeout"), ("7s".into(), place("5:1")));
    assert_eq!(of(&ended, "flush-timeout"), ("3s".into(), "default".into()));
    assert_eq!(of(&ended, "OTEL_SERVICE_NAME"), ("by-environment".into(), "OTEL_SERVICE_NAME".into()));
    assert_eq!(of(&ended, "OTEL_BSP_MAX_QUEUE_SIZE"), ("77".into(), place("9:27")));
    assert_eq!(of(&ended, "route").1, format!("listen: {}, upstream: {}", place("1:1"), place("2:1")));

    let ended = check(&file, &[], &[]);
    assert_eq!(of(&ended, "mode"), ("strip".into(), place("3:1")));
    assert_eq!(of(&ended, "include"), ("a b".into(), place("4:1")));
}

#[test]
fn everything_that_has_an_effect_is_shown_with_its_own_place() {
    let file = ConfigFile::new(&format!(
        "[[route]]\nname = 'api'\nlisten = '127.0.0.1:0'\nupstream = '{UNUSED}'\n\n\
         [[route]]\nname = 'worker'\nlisten = '127.0.0.1:0'\nupstream = '{UNUSED}'\n\n\
         [otel]\nOTEL_PROPAGATORS = 'b3'\nOTEL_RESOURCE_ATTRIBUTES = 'a=b,redis=redis://u:hunter2@h'\nOTEL_ATTRIBUTE_COUNT_LIMIT = 7\n\
         OTEL_EXPORTER_OTLP_TIMEOUT = 500\n"
    ));
    let ended = check(&file, &[], &[("OTEL_TRACES_EXPORTER", "console,otlp"), ("OTEL_SPAN_LINK_COUNT_LIMIT", "x")]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let place = |place: &str| format!("{}:{place}", file.path());
    let routes: Vec<&str> = ended.stdout.lines().filter(|line| line.starts_with("route = ")).collect();
    assert!(
        routes.len() == 2 && routes[0].ends_with(&place("1:1")) && routes[1].ends_with(&place("6:1")),
        "{routes:?}"
    );
    for (name, value, origin) in [
        ("OTEL_PROPAGATORS", "b3", &place("12:20")[..]),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=b,redis=redis://***@h", &place("13:28")),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "7", &place("14:30")),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "500ms", &place("15:30")),
        ("OTEL_TRACES_EXPORTER", "otlp,console", "OTEL_TRACES_EXPORTER"),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_on", "default"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "128", "default"),
    ] {
        assert_eq!(in_force(&ended, name), (value.to_owned(), origin.to_owned()), "{name}");
    }
    assert!(ended.stderr.contains("OTEL_SPAN_LINK_COUNT_LIMIT=x"), "{}", ended.stderr);
}

#[test]
fn the_file_may_be_named_by_a_variable_and_serves() {
    let redis = RealRedis::start(&[]);
    let file = ConfigFile::new(&format!(
        "[[route]]\nname = 'api'\nlisten = '127.0.0.1:0'\nupstream = '{0}'\n\
         [[route]]\nname = 'worker'\nlisten = '127.0.0.1:0'\nupstream = '{0}'\n",
        redis.url()
    ));
    let mut by_variable = command(&[]);
    by_variable.env("REDISTRIBUTED_CONFIG", file.path());
    let proxy = Spawned::start(by_variable, 2);
    for address in &proxy.addresses {
        exchange(*address, b"PING\r\n", b"+PONG\r\n");
    }
}

/// Sends `request` on a connection of its own and expects exactly `reply`.
fn exchange(address: SocketAddr, request: &[u8], reply: &[u8]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(crate::support::DEADLINE)).unwrap();
    stream.write_all(request).unwrap();
    let mut got = vec![0; reply.len()];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(got.escape_ascii().to_string(), reply.escape_ascii().to_string());
}

#[test]
fn a_check_opens_the_files_that_are_named_but_no_socket() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    let file = ConfigFile::new(&format!("listen = '{listen}'\nupstream = 'rediss://h'\n"));
    assert_eq!(check(&file, &[], &[]).code, Some(0));
    file.write(&format!("listen = '{listen}'\nupstream = 'rediss://h'\nupstream-ca = '/no/such.pem'\n"));
    let ended = check(&file, &[], &[]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    let says = format!("{}:3:1: upstream-ca `/no/such.pem`: it cannot be read", file.path());
    assert!(ended.stderr.contains(&says), "{}", ended.stderr);
    let https = [
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:1"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such.pem"),
    ];
    file.write(&format!("listen = '{listen}'\nupstream = 'rediss://h'\n"));
    let ended = check(&file, &[], &https);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("OTEL_EXPORTER_OTLP_CERTIFICATE `/no/such.pem`"), "{}", ended.stderr);
    let by_variable = [("REDISTRIBUTED_UPSTREAM_CA", "redis://:hunter2@h")];
    let ended = check(&file, &[], &by_variable);
    let says = "--upstream-ca `redis://***@h` (from REDISTRIBUTED_UPSTREAM_CA): it cannot be read";
    assert!(ended.stderr.contains(says), "{}", ended.stderr);
}

#[test]
fn a_control_character_in_a_value_breaks_no_line() {
    let file = ConfigFile::new(&format!(
        "listen = '127.0.0.1:0'\nupstream = '{UNUSED}'\ninclude = \"a\\nmode = strip\"\n\
         [otel]\nOTEL_SERVICE_NAME = \"b\\nmode = strip\"\nOTEL_TRACES_SAMPLER = \"c\\nd\""
    ));
    let ended = check(&file, &[], &[]);
    assert_eq!(in_force(&ended, "mode").0, "auto", "{}", ended.stdout);
    assert_eq!(ended.stdout.lines().filter(|line| line.starts_with("mode = ")).count(), 1, "{}", ended.stdout);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
}

#[test]
fn every_switch_takes_the_same_words_in_its_variable() {
    let file = ConfigFile::new(&format!("listen = '127.0.0.1:0'\nupstream = '{UNUSED}'"));
    for (name, variable) in [
        ("announce", "REDISTRIBUTED_ANNOUNCE"),
        ("auto-ignore-replicas", "REDISTRIBUTED_AUTO_IGNORE_REPLICAS"),
        ("transit-time", "REDISTRIBUTED_TRANSIT_TIME"),
    ] {
        for (word, is_on) in [("true", "true"), ("Yes", "true"), ("1", "true"), ("off", "false"), ("0", "false")] {
            let said = (is_on.to_owned(), variable.to_owned());
            assert_eq!(in_force(&check(&file, &[], &[(variable, word)]), name), said, "{word}");
        }
        let ended = check(&file, &[], &[(variable, "perhaps")]);
        assert!(ended.code == Some(2) && ended.stderr.contains(variable), "{ended:?}");
        assert!(ended.stderr.contains("'perhaps'") && ended.stderr.contains("write true or false"), "{ended:?}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_reason() {
    let file = ConfigFile::new("");
    let folder = file.path.parent().unwrap().to_owned();
    let large = "#".repeat((1 << 20) + 1);
    for (bytes, says) in [
        (&b"listen = 'a'\n# caf\xe9"[..], "redistributed.toml:2:6: it is not valid UTF-8 from here on"),
        (b"listen = 'a'\nlisten = 'b'", "redistributed.toml:2:1: it is not TOML: duplicate key"),
        (large.as_bytes(), "larger than 1 MiB"),
        (b"mdoe = 'strip'", "redistributed.toml:1:1: mdoe: it is not a setting; did you mean `mode`?"),
        (b"upstream = 'redis://u:hunter2@h'\nlisten = 'redis://u:hunter2@h'", "redistributed.toml:2:10: listen"),
    ] {
        fs::write(&file.path, bytes).unwrap();
        let ended = check(&file, &[], &[]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{}", ended.stderr);
        assert!(ended.stderr.contains(says) && !ended.stderr.contains("hunter2"), "{}", ended.stderr);
    }
    for path in [folder.to_str().unwrap(), "/no/such/file.toml"] {
        let ended = run(command(&["--config", path]));
        assert_eq!(ended.code, Some(2));
        assert!(ended.stderr.contains(&format!("{path}: it cannot be read")), "{}", ended.stderr);
    }
}

#[test]
fn a_slip_in_a_variables_name_is_one_warning_and_kubernetes_own_are_none() {
    let file = ConfigFile::new(&format!("listen = '127.0.0.1:0'\nupstream = '{UNUSED}'\nmode = 'strip'"));
    let mut with_variables = command(&["--config", file.path()]);
    with_variables.env("REDISTRIBUTED_UPSTREM", "redis://u:hunter2@h").env("REDISTRIBUTED_SERVICE_HOST", "10.0.0.1");
    with_variables.env("REDISTRIBUTED_PORT_6380_TCP_ADDR", "10.0.0.1").env("REDISTRIBUTED_PORT", "tcp://10.0.0.1:6380");
    let proxy = Spawned::start(with_variables, 1);
    proxy.signal(Signal::TERM);
    let ended = proxy.ended();
    let warnings: Vec<&str> = ended.stderr.lines().filter(|line| line.contains(" WARN ")).collect();
    let [warning] = warnings[..] else { panic!("not one warning:\n{}", ended.stderr) };
    assert!(warning.contains("REDISTRIBUTED_UPSTREM is not known") && warning.contains("`REDISTRIBUTED_UPSTREAM`"));
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_collectors_headers_may_stand_in_a_file_of_their_own() {
    let (redis, receiver) = (RealRedis::start(&[]), Receiver::start().await.unwrap());
    let secret = ConfigFile::new("x-key=hunter2\n");
    let file = ConfigFile::new(&format!(
        "listen = '127.0.0.1:0'\nupstream = '{}'\n[otel]\nOTEL_EXPORTER_OTLP_HEADERS_FILE = '{}'\n\
         OTEL_EXPORTER_OTLP_ENDPOINT = '{}'\nOTEL_BSP_SCHEDULE_DELAY = 10",
        redis.url(),
        secret.path(),
        receiver.http_endpoint()
    ));
    let both = [("OTEL_TRACES_EXPORTER", "otlp"), ("OTEL_EXPORTER_OTLP_HEADERS", "a=b")];
    assert_eq!(in_force(&check(&file, &[], &both), "OTEL_EXPORTER_OTLP_TRACES_HEADERS").0, "a=***", "one layer wins");
    let mut exporting = command(&["--config", file.path(), "--log-level", "trace"]);
    exporting.env("OTEL_TRACES_EXPORTER", "otlp");
    let proxy = Spawned::start(exporting, 1);
    exchange(proxy.addresses[0], b"*3\r\n$7\r\nPUBLISH\r\n$2\r\nch\r\n$1\r\nx\r\n", b":0\r\n");
    receiver.wait_for_spans(1, crate::support::DEADLINE).await.unwrap();
    assert_eq!(receiver.requests()[0].header("x-key"), Some("hunter2"));
    proxy.signal(Signal::TERM);
    assert!(!proxy.ended().stderr.contains("hunter2"));

    let path = secret.path();
    for (environment, says) in [
        (vec![("OTEL_EXPORTER_OTLP_HEADERS_FILE", "/no/such")], "OTEL_EXPORTER_OTLP_HEADERS_FILE `/no/such`"),
        (vec![("OTEL_EXPORTER_OTLP_HEADERS_FILE", path), both[1]], "OTEL_EXPORTER_OTLP_HEADERS is set beside it"),
    ] {
        let ended = check(&file, &[], &environment);
        assert!(ended.code == Some(2) && ended.stderr.contains(says), "{ended:?}");
    }
    secret.write("\n");
    let ended = check(&file, &[], &[]);
    assert!(ended.code == Some(2) && ended.stderr.contains("the file is empty"), "{ended:?}");
}

/// A subscriber at `redis` and a publisher behind `proxy`, on connections that stay open.
struct Conversation {
    subscriber: TcpStream,
    publisher: TcpStream,
}

impl Conversation {
    fn start(redis: SocketAddr, proxy: SocketAddr) -> Self {
        let open = |address| {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(crate::support::DEADLINE)).unwrap();
            stream
        };
        let (mut subscriber, publisher) = (open(redis), open(proxy));
        subscriber.write_all(b"PSUBSCRIBE *\r\n").unwrap();
        let confirmed = b"*3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:1\r\n";
        subscriber.read_exact(&mut vec![0; confirmed.len()]).unwrap();
        Self { subscriber, publisher }
    }

    /// Whether a message on `channel`, which has two letters, arrives with a context.
    fn carries(&mut self, channel: &str) -> bool {
        let request = format!("*3\r\n$7\r\nPUBLISH\r\n$2\r\n{channel}\r\n$5\r\nhello\r\n");
        self.publisher.write_all(request.as_bytes()).unwrap();
        self.publisher.read_exact(&mut [0; 4]).unwrap();
        let head = format!("*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$2\r\n{channel}\r\n$");
        self.subscriber.read_exact(&mut vec![0; head.len()]).unwrap();
        let mut length = Vec::new();
        let mut byte = [0];
        while byte[0] != b'\n' {
            self.subscriber.read_exact(&mut byte).unwrap();
            length.push(byte[0]);
        }
        let length: usize = String::from_utf8(length).unwrap().trim().parse().unwrap();
        self.subscriber.read_exact(&mut vec![0; length + 2]).unwrap();
        assert!(length == 5 || length >= 5 + 41, "{length} bytes");
        length > 5
    }
}

#[test]
fn a_hangup_puts_other_modes_in_force_for_open_connections() {
    let redis = RealRedis::start(&[]);
    let base = format!("listen = '127.0.0.1:0'\nupstream = '{}'\n", redis.url());
    let injecting = format!("{base}mode = 'inject'\n");
    let file = ConfigFile::new(&injecting);
    let mut proxy = Spawned::start(command(&["--config", file.path()]), 1);
    let mut conversation = Conversation::start(redis.address(), proxy.addresses[0]);
    assert!(conversation.carries("ab"));

    file.write(&format!("{base}mode = 'strip'\nmode-for = ['c*=inject']\nlog-level = 'debug'\n"));
    proxy.signal(Signal::HUP);
    let line = proxy.wait_for_line("the configuration was read again");
    assert!(line.contains("changed: mode, mode-for, log-level"), "{line}");
    assert_eq!([conversation.carries("ab"), conversation.carries("cd")], [false, true]);

    file.write(&format!("{injecting}exclude = ['c*']\n"));
    proxy.signal(Signal::HUP);
    proxy.wait_for_line("the configuration was read again");
    assert_eq!([conversation.carries("ab"), conversation.carries("cd")], [true, false]);

    file.write(&format!("{base}mode = 'stripe'\nexclude = ['ab']\n"));
    proxy.signal(Signal::HUP);
    let line = proxy.wait_for_line("the configuration was not read again");
    for text in ["no setting was changed", "redistributed.toml:3:8", "mode `stripe`", "did you mean `strip`?"] {
        assert!(line.contains(text), "{line}");
    }
    assert_eq!([conversation.carries("ab"), conversation.carries("cd")], [true, false]);

    file.write(&format!("listen = '127.0.0.1:1'\nupstream = '{}'\nmode = 'strip'\nthreads = 1\n", redis.url()));
    for _ in 0..2 {
        proxy.signal(Signal::HUP);
        let line = proxy.wait_for_line("the configuration was read again");
        assert!(line.contains(" WARN ") && line.ends_with("; after a restart: listen, threads"), "{line}");
        assert!(!conversation.carries("ab"));
    }
    fs::remove_file(&file.path).unwrap();
    proxy.signal(Signal::HUP);
    proxy.wait_for_line("it cannot be read");
    assert!(!conversation.carries("ab"));
    drop(conversation);
    proxy.signal(Signal::TERM);
    let ended = proxy.ended();
    assert_eq!(ended.code, Some(0));
    let about_threads = ended.stderr.lines().filter(|line| line.contains("threads")).count();
    assert_eq!(about_threads, 2, "one line for each time that it was said:\n{}", ended.stderr);
}

#[test]
fn a_hangup_without_a_file_is_said_and_ends_nothing() {
    let redis = RealRedis::start(&[]);
    let mut proxy = Spawned::start(command(&["--listen", "127.0.0.1:0", "--upstream", &redis.url()]), 1);
    proxy.signal(Signal::HUP);
    proxy.wait_for_line("there is nothing to read again");
    exchange(proxy.addresses[0], b"PING\r\n", b"+PONG\r\n");
    proxy.signal(Signal::TERM);
    let ended = proxy.ended();
    assert_eq!(ended.code, Some(0));
    assert!(!ended.stderr.contains(" ERROR ") && !ended.stderr.contains(" WARN "), "{}", ended.stderr);
}

/// Starts a proxy with an admin port in front of `redis`, in mode `inject`. Returns the text of its file without the mode, the
/// file, the process, and the port's address.
fn with_admin(redis: &RealRedis) -> (String, ConfigFile, Spawned, SocketAddr) {
    let base = format!("listen = '127.0.0.1:0'\nadmin = 0\nupstream = '{}'\n", redis.url());
    let file = ConfigFile::new(&format!("{base}mode = 'inject'\n"));
    let mut proxy = Spawned::start(command(&["--config", file.path()]), 1);
    let line = proxy.wait_for_line("admin port");
    let admin = line.split_once("address=").unwrap().1.split_whitespace().next().unwrap().parse().unwrap();
    (base, file, proxy, admin)
}

#[test]
fn what_the_admin_port_switched_outlives_a_hangup() {
    let redis = RealRedis::start(&[]);
    let (base, file, mut proxy, admin) = with_admin(&redis);
    let mut conversation = Conversation::start(redis.address(), proxy.addresses[0]);
    assert_eq!(ask(admin, "PUT /mode", "strip"), "strip\n");

    file.write(&format!("{base}mode = 'inject'\nmode-for = ['c*=observe']\n"));
    proxy.signal(Signal::HUP);
    let line = proxy.wait_for_line("the configuration was read again");
    assert!(line.contains("stay in force until DELETE /mode"), "{line}");
    assert!(!conversation.carries("ab"));
    assert_eq!(ask(admin, "DELETE /mode", ""), "inject c*=observe\n");
    assert_eq!([conversation.carries("ab"), conversation.carries("cd")], [true, false]);
}

#[test]
fn the_admin_port_reads_the_file_again_and_answers_what_came_of_it() {
    let redis = RealRedis::start(&[]);
    let (base, file, proxy, admin) = with_admin(&redis);
    let mut conversation = Conversation::start(redis.address(), proxy.addresses[0]);
    file.write(&format!("{base}exclude = ['ab']\nlog-level = 'info'\nthreads = 1\nmode = 'inject'\n"));
    assert_eq!(ask(admin, "POST /reload", ""), "changed: exclude, log-level; after a restart: threads\n");
    assert_eq!([conversation.carries("ab"), conversation.carries("cd")], [false, true]);
    let page = ask(admin, "GET /config", "");
    let place = |line: u8| format!("# {}:{line}:1", file.path());
    for (setting, origin) in [("exclude = ab ", place(4)), ("log-level = info ", place(5))] {
        let line = page.lines().find(|line| line.starts_with(setting));
        assert!(line.is_some_and(|line| line.ends_with(&origin)), "{setting}{origin} is not in\n{page}");
    }
    file.write("mode = 'stripe'");
    let answer = ask(admin, "POST /reload", "");
    assert!(answer.contains("no setting was changed") && answer.contains("did you mean `strip`?"), "{answer}");
    assert!(!conversation.carries("ab"));
}

/// Sends a request to the admin port, and returns the body of the answer.
fn ask(admin: SocketAddr, request: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(admin).unwrap();
    let length = body.len();
    let head =
        format!("{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

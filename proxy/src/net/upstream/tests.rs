use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;

use super::*;
use crate::settings::Options;

fn settings(listen: &str, upstream: &str, more: &[&str]) -> Settings {
    let line = ["redistributed", "--listen", listen, "--upstream", upstream];
    let args = Options::from_command_line(line.iter().chain(more).map(std::ffi::OsString::from)).unwrap();
    Settings::new(&args, &|_| None).unwrap()
}

/// A dialer as the settings make it.
fn dialer(upstream: &str, more: &[&str]) -> Dialer {
    let settings = settings("127.0.0.1:0", upstream, more);
    Dialer::new(&settings.routes[0], &settings, &KeyMaterial::read(&settings).unwrap()).unwrap()
}

/// A name that leads elsewhere each time it is looked up; the last place stays.
#[derive(Debug)]
struct Moving {
    places: Vec<Vec<SocketAddr>>,
    asked: AtomicUsize,
}

impl Moving {
    fn new(places: Vec<Vec<SocketAddr>>) -> Arc<Self> {
        Arc::new(Self { places, asked: AtomicUsize::new(0) })
    }
}

impl Resolve for Moving {
    fn resolve<'a>(&'a self, host: &'a str, _port: u16) -> Resolving<'a> {
        assert_eq!(host, "cache");
        let turn = self.asked.fetch_add(1, Ordering::Relaxed).min(self.places.len() - 1);
        let places = self.places[turn].clone();
        Box::pin(async move { if places.is_empty() { Err(io::Error::other("no such name")) } else { Ok(places) } })
    }
}

async fn somebody() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    somebody().await.1
}

fn peer(stream: &Stream) -> SocketAddr {
    let Stream::Tcp(stream) = stream else { panic!("{stream:?}") };
    stream.peer_addr().unwrap()
}

#[tokio::test]
async fn a_name_is_resolved_at_each_dial() {
    let ((_first, one), (_second, two)) = (somebody().await, somebody().await);
    let dialer = dialer("cache", &[]).with_resolver(Moving::new(vec![vec![one], vec![two]]));
    assert_eq!(peer(&dialer.connect().await.unwrap()), one);
    assert_eq!(peer(&dialer.dial(false, |_| {}).await.unwrap()), two);
}

#[tokio::test]
async fn the_addresses_of_a_name_are_tried_in_turn() {
    let (_listener, somebody) = somebody().await;
    let addresses = vec![nobody().await, nobody().await, somebody];
    let dialer = dialer("cache", &["--connect-retry", "off"]).with_resolver(Moving::new(vec![addresses]));
    assert_eq!(peer(&dialer.dial(false, |_| {}).await.unwrap()), somebody);
}

#[tokio::test]
async fn an_address_that_does_not_answer_leaves_time_for_the_next() {
    // A listener that accepts nothing, and whose queue is full, lets further connections wait for ever.
    let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    silent.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    silent.listen(0).unwrap();
    let silent_address = silent.local_addr().unwrap().as_socket().unwrap();
    let _queued = std::net::TcpStream::connect(silent_address).unwrap();

    let (_listener, somebody) = somebody().await;
    let resolver = Moving::new(vec![vec![silent_address, somebody]]);
    let dialer = dialer("cache", &["--connect-timeout", "2s", "--connect-retry", "off"]).with_resolver(resolver);
    let started = Instant::now();
    assert_eq!(peer(&dialer.dial(false, |_| {}).await.unwrap()), somebody);
    assert!(started.elapsed() >= Duration::from_secs(1), "the first has half of the time");
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_finds_a_redis_that_moved() {
    let (_listener, somebody) = somebody().await;
    let resolver = Moving::new(vec![vec![nobody().await], vec![], vec![somebody]]);
    let dialer = dialer("cache", &["--connect-timeout", "60s"]).with_resolver(resolver);
    let mut failures = Vec::new();
    let started = Instant::now();
    let stream = dialer.dial(false, |failure| failures.push(failure.to_string())).await.unwrap();
    assert_eq!(peer(&stream), somebody);
    assert!(matches!(&failures[..], [refused, unknown] if refused.contains("refused") && unknown == "no such name"));
    assert!(started.elapsed() >= 3 * FIRST_PAUSE, "one pause, and one of twice its length");
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_what_was_met_last_when_the_time_is_over() {
    let dialer = dialer("cache", &["--connect-timeout", "1s"]).with_resolver(Moving::new(vec![vec![]]));
    let (mut again, started) = (0, Instant::now());
    let error = dialer.dial(false, |_| again += 1).await.unwrap_err();
    // Pauses of 50, 100, 200 and 400 ms; the next would end after the second.
    assert_eq!((again, started.elapsed()), (4, Duration::from_millis(750)));
    assert!(error.to_string().contains("no such name"), "{error}");
}

#[tokio::test]
async fn the_proxys_own_attempts_are_not_repeated() {
    let resolver = Moving::new(vec![vec![nobody().await]]);
    let dialer = dialer("cache", &["--connect-timeout", "60s"]).with_resolver(resolver.clone());
    assert!(dialer.connect().await.is_err());
    assert_eq!(resolver.asked.load(Ordering::Relaxed), 1);
}

#[test]
fn what_would_be_refused_again_is_not_tried_again() {
    for kind in [io::ErrorKind::ConnectionRefused, io::ErrorKind::NotFound, io::ErrorKind::UnexpectedEof] {
        assert!(may_pass(&kind.into()), "{kind:?}");
    }
    // Refused certificates and whatever is no TLS, no Redis; and a path that may not be used.
    for kind in [io::ErrorKind::InvalidData, io::ErrorKind::PermissionDenied] {
        assert!(!may_pass(&kind.into()), "{kind:?}");
    }
    assert!(!may_pass(&io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error())));
}

#[test]
fn credentials_come_from_the_url_or_from_a_file_and_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "hunter2\n").unwrap();
    let file = file.display().to_string();
    let from_file = ["--upstream-password-file", &file];
    for (upstream, more, username) in [
        ("redis://orders:hunter2@cache", &[][..], Some("orders")),
        ("redis://:hunter2@cache", &[], None),
        ("redis://orders@cache", &from_file, Some("orders")),
        ("cache", &from_file, None),
        ("cache", &[&from_file[..], &["--upstream-username", "orders"]].concat(), Some("orders")),
    ] {
        let dialer = dialer(upstream, more);
        let credentials = dialer.credentials().unwrap();
        assert_eq!((credentials.username.as_deref(), credentials.password.reveal()), (username, "hunter2"));
        assert_eq!(dialer.logs_clients_in(), None, "only if asked");
        assert!(!format!("{dialer:?}").contains("hunter2"));
    }
    assert_eq!(dialer("cache", &[]).credentials(), None);
}

#[test]
fn what_is_to_be_tls_is_never_made_without_it() {
    let files = ["--listen-cert", "c", "--listen-key", "k"];
    let settings = settings("rediss://127.0.0.1:0", "rediss://cache", &files);
    let (route, nothing) = (&settings.routes[0], KeyMaterial::default());
    assert_eq!(Dialer::new(route, &settings, &nothing).unwrap_err().setting, "--upstream-ca");
    let handshakes = crate::net::listener::Handshakes::of(&route.listen, &nothing, Duration::from_secs(1));
    assert_eq!(handshakes.unwrap_err().setting, "--listen-cert");
}

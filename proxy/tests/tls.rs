//! Redis over TLS: a real server with certificates of the test's own.

use crate::support::authority::Authority;
use crate::support::redis::RealRedis;
use crate::support::spawn::{Spawned, command, run};
use crate::support::{connect, expect, expect_closed, expect_traced_messages, send};

/// A Redis that has a certificate for `name`, and asks for one if `mutual`.
struct TlsRedis {
    server: RealRedis,
    url: String,
    authority: Authority,
}

impl TlsRedis {
    fn start(name: &str, mutual: bool) -> Self {
        let authority = Authority::new();
        let (certificate, key) = authority.issue(name);
        let certificate = authority.write("redis.pem", &certificate).display().to_string();
        let key = authority.write("redis.key", &key).display().to_string();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let asks = if mutual { "yes" } else { "no" };
        let more = ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key];
        let file = authority.file();
        let more = [&more[..], &["--tls-ca-cert-file", &file, "--tls-auth-clients", asks]].concat();
        Self { server: RealRedis::start(&more), url: format!("rediss://localhost:{port}"), authority }
    }

    /// A proxy in front of it, that trusts the authority.
    fn proxy(&self, more: &[&str]) -> Spawned {
        let listen = ["--listen", "127.0.0.1:0", "--upstream", &self.url, "--upstream-ca", &self.authority.file()];
        Spawned::start(command(&[&listen, more].concat()), 1)
    }

    /// A certificate of the authority for a client, and its key: two files.
    fn identity(&self) -> (String, String) {
        let (certificate, key) = self.authority.issue("orders");
        let file = |name: &str, text: &str| self.authority.write(name, text).display().to_string();
        (file("client.pem", &certificate), file("client.key", &key))
    }
}

async fn is_served(proxy: &Spawned) {
    let mut client = connect(proxy.addresses[0]).await;
    send(&mut client, b"PING\r\n").await;
    expect(&mut client, b"+PONG\r\n").await;
}

/// The line of the log that says why the connection to Redis failed.
async fn refusal(proxy: &mut Spawned) -> String {
    let mut client = connect(proxy.addresses[0]).await;
    expect_closed(&mut client).await;
    proxy.wait_for_line("cannot reach Redis")
}

#[tokio::test]
async fn messages_are_traced_through_tls() {
    let redis = TlsRedis::start("localhost", false);
    let proxy = redis.proxy(&[]);
    let mut direct = connect(redis.server.address()).await;
    let mut behind = connect(proxy.addresses[0]).await;
    let mut publisher = connect(proxy.addresses[0]).await;
    expect_traced_messages(&mut direct, &mut behind, &mut publisher).await;
}

#[tokio::test]
async fn a_server_is_believed_only_with_a_certificate_of_a_known_authority_for_its_name() {
    let redis = TlsRedis::start("redis.example", false);
    let mut named_otherwise = redis.proxy(&[]);
    assert!(refusal(&mut named_otherwise).await.contains("not valid for name"));
    is_served(&redis.proxy(&["--upstream-server-name", "redis.example"])).await;

    let stranger = Authority::new();
    let arguments = ["--listen", "127.0.0.1:0", "--upstream", &redis.url, "--upstream-server-name", "redis.example"];
    let mut distrustful = Spawned::start(command(&[&arguments[..], &["--upstream-ca", &stranger.file()]].concat()), 1);
    assert!(refusal(&mut distrustful).await.contains("invalid peer certificate"));
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_one() {
    let redis = TlsRedis::start("localhost", true);
    let (certificate, key) = redis.identity();
    is_served(&redis.proxy(&["--upstream-cert", &certificate, "--upstream-key", &key])).await;
    // TLS 1.3 lets the server say so only after the handshake: the client sees its connection close. It sends nothing, for
    // what comes too late makes the kernel throw the server's word away.
    let mut anonymous = redis.proxy(&[]);
    let mut client = connect(anonymous.addresses[0]).await;
    expect_closed(&mut client).await;
    let line = anonymous.wait_for_line("because of TLS");
    assert!(line.contains("CertificateRequired") && line.contains("--upstream-cert"), "{line}");
}

#[tokio::test]
async fn a_redis_that_does_not_speak_tls_is_told_of() {
    let redis = RealRedis::start(&[]);
    let authority = Authority::new();
    let url = format!("rediss://{}", redis.address());
    let ca = authority.file();
    let arguments = ["--listen", "127.0.0.1:0", "--upstream", &url, "--upstream-ca", &ca, "--connect-retry", "off"];
    let mut proxy = Spawned::start(command(&arguments), 1);
    let line = refusal(&mut proxy).await;
    assert!(line.contains(&url), "{line}");
}

#[test]
fn a_name_that_no_certificate_can_hold_is_refused() {
    let authority = Authority::new();
    let start = ["--listen", "127.0.0.1:0", "--upstream", "rediss://127.0.0.1:1", "--upstream-ca", &authority.file()];
    let ended = run(command(&[&start[..], &["--upstream-server-name", "a b"]].concat()));
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("--upstream-server-name: `a b` cannot be a name in a certificate"),
        "{}",
        ended.stderr
    );
}

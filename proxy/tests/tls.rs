//! Redis over TLS: a real server with certificates of the test's own.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

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
        let issued = authority.issue(name);
        Self::with(authority, issued, &["--tls-auth-clients", if mutual { "yes" } else { "no" }])
    }

    /// A Redis with this certificate and its key.
    fn with(authority: Authority, (certificate, key): (String, String), more: &[&str]) -> Self {
        let certificate = authority.write("redis.pem", &certificate).display().to_string();
        let key = authority.write("redis.key", &key).display().to_string();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let files = ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key];
        let file = authority.file();
        let arguments = [&files[..], &["--tls-ca-cert-file", &file], more].concat();
        Self { server: RealRedis::start(&arguments), url: format!("rediss://localhost:{port}"), authority }
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

/// The digest that `openssl x509 -fingerprint -sha256` would print.
fn fingerprint(certificate: &str) -> String {
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let digest = ring::digest::digest(&ring::digest::SHA256, &der);
    let pairs: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

#[tokio::test]
async fn certificates_that_have_only_a_common_name_or_are_of_version_1_are_believed_if_the_operator_says_by_what() {
    type Issue = fn(&Authority, &str) -> (String, String);
    let cases: [(Issue, &str); 2] = [
        (Authority::issue_common_name, "it has only the common name `redis`"),
        (Authority::issue_version_1, "it is of X.509 version 1, which has no names but the common name `redis`"),
    ];
    for (issue, problem) in cases {
        let stranger = Authority::new();
        let other = fingerprint(&stranger.issue("redis").0);
        for protocols in ["TLSv1.3", "TLSv1.2"] {
            let authority = Authority::new();
            let issued = issue(&authority, "redis");
            let (shown, redis) = (
                fingerprint(&issued.0),
                TlsRedis::with(authority, issued, &["--tls-auth-clients", "no", "--tls-protocols", protocols]),
            );
            let mut strict = redis.proxy(&[]);
            let line = refusal(&mut strict).await;
            let says = format!("invalid peer certificate: {problem}");
            assert!(line.contains(&says) && line.contains("--upstream-verify"), "{protocols}: {line}");
            is_served(&redis.proxy(&["--upstream-verify", "authority"])).await;
            is_served(&redis.proxy(&["--upstream-verify", &format!("fingerprint:{other},{shown}")])).await;

            let arguments = ["--listen", "127.0.0.1:0", "--upstream", &redis.url, "--upstream-verify"];
            let by = |rule: &str, more: &[&str]| Spawned::start(command(&[&arguments[..], &[rule], more].concat()), 1);
            // Nothing else counts, not even that there is no authority.
            is_served(&by(&format!("fingerprint:{shown}"), &[])).await;
            let mut distrustful = by("authority", &["--upstream-ca", &stranger.file()]);
            assert!(refusal(&mut distrustful).await.contains("invalid peer certificate"));
            let mut pinned = by(&format!("fingerprint:{other}"), &[]);
            let line = refusal(&mut pinned).await;
            assert!(line.contains(&shown.replace(':', "").to_lowercase()), "{line}");
        }
    }
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

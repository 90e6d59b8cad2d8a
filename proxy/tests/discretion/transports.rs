//! Secrets on TLS connections and Unix sockets, on both sides, and where such a connection cannot be established.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::discretion::canary::Canaries;
use crate::discretion::traffic::{CHANNEL, Observed, bytes_that_are_no_commands, commands_in_every_form};
use crate::support::authority::Authority;
use crate::support::fake_redis::FakeRedis;
use crate::support::listener::{TestListener, Transport, handshake, handshake_with};
use crate::support::redis::RealRedis;
use crate::support::wire::request;
use crate::support::{connect, send, within};

const SERVER: [&str; 4] = ["--notify-keyspace-events", "KEA", "--enable-debug-command", "yes"];

/// A proxy and its Redis with TLS on both sides. Each side requires a certificate of the other.
async fn by_tls(log_format: &str, more: &[&str]) -> (Observed, RealRedis) {
    let listener = TestListener::new(Transport::Tls);
    let (redis, port) = listener.redis_with_tls(&[&SERVER[..], &["--tls-auth-clients", "yes"]].concat());
    let (ca, [certificate, key]) = (listener.authority.file(), identity(&listener.authority, "proxy-as-client"));
    let files = ["--upstream-ca", &ca, "--upstream-cert", &certificate, "--upstream-key", &key];
    let upstream = format!("rediss://localhost:{port}");
    (Observed::behind(listener, &upstream, "http/protobuf", log_format, &[&files, more].concat()).await, redis)
}

/// The same with Unix sockets.
async fn by_sockets(log_format: &str) -> (Observed, RealRedis) {
    let listener = TestListener::new(Transport::Unix);
    let behind = listener.path("redis.sock").display().to_string();
    let redis = RealRedis::start(&[&SERVER[..], &["--unixsocket", &behind]].concat());
    (Observed::behind(listener, &format!("unix:{behind}"), "grpc", log_format, &[]).await, redis)
}

/// Writes a certificate for `name` and its key, and returns the names of the files.
fn identity(authority: &Authority, name: &str) -> [String; 2] {
    let (certificate, key) = authority.issue(name);
    [("client.pem", certificate), ("client.key", key)]
        .map(|(file, text)| authority.write(file, &text).display().to_string())
}

#[tokio::test]
async fn in_commands_of_every_kind_by_tls_and_by_sockets() {
    // These clients do not end the TLS stream properly, which the log calls cut off.
    let transports = [(by_tls("text", &[]).await, "connection cut off"), (by_sockets("json").await, "connection over")];
    for ((mut observed, _redis), end) in transports {
        commands_in_every_form(&mut observed).await;
        observed.search(&[CHANNEL], &["client connected", end, "stopped"]).await;
    }
}

#[tokio::test]
async fn in_bytes_that_are_no_commands_by_tls_and_by_sockets() {
    for (mut observed, _redis) in [by_tls("json", &[]).await, by_sockets("text").await] {
        bytes_that_are_no_commands(&mut observed).await;
        publish_the_last(&observed).await;
        observed.search(&[CHANNEL], &["a client sends what is not RESP", "a client speaks HTTP"]).await;
    }
}

async fn publish_the_last(observed: &Observed) {
    observed.connect().await.publish(CHANNEL, b"the last").await;
}

#[tokio::test]
async fn where_a_client_is_not_let_in_by_tls() {
    for log_format in ["text", "json"] {
        let (mut observed, _redis) = by_tls(log_format, &["--handshake-timeout", "300ms"]).await;
        let address = observed.proxy.address();
        // A client without TLS, one that sends something else that begins like TLS, and one that stops in the middle of
        // the handshake.
        for said in [
            "*2\r\n$4\r\nAUTH\r\n$44\r\nCANARY\r\n",
            "AUTH CANARY\r\n",
            "GET /CANARY HTTP/1.1\r\nAuthorization: Bearer CANARY\r\nHost: CANARY\r\n\r\n",
            "\u{0}CANARY\r\n",
            "\u{16}\u{3}\u{1}CANARY, and enough of it that it is a whole record of whatever length it may have",
            "\u{16}\u{3}\u{1}\u{0}\u{8}CANARY",
            "\u{16}\u{3}\u{1}\u{2}\u{0}CANARY",
            "\u{15}\u{3}\u{1}\u{0}\u{2}CANARY",
        ] {
            let canary = observed.canaries.put("plain");
            let mut client = connect(address).await;
            send(&mut client, said.replace("CANARY", &canary).as_bytes()).await;
            // The client receives an alert or nothing.
            let _ = within("the end", client.read_to_end(&mut Vec::new())).await;
        }
        // What a handshake reveals: the server name, protocols, and the names in certificates that are refused.
        let (stranger, own) = (Authority::new(), &observed.listener.authority);
        let mut canary = |place: &str| observed.canaries.put(place);
        let identities = [
            None,
            Some(stranger.issue(&canary("stranger"))),
            Some(own.issue_between(&canary("expired"), (2020, 2021))),
            Some(own.issue_between(&canary("of the future"), (2090, 2091))),
        ];
        for identity in identities {
            let mut client = handshake(address, observed.listener.client(identity)).await.unwrap();
            let _ = client.write_all(format!("AUTH {}\r\n", canary("refused")).as_bytes()).await;
            within("the refusal", client.read(&mut [0; 1])).await.unwrap_err();
        }
        let mut config = (*observed.listener.client(None)).clone();
        config.alpn_protocols = vec![canary("protocol").into_bytes()];
        let name = format!("{}.example", canary("name"));
        handshake_with(&name, address, config.into()).await.unwrap_err();
        // Clients that are accepted and then break the stream, or leave without closing it properly.
        for broken in [true, false] {
            let known = observed.listener.client(Some(own.issue(&canary("known"))));
            let mut client = handshake(address, known).await.unwrap();
            let secret = canary("before it breaks");
            send(&mut client, format!("AUTH {secret}\r\nPING\r\n").as_bytes()).await;
            within("the answer", client.read(&mut [0; 1])).await.unwrap();
            if broken {
                let (stream, _) = client.get_mut();
                send(stream, format!("*2\r\n$4\r\nAUTH\r\n{}\r\n", canary("within")).as_bytes()).await;
                let _ = within("the end", stream.read_to_end(&mut Vec::new())).await;
            }
        }
        publish_the_last(&observed).await;
        let lines = ["not speak TLS", "but HTTP", "handshake with a client failed", "more than 300ms", "ertificate"];
        observed.search(&[CHANNEL], &lines).await;
    }
}

/// Has a client send secrets to a Redis that cannot be reached, waits until the client is closed, and searches the
/// output. The password in the proxy's settings is one of `canaries`, and so are words in the replies of the server and
/// in certificates.
async fn expect_discreet_refusal(upstream: &str, arguments: &[&str], canaries: &Canaries, line: &str) {
    let (folder, mut canaries) = (tempfile::tempdir().unwrap(), canaries.clone());
    let file = folder.path().join("password");
    std::fs::write(&file, canaries.put("password of the proxy")).unwrap();
    let file = file.display().to_string();
    let login = ["--connect-retry", "off", "--upstream-login", "clients", "--upstream-password-file", &file];
    let arguments = [&login, arguments].concat();
    let mut observed =
        Observed::behind(TestListener::new(Transport::Tcp), upstream, "http/protobuf", "text", &arguments).await;
    let mut client = observed.connect().await;
    for command in ["AUTH", "PUBLISH", "SET"] {
        let word = canaries.put(command);
        client.try_send(&request(&[command.as_bytes(), word.as_bytes(), word.as_bytes()])).await;
    }
    client.rest().await;
    observed.canaries = canaries;
    observed.search(&[], &[line]).await;
}

#[tokio::test]
async fn where_redis_is_not_reached_by_tls() {
    let (listener, strangers) = (TestListener::new(Transport::Tls), Authority::new());
    let (redis, port) = listener.redis_with_tls(&["--tls-auth-clients", "yes", "--requirepass", "open"]);
    let mut canaries = Canaries::new();
    let (ca, strangers_ca) = (listener.authority.file(), strangers.file());
    let (own, stranger) = (identity(&listener.authority, "own"), identity(&strangers, &canaries.put("stranger")));
    let believed = |ca: &str, shown: Option<&[String; 2]>| {
        let mut arguments = vec!["--upstream-ca".to_owned(), ca.to_owned()];
        for (option, file) in ["--upstream-cert", "--upstream-key"].iter().zip(shown.into_iter().flatten()) {
            arguments.extend([(*option).to_owned(), file.clone()]);
        }
        arguments
    };
    let plain = redis.address().port();
    for (host, port, arguments, line) in [
        // An unknown authority, a name that is not in the certificate, and a server without TLS.
        ("localhost", port, believed(&strangers_ca, Some(&own)), "invalid peer certificate"),
        ("127.0.0.1", port, believed(&ca, Some(&own)), "not valid for name"),
        ("localhost", plain, believed(&ca, None), "cannot reach Redis"),
        // Redis refuses the proxy, because it has no certificate or an unknown one, or only after the handshake.
        ("localhost", port, believed(&ca, None), "cannot reach Redis"),
        ("localhost", port, believed(&ca, Some(&stranger)), "cannot reach Redis"),
        ("localhost", port, believed(&ca, Some(&own)), "refused the proxy's AUTH"),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        expect_discreet_refusal(&format!("rediss://{host}:{port}"), &arguments, &canaries, line).await;
    }
}

#[tokio::test]
async fn where_something_else_answers_or_nothing_is_there() {
    let (folder, mut canaries) = (tempfile::tempdir().unwrap(), Canaries::new());
    let authority = Authority::new();
    // Replies to the beginning of a handshake, and to `AUTH` on a plain connection.
    for (scheme, answer, line) in [
        ("rediss", "-ERR CANARY\r\n", "cannot reach Redis"),
        ("rediss", "\u{16}\u{3}\u{3}\u{0}\u{20}CANARYCANARYCANARYCANARY", "cannot reach Redis"),
        ("redis", "-WRONGPASS CANARY\r\n", "refused the proxy's AUTH"),
        ("redis", "-CANARY\r\n", "refused the proxy's AUTH"),
        ("redis", "HTTP/1.1 400 CANARY\r\n\r\n", "cannot reach Redis"),
        ("redis", "$9999999\r\nCANARY", "cannot reach Redis"),
    ] {
        let fake = FakeRedis::start().await;
        let (url, answer) = (fake.url().replace("redis", scheme), answer.replace("CANARY", &canaries.put("answer")));
        let answering = tokio::spawn(async move {
            loop {
                let mut stream = fake.accept().await;
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        let ca = authority.file();
        let believed = if scheme == "rediss" { vec!["--upstream-ca", &ca] } else { vec![] };
        expect_discreet_refusal(&url, &believed, &canaries, line).await;
        answering.abort();
    }
    // A Unix socket that does not exist, one that nobody listens on any more, and a file that is not a socket.
    let [missing, stale, file] = ["missing", "stale", "file"].map(|name| folder.path().join(name));
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    std::fs::write(&file, canaries.put("in a file")).unwrap();
    for path in [missing, stale, file] {
        let url = format!("unix:{}", path.display());
        expect_discreet_refusal(&url, &[], &canaries, "cannot reach Redis").await;
    }
}

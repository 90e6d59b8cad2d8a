//! Who may ask for what, on a running process.

use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::support::admin::Proxy;
use crate::support::spawn::{Spawned, command, run};
use crate::support::within;

#[tokio::test]
async fn a_web_page_is_refused_whatever_it_asks_for() {
    let proxy = Proxy::start("redis://127.0.0.1:1", &["--admin-control", "all"], &[]);
    for request in ["GET /metrics", "GET /config", "HEAD /healthz", "PUT /mode", "GET /tap", "OPTIONS /mode", "GET /no"]
    {
        assert_eq!(proxy.ask(request, "Origin: http://localhost\r\n", "").await.0, 403, "{request}");
    }
}

#[tokio::test]
async fn with_a_token_only_who_sends_it_may_switch_and_a_new_one_takes_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "s3cret-one\n").unwrap();
    let mut proxy = Proxy::start("redis://127.0.0.1:1", &["--admin-token-file", &file.display().to_string()], &[]);
    let (head, says) = proxy.exchange("PUT /mode", "", "strip").await;
    assert!(head.starts_with("HTTP/1.1 401") && head.to_lowercase().contains("www-authenticate: bearer"), "{head}");
    assert!(says.contains("--admin-token-file"), "{says}");
    for wrong in ["Bearer s3cret-two", "Basic s3cret-one"] {
        assert_eq!(proxy.ask("PUT /mode", &format!("Authorization: {wrong}\r\n"), "strip").await.0, 401, "{wrong}");
    }
    assert_eq!(proxy.get("/mode").await, (200, "inject\n".to_owned()), "who only looks needs none");
    let one = "Authorization: Bearer s3cret-one\r\n";
    assert_eq!(proxy.ask("PUT /mode", one, "strip").await, (200, "strip\n".to_owned()));
    std::fs::write(&file, "s3cret-two\n").unwrap();
    proxy.process.signal(Signal::HUP);
    proxy.process.wait_for_line("token of the admin port: read again");
    assert_eq!(proxy.ask("DELETE /mode", one, "").await.0, 401);
    assert_eq!(proxy.ask("DELETE /mode", "Authorization: Bearer s3cret-two\r\n", "").await.0, 200);
    assert!(!proxy.get("/config").await.1.contains("s3cret"));
    proxy.process.signal(Signal::TERM);
    assert!(!proxy.process.ended().stderr.contains("s3cret"));
}

#[tokio::test]
async fn the_port_may_be_the_file_of_a_unix_socket_whose_permissions_decide() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let address = format!("unix:{}", path.display());
    let upstream = "redis://127.0.0.1:1";
    let arguments = ["--admin", &address, "--listen", "127.0.0.1:0", "--upstream", upstream];
    let mut proxy = Spawned::start(command(&[&arguments[..], &["--listen-socket-mode", "0600"]].concat()), 1);
    assert!(proxy.wait_for_line("admin port").contains(&address));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let ask = async |request: &str| {
        let mut stream = within("connecting", UnixStream::connect(&path)).await.unwrap();
        let request = format!("{request} HTTP/1.1\r\nHost: whatever\r\nContent-Length: 5\r\n\r\nstrip");
        within("asking", stream.write_all(request.as_bytes())).await.unwrap();
        let mut answer = String::new();
        within("the answer", stream.read_to_string(&mut answer)).await.unwrap();
        answer
    };
    assert!(ask("PUT /mode").await.ends_with("strip\n"));
    assert!(ask("GET /healthz").await.ends_with("ok\n"));
    let check = command(&["check", "--admin", &address, "--listen", "127.0.0.1:0", "--upstream", upstream]);
    let checked = tokio::task::spawn_blocking(move || run(check)).await.unwrap();
    assert!(checked.stdout.contains("the admin port of a redistributed is there already"), "{}", checked.stdout);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.ended().code, Some(0));
    assert!(!path.exists(), "nothing is left behind");
}

#[test]
fn a_token_without_a_port_and_a_url_for_one_are_refused() {
    let start = ["--listen", "127.0.0.1:0", "--upstream", "redis://127.0.0.1:1"];
    for (more, says) in [
        (["--admin-token-file", "/no/such"], "there is no admin port"),
        (["--admin", "rediss://127.0.0.1:0"], "it is a URL"),
        (["--admin", "unix:admin.sock"], "must be absolute"),
    ] {
        let ended = run(command(&[&start[..], &more].concat()));
        assert!(ended.code == Some(2) && ended.stderr.contains(says), "{more:?}: {}", ended.stderr);
    }
}

//! A proxy with an admin port, and requests to that port.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::spawn::{Spawned, as_typed, command};
use super::within;

/// Sends a request to an admin port, and returns the head and the body of the response.
pub(crate) async fn exchange(admin: SocketAddr, request: &str, headers: &str, body: &str) -> (String, String) {
    let mut stream = within("the admin port", TcpStream::connect(admin)).await.expect("it accepts");
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    within("asking", stream.write_all(format!("{head}{body}").as_bytes())).await.expect("it reads");
    let mut answer = String::new();
    within("the answer", stream.read_to_string(&mut answer)).await.expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}

/// A proxy with an admin port.
pub(crate) struct Proxy {
    pub(crate) process: Spawned,
    pub(crate) admin: SocketAddr,
}

impl Proxy {
    /// Starts a proxy with one route to `upstream`.
    pub(crate) fn start(upstream: &str, more: &[&str], environment: &[(&str, &str)]) -> Self {
        let listen = ["--listen", "127.0.0.1:0", "--upstream", upstream];
        Self::with_routes(1, &[&listen, more].concat(), environment)
    }

    /// Starts a proxy whose `arguments` name `routes` routes.
    pub(crate) fn with_routes(routes: usize, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::run(routes, command(&[&["--admin", "0"], arguments].concat()), environment)
    }

    /// Starts a proxy with one route and exactly these `arguments`, but for the admin port.
    pub(crate) fn as_typed(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::run(1, as_typed(&[&["--admin", "0"], arguments].concat()), environment)
    }

    fn run(routes: usize, mut command: std::process::Command, environment: &[(&str, &str)]) -> Self {
        command.envs(environment.iter().copied());
        let mut process = Spawned::start(command, routes);
        let line = process.wait_for_line("admin port");
        Self { process, admin: super::spawn::address_in(&line).expect("the admin port is TCP") }
    }

    /// The address of its only route.
    pub(crate) fn address(&self) -> SocketAddr {
        self.process.addresses[0]
    }

    /// Sends a request, which begins with the method and the path, and returns the status and the body of the response.
    pub(crate) async fn ask(&self, request: &str, headers: &str, body: &str) -> (u16, String) {
        let (head, body) = self.exchange(request, headers, body).await;
        (head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status"), body)
    }

    /// Sends a request, and returns the head and the body of the response.
    pub(crate) async fn exchange(&self, request: &str, headers: &str, body: &str) -> (String, String) {
        exchange(self.admin, request, headers, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        self.ask(&format!("GET {path}"), "", "").await
    }

    /// Fetches the page of metrics.
    pub(crate) async fn metrics(&self) -> String {
        let (status, page) = self.get("/metrics").await;
        assert_eq!(status, 200);
        page
    }

    /// Waits until all subscribers of so many channels are known to be behind proxies.
    pub(crate) async fn has_proven(&self, channels: usize) {
        let line = format!("redistributed_auto_channels{{verdict=\"proxied\"}} {channels}\n");
        within("the proof", async { while !self.metrics().await.contains(&line) {} }).await;
    }

    /// Begins to read `/tap` with a query such as `?limit=3`, and waits until the tap is open.
    pub(crate) async fn watch(&self, query: &str) -> Watch {
        let mut stream = within("the admin port", TcpStream::connect(self.admin)).await.expect("it accepts");
        // HTTP 1.0 has no chunks, so the lines arrive without their lengths.
        let request = format!("GET /tap{query} HTTP/1.0\r\n\r\n");
        within("asking", stream.write_all(request.as_bytes())).await.expect("it reads");
        let mut watch = Watch(BufReader::new(stream));
        let status = watch.text().await;
        assert!(status.contains(" 200 "), "{status}");
        while !watch.text().await.trim_end().is_empty() {}
        assert_eq!(watch.line().await["watching"], true);
        watch
    }
}

/// A client that reads `/tap`.
pub(crate) struct Watch(BufReader<TcpStream>);

impl Watch {
    /// Reads the next line.
    pub(crate) async fn line(&mut self) -> serde_json::Value {
        let line = self.text().await;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// Reads until the end.
    pub(crate) async fn rest(mut self) -> String {
        let mut rest = String::new();
        within("the end of the tap", self.0.read_to_string(&mut rest)).await.expect("text");
        rest
    }

    pub(crate) async fn text(&mut self) -> String {
        let mut line = String::new();
        within("a line of the tap", self.0.read_line(&mut line)).await.expect("text");
        line
    }
}

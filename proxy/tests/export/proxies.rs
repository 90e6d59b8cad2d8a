//! What the program says of the HTTP proxy on the way to its collector.

use rustix::process::Signal;

use crate::support::admin::Proxy;

/// A collector that is not on this machine, which no test reaches.
const COLLECTOR: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.invalid");

/// Starts the program with these variables, and without those of the test's own environment that name a proxy.
fn start(variables: &[(&str, &str)]) -> Proxy {
    const NONE: [(&str, &str); 5] =
        [("OTEL_TRACES_EXPORTER", "otlp"), COLLECTOR, ("https_proxy", ""), ("ALL_PROXY", ""), ("NO_PROXY", "")];
    Proxy::start("redis://127.0.0.1:1", &[], &[&NONE, variables].concat())
}

#[tokio::test]
async fn the_proxy_in_use_is_among_the_settings_in_force_without_its_credentials() {
    let proxy = start(&[("HTTPS_PROXY", "http://user:hunter2@127.0.0.1:1/")]);
    let (_, page) = proxy.get("/config").await;
    let line = page.lines().find(|line| line.starts_with("HTTPS_PROXY = http://***@127.0.0.1:1 "));
    assert!(line.is_some_and(|line| line.ends_with("# HTTPS_PROXY")), "{page}");
    assert!(!page.contains("hunter2"), "{page}");
}

#[tokio::test]
async fn a_proxy_that_is_not_http_gets_a_line_at_the_start_that_says_what_would_be_followed() {
    for scheme in ["https", "socks5"] {
        let value = format!("{scheme}://user:hunter2@127.0.0.1:1");
        let proxy = start(&[("HTTPS_PROXY", &value)]);
        let (_, page) = proxy.get("/config").await;
        assert!(!page.contains("_PROXY"), "{page}");
        proxy.process.signal(Signal::TERM);
        let log = proxy.process.ended().stderr;
        let says = "is ignored: spans go only through a proxy with http://";
        let line = format!(" WARN HTTPS_PROXY={scheme}://***@127.0.0.1:1 {says}");
        assert!(log.contains(&line) && !log.contains("hunter2"), "{log}");
    }
}

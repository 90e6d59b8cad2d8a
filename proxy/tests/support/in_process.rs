//! The proxy as a task of the test.

use std::ffi::OsString;
use std::net::SocketAddr;

use redistributed::settings::{Options, Settings};
use redistributed::{Report, RunError};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::within;

/// A running proxy. Dropping it ends it at once.
pub(crate) struct InProcess {
    /// The TCP addresses that it listens on, in the order of its routes.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The same of its HTTP ports.
    pub(crate) http: Vec<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<Report, RunError>>,
}

impl InProcess {
    /// Starts a proxy with one route to `upstream`, on a free port, and with `more` arguments. Its spans are discarded.
    pub(crate) async fn start(upstream: &str, more: &[&str]) -> Self {
        Self::with_arguments(&[&["--listen", "127.0.0.1:0", "--upstream", upstream], more].concat()).await
    }

    /// Starts a proxy with these arguments. Its mode is `inject` unless they name another.
    pub(crate) async fn with_arguments(arguments: &[&str]) -> Self {
        let mode: &[&str] = if arguments.contains(&"--mode") { &[] } else { &["--mode", "inject"] };
        // A Redis that the test plays itself should not be asked what it is.
        let quiet = if arguments.contains(&"--detect-proxies") { &[][..] } else { &["--detect-proxies", "off"] };
        let line = ["redistributed"].iter().chain(arguments).chain(mode).chain(quiet).map(OsString::from);
        let args = Options::from_command_line(line).expect("a command line");
        let otel = |name: &str| (name == "OTEL_TRACES_EXPORTER").then(|| "none".to_owned());
        let settings = Settings::new(&args, &otel).expect("settings");
        let listeners = redistributed::bind(&settings).await.expect("free ports");
        let addresses = listeners.routes.iter().filter_map(|listener| listener.socket_address()).collect();
        let http = listeners.http.iter().filter_map(|socket| socket.socket_address()).collect();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(redistributed::run(settings, listeners, async {
            // If the handle is dropped, the proxy is aborted instead of stopped.
            let _ = stopped.await;
        }));
        Self { addresses, http, stop: Some(stop), running }
    }

    /// The address of its only route.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Asks the proxy to stop, and does not wait for that.
    pub(crate) fn begin_to_stop(&mut self) {
        let stop = self.stop.take().expect("was not asked to stop before");
        stop.send(()).expect("the proxy still runs");
    }

    /// Waits for the end of a proxy that was asked to stop, and returns its report.
    pub(crate) async fn ended(mut self) -> Report {
        within("the proxy to end", &mut self.running).await.expect("no panic").expect("no failure")
    }

    /// Stops the proxy, waits for its end, and returns its report.
    pub(crate) async fn stop(mut self) -> Report {
        self.begin_to_stop();
        self.ended().await
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.running.abort();
    }
}

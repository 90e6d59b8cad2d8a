//! `--view`: the page of `redistributed view`, which gets every span that the demo gets.

use std::net::SocketAddr;

use crate::failure::Failure;
use crate::ports;
use crate::processes::{Processes, Role};
use crate::programs::Programs;
use crate::screen::Screen;

const NAME: &str = "viewer";

/// A viewer, which ends after all others, because their last spans are sent on to it.
pub(crate) struct Viewer {
    processes: Processes,
    /// Where it takes spans.
    pub(crate) otlp: SocketAddr,
    /// Where its page is.
    pub(crate) page: SocketAddr,
}

impl Viewer {
    /// Starts it, and returns when it listens.
    pub(crate) async fn start(programs: &Programs, screen: &Screen) -> Result<Self, Failure> {
        let mut processes = Processes::new()?;
        let arguments = ["view", "--listen", ports::ANY, "--otlp-http", ports::ANY, "--otlp-grpc", "off"];
        processes.start(Role::Viewer, NAME, &programs.sidecar, arguments, &[])?;
        let page = processes.address(NAME).await?;
        let otlp = processes.otlp_address(NAME).await?;
        screen.started(NAME, &format!("open http://{page}/"));
        Ok(Self { processes, otlp, page })
    }

    /// Ends the viewer's process, and waits for that.
    ///
    /// # Errors
    /// It did not end with status 0 by itself.
    pub(crate) async fn end(mut self) -> Result<(), Failure> {
        self.processes.end().await
    }
}

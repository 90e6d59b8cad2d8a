//! Whether the listen addresses can be bound, and if not, whether that is because the proxy runs already.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Findings;
use crate::config::settings::{Route, UpstreamTls};
use crate::config::{ListenAddress, Upstream};
use crate::redis::Connection;
use crate::server;
use crate::upstream::Dialer;

const PATIENCE: Duration = Duration::from_secs(2);

const TAKEN: &str = "name another address, or stop what listens there";

/// `run_id` is that of the route's Redis, if it has said so.
pub(super) async fn check(route: &Route, run_id: Option<&str>, findings: &mut Findings) {
    if !can_bind(&route.listen, findings).await {
        match (run_id, served_run_id(&route.listen).await) {
            (Some(ours), Some(theirs)) if ours == theirs => {
                findings.ok("something that leads to this Redis listens there already: a redistributed, most likely");
            }
            (None, Some(_)) => findings.note("a Redis, or what leads to one, listens there already"),
            (_, Some(_)) => findings.problem("another Redis, or what leads to one, listens there", TAKEN),
            (_, None) => findings.problem("something else listens there, or it does not say what it is", TAKEN),
        }
    }
}

/// The same of the admin port.
pub(super) async fn check_admin(address: &ListenAddress, findings: &mut Findings) {
    if !can_bind(address, findings).await {
        match timeout(PATIENCE, index(address)).await {
            Ok(Ok(page)) if page.contains("/healthz") && page.contains("/mode") => {
                findings.ok("the admin port of a redistributed is there already");
            }
            _ => findings.problem("something else listens there", TAKEN),
        }
    }
}

/// Binds it, and lets it go again. False if somebody else has it; every other outcome is said.
async fn can_bind(address: &ListenAddress, findings: &mut Findings) -> bool {
    match server::bind(address).await {
        Ok(_) => findings.ok("can be listened on"),
        Err(error) if error.source.kind() == io::ErrorKind::AddrInUse => return false,
        Err(error) => findings.problem(
            format!("cannot be listened on: {}", error.source),
            "name an address of this machine and a port from 1024 up",
        ),
    }
    true
}

/// The run id of the Redis that answers there.
async fn served_run_id(address: &ListenAddress) -> Option<String> {
    let upstream = Upstream::Tcp(address.host_port().clone());
    let dialer = Dialer::new(&upstream, &UpstreamTls::default(), PATIENCE).ok()?;
    let mut connection = Connection::open(&dialer, None, PATIENCE).await.ok()?;
    let info = connection.call(&[b"INFO", b"server"]).await.ok()?;
    let info = String::from_utf8_lossy(info.text()?).into_owned();
    info.lines().find_map(|line| line.strip_prefix("run_id:")).map(|id| id.trim().to_owned())
}

/// The admin port's first page.
async fn index(address: &ListenAddress) -> io::Result<String> {
    const LONGEST: u64 = 64 * 1024;
    let wanted = address.host_port();
    let mut stream = TcpStream::connect((wanted.host.as_str(), wanted.port)).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: redistributed\r\nConnection: close\r\n\r\n").await?;
    let mut page = Vec::new();
    stream.take(LONGEST).read_to_end(&mut page).await?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

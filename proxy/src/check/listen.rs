//! Whether the listen addresses can be bound, and if not, whether that is because the proxy runs already.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Findings;
use crate::net::key_material::KeyMaterial;
use crate::net::listener::{self, BindError, Listener};
use crate::net::upstream::Dialer;
use crate::redis::{Connection, Error};
use crate::settings::{HostPort, ListenAddress, Settings, Upstream};
use crate::settings::{Login, Route};

const PATIENCE: Duration = Duration::from_secs(2);

/// Who has an address already.
enum Holder {
    /// A Redis, or what leads to one: its run id.
    Redis(String),
    /// The same, that asks for a password.
    Locked,
    /// Something that was not asked: its clients have to believe its certificate.
    Tls,
    /// Something else.
    Stranger,
}

/// `run_id` is that of the route's Redis, if it has said so.
pub(super) async fn check(route: &Route, settings: &Settings, run_id: Option<&str>, findings: &mut Findings) {
    const TAKEN: &str = "name another address, or stop what listens there";
    if let Some(error) = said(Listener::bind(route, settings).await.map(drop), findings) {
        match (run_id, holder(&route.listen, settings).await) {
            (Some(ours), Holder::Redis(theirs)) if ours == theirs => {
                findings.ok("something that leads to this Redis listens there already: a redistributed, most likely");
            }
            (Some(_), Holder::Redis(_)) => {
                findings.problem("another Redis, or what leads to one, listens there", TAKEN)
            }
            (None, Holder::Redis(_)) => findings.note("a Redis, or what leads to one, listens there already"),
            (_, Holder::Locked) => {
                findings.note("something that asks for a password as Redis does listens there already");
            }
            (_, Holder::Tls) => {
                findings.note("something listens there already; whether it is a redistributed was not asked")
            }
            (_, Holder::Stranger) => findings.problem(error.problem, error.remedy),
        }
    }
}

/// The same of the admin port.
pub(super) async fn check_admin(address: &HostPort, findings: &mut Findings) {
    if let Some(error) = said(listener::bind("--admin", address).await.map(drop), findings) {
        match timeout(PATIENCE, index(address)).await {
            Ok(Ok(page)) if page.contains("/healthz") && page.contains("/mode") => {
                findings.ok("the admin port of a redistributed is there already");
            }
            _ => findings.problem(error.problem, error.remedy),
        }
    }
}

/// Says whether an address can be had, unless somebody else has it: then that is returned.
fn said(bound: Result<(), BindError>, findings: &mut Findings) -> Option<BindError> {
    match bound {
        Ok(()) => findings.ok("can be listened on"),
        Err(error) if error.source.kind() == io::ErrorKind::AddrInUse => return Some(error),
        Err(error) => findings.problem(format!("{}: {}", error.problem, error.source), error.remedy),
    }
    None
}

/// Asks what listens there. It gets no password: nobody knows who it is.
async fn holder(address: &ListenAddress, settings: &Settings) -> Holder {
    let upstream = match address {
        ListenAddress::Tcp(address) => Upstream::Tcp(address.clone()),
        ListenAddress::Unix(path) => Upstream::Unix(path.clone()),
        ListenAddress::Tls(_) => return Holder::Tls,
    };
    let route = Route { name: None, listen: address.clone(), upstream, login: Login::default() };
    let Ok(dialer) = Dialer::new(&route, settings, &KeyMaterial::default()) else { return Holder::Stranger };
    let Ok(mut connection) = Connection::open(&dialer.within(PATIENCE), None, PATIENCE).await else {
        return Holder::Stranger;
    };
    let info = match connection.call(&[b"INFO", b"server"]).await {
        Ok(info) => String::from_utf8_lossy(info.text().unwrap_or_default()).into_owned(),
        Err(Error::Refused(refusal)) if matches!(refusal.code(), "NOAUTH" | "NOPERM") => return Holder::Locked,
        Err(_) => return Holder::Stranger,
    };
    let run_id = info.lines().find_map(|line| line.strip_prefix("run_id:"));
    run_id.map_or(Holder::Stranger, |id| Holder::Redis(id.trim().to_owned()))
}

/// The admin port's first page.
async fn index(address: &HostPort) -> io::Result<String> {
    const LONGEST: u64 = 64 * 1024;
    let mut stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: redistributed\r\nConnection: close\r\n\r\n").await?;
    let mut page = Vec::new();
    stream.take(LONGEST).read_to_end(&mut page).await?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

//! Whether the addresses to listen on can be bound, and if not, whether that is because a proxy runs there already.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::Findings;
use crate::net::key_material::KeyMaterial;
use crate::net::listener::{BindError, Listener, PassedSockets, Socket};
use crate::net::stream::Stream;
use crate::net::upstream::Dialer;
use crate::redis::{Connection, Error};
use crate::settings::http::HTTP;
use crate::settings::{HttpPort, ListenAddress, Settings, Upstream};
use crate::settings::{Login, Route};

/// The longest wait for an answer from whatever listens on an address.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What listens on an address already.
enum Occupant {
    /// It is a Redis, or a proxy that leads to one.
    Redis { run_id: String },
    /// It is the same, but asks for a password.
    RedisWithPassword,
    /// It may speak TLS, and was not asked, because that may need a certificate that the check does not have.
    NotAsked,
    /// It is something else.
    Other,
}

/// Checks the address of `route`. `run_id` identifies the route's Redis, if that is known.
pub(super) async fn check(route: &Route, settings: &Settings, run_id: Option<&str>, findings: &mut Findings) {
    const REMEDY: &str = "name another address, or stop what listens there";
    let bound = Listener::bind(route, settings, &mut PassedSockets::default()).await.map(drop);
    let Some(error) = report_unless_in_use(bound, findings) else { return };
    match (run_id, occupant(&route.listen, settings).await) {
        (Some(ours), Occupant::Redis { run_id }) if ours == run_id => {
            findings.ok("something that leads to this Redis listens there already: a redistributed, most likely");
        }
        (Some(_), Occupant::Redis { .. }) => {
            findings.problem("another Redis, or what leads to one, listens there", REMEDY);
        }
        (None, Occupant::Redis { .. }) => findings.note("a Redis, or what leads to one, listens there already"),
        (_, Occupant::RedisWithPassword) => {
            findings.note("something that asks for a password as Redis does listens there already");
        }
        (_, Occupant::NotAsked) => {
            findings.note("something listens there already; whether it is a redistributed was not asked");
        }
        (_, Occupant::Other) => findings.problem(error.problem, error.remedy),
    }
}

/// Checks the address of an HTTP port, and whether the service behind it can be reached.
pub(super) async fn check_http(port: &HttpPort, settings: &Settings, findings: &mut Findings) {
    const REMEDY: &str =
        "clients are refused until it listens there; start it, or correct the second address of --http";
    let bound = Socket::bind(HTTP, &port.listen, settings.socket_mode, &mut PassedSockets::default()).await.map(drop);
    if let Some(error) = report_unless_in_use(bound, findings) {
        findings.problem(error.problem, error.remedy);
    }
    let dialer = Dialer::to_service(&port.service, settings).within(TIMEOUT);
    match dialer.connect().await {
        Ok(_) => findings.about(port.service_url()).ok("the service accepts connections"),
        Err(error) => {
            let text = format!("the service does not accept connections: {}", error.source);
            findings.about(port.service_url()).warning(text, REMEDY);
        }
    }
}

/// Checks the address of the admin port.
pub(super) async fn check_admin(address: &ListenAddress, settings: &Settings, findings: &mut Findings) {
    let bound = Socket::bind("--admin", address, settings.socket_mode, &mut PassedSockets::default()).await.map(drop);
    let Some(error) = report_unless_in_use(bound, findings) else { return };
    match timeout(TIMEOUT, admin_index(address)).await {
        Ok(Ok(page)) if page.contains("/healthz") && page.contains("/mode") => {
            findings.ok("the admin port of a redistributed is there already");
        }
        _ => findings.problem(error.problem, error.remedy),
    }
}

/// Reports whether an address could be bound, unless something else has bound it. In that case the error is returned.
fn report_unless_in_use(bound: Result<(), BindError>, findings: &mut Findings) -> Option<BindError> {
    match bound {
        Ok(()) => findings.ok("can be listened on"),
        Err(error) if error.source.kind() == io::ErrorKind::AddrInUse => return Some(error),
        Err(error) => findings.problem(format!("{}: {}", error.problem, error.source), error.remedy),
    }
    None
}

/// Asks what listens on `address`, without a password: it could be anything.
async fn occupant(address: &ListenAddress, settings: &Settings) -> Occupant {
    let upstream = match address {
        ListenAddress::Tcp(address) => Upstream::Tcp(address.clone()),
        ListenAddress::Unix(path) => Upstream::Unix(path.clone()),
        ListenAddress::Tls(_) => return Occupant::NotAsked,
    };
    let route = Route { name: None, listen: address.clone(), upstream, login: Login::default() };
    let Ok(dialer) = Dialer::new(&route, settings, &KeyMaterial::default()) else { return Occupant::Other };
    let Ok(mut connection) = Connection::open(&dialer.within(TIMEOUT), None, TIMEOUT).await else {
        return Occupant::Other;
    };
    match connection.call(&[b"INFO", b"server"]).await {
        Ok(info) => match info.info_field("run_id") {
            Some(run_id) => Occupant::Redis { run_id: run_id.to_owned() },
            None => Occupant::Other,
        },
        Err(Error::Refused(refusal)) if matches!(refusal.code(), "NOAUTH" | "NOPERM") => Occupant::RedisWithPassword,
        Err(_) => Occupant::Other,
    }
}

/// Fetches the first page of an admin port, or at least the beginning of it.
async fn admin_index(address: &ListenAddress) -> io::Result<String> {
    /// The length of the page that is read at most, in bytes.
    const MAX_LEN: u64 = 64 * 1024;
    let mut stream = match address {
        ListenAddress::Tcp(at) | ListenAddress::Tls(at) => {
            Stream::Tcp(TcpStream::connect((at.host.as_str(), at.port)).await?)
        }
        ListenAddress::Unix(path) => Stream::Unix(UnixStream::connect(path).await?),
    };
    stream.write_all(b"GET / HTTP/1.1\r\nHost: redistributed\r\nConnection: close\r\n\r\n").await?;
    let mut page = Vec::new();
    stream.take(MAX_LEN).read_to_end(&mut page).await?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

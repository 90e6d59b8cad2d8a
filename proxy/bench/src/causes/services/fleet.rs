//! One run: Redis, an API and a worker of one kind, each behind a sidecar, and the collector.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use otlp_receiver::Receiver;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::judge::{Judgement, judge};
use super::load::{self, KINDS, Load, USERS};
use super::witness::{Witness, now};
use crate::failure::Failure;
use crate::options::Services;
use crate::processes::{Process, free_address};

/// How long a service is watched before its answers are counted: the sidecar says nothing for five seconds, because the service may
/// have been at work before it.
const WARM_UP: Duration = Duration::from_secs(6);

/// How long a worker may take to subscribe.
const PATIENCE: Duration = Duration::from_secs(30);

/// A kind of services.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Threads,
    Asyncio,
    Node,
    Rust,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Threads, Self::Asyncio, Self::Node, Self::Rust];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Threads => "threads",
            Self::Asyncio => "asyncio",
            Self::Node => "node",
            Self::Rust => "rust",
        }
    }

    /// The program and its arguments.
    fn command(self, programs: &Services) -> (PathBuf, Vec<PathBuf>) {
        let source = |name: &str| vec![programs.services.join(name)];
        match self {
            Self::Threads => (programs.python.clone(), source("threads.py")),
            Self::Asyncio => (programs.python.clone(), source("aio.py")),
            Self::Node => (PathBuf::from("node"), source("node.js")),
            Self::Rust => (programs.plain_service.clone(), Vec::new()),
        }
    }
}

/// How many requests are in work at once, on average, and for how long a service pauses at most between two steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub(super) at_once: u32,
    pub(super) pause: Duration,
    /// For how long answers are counted.
    pub(super) lasts: Duration,
}

impl Level {
    pub(super) const ALL: [Self; 3] = [
        Self { at_once: 1, pause: Duration::from_millis(30), lasts: Duration::from_secs(7) },
        Self { at_once: 10, pause: Duration::from_millis(150), lasts: Duration::from_secs(7) },
        Self { at_once: 100, pause: Duration::from_millis(700), lasts: Duration::from_secs(8) },
    ];

    /// Requests a second: a request pauses 0.85 times as long as one pause can be, on average.
    fn rate(self) -> f64 {
        f64::from(self.at_once) / (0.85 * self.pause.as_secs_f64() + 0.01)
    }
}

/// A service, its sidecar, and the relays around that.
struct Member {
    service: Process,
    sidecar: Process,
    witness: Arc<Witness>,
    _relays: [JoinSet<()>; 2],
}

struct Fleet<'a> {
    programs: &'a Services,
    folder: &'a Path,
    redis: SocketAddr,
    collector: Receiver,
}

/// Runs one kind of services at one level. Returns what the answers of the API and of the worker are worth.
pub(super) async fn run(programs: &Services, kind: Kind, level: Level) -> Result<[Judgement; 2], Failure> {
    let folder = tempfile::Builder::new().prefix("redistributed-causes-").tempdir().map_err(Failure::Folder)?;
    let redis = start_redis(programs, folder.path())?;
    fill(redis.address).await.map_err(Failure::io("filling Redis"))?;
    let collector = Receiver::start().await.map_err(Failure::io("starting the collector"))?;
    let fleet = Fleet { programs, folder: folder.path(), redis: redis.address, collector };
    let mut worker = fleet.member(kind, level, "worker", None).await?;
    let port = free_address()?;
    let mut api = fleet.member(kind, level, "api", Some(port)).await?;
    let subscribed = wait_for_subscribers(redis.address).await;
    for member in [&mut worker, &mut api] {
        member.check()?;
    }
    subscribed?;

    let load = |lasts, seed| Load { rate: level.rate(), lasts, seed };
    load::run(port, load(WARM_UP, 1)).await?;
    let since = now();
    load::run(port, load(level.lasts, 2)).await?;
    // What workers still do.
    tokio::time::sleep(3 * level.pause).await;
    let [api, worker] = [api, worker].map(Member::stop);
    let (api, worker) = (api?, worker?);
    let spans = fleet.collector.spans();
    let judged = |name, witness: &Witness| match witness.failure() {
        Some(failure) => Err(Failure::Worse(format!("{name}: {failure}"))),
        None => judge(name, &spans, &witness.sent(), since),
    };
    Ok([judged("api", &api)?, judged("worker", &worker)?])
}

impl Member {
    /// Fails if anything has gone wrong so far.
    fn check(&mut self) -> Result<(), Failure> {
        self.service.check()?;
        self.sidecar.check()?;
        self.witness.failure().map_or(Ok(()), |failure| Err(Failure::Worse(failure)))
    }

    /// Ends the service and then the sidecar, which exports all that it knows. Returns what is true of them.
    fn stop(self) -> Result<Arc<Witness>, Failure> {
        drop(self.service);
        self.sidecar.terminate()?;
        Ok(self.witness)
    }
}

impl Fleet<'_> {
    /// Starts a service behind a sidecar. Its clients connect to `port`, if it has any.
    async fn member(&self, kind: Kind, level: Level, role: &str, port: Option<SocketAddr>) -> Result<Member, Failure> {
        let witness = Arc::<Witness>::default();
        let bind = async || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(Failure::Port);
        let address = |listener: &TcpListener| listener.local_addr().map_err(Failure::Port);
        let (near, far, listen, own_port) = (bind().await?, bind().await?, free_address()?, free_address()?);
        let (near_address, far_address) = (address(&near)?, address(&far)?);
        let relays = [witness.near(near, listen), witness.far(far, self.redis)];

        let mut arguments = vec!["--listen".to_owned(), listen.to_string()];
        arguments.extend(["--upstream".to_owned(), format!("redis://{far_address}")]);
        arguments.extend(["--mode", "inject", "--follow", "parent", "--commands", "caused"].map(str::to_owned));
        arguments.extend(port.iter().flat_map(|port| ["--http".to_owned(), format!("{port},{own_port}")]));
        let collector = self.collector.http_endpoint();
        let environment = [("OTEL_SERVICE_NAME", role), ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector)];
        let program = &self.programs.redistributed;
        let sidecar =
            Process::start(&format!("sidecar of {role}"), self.folder, program, arguments, &environment, listen)?;

        let (program, arguments) = kind.command(self.programs);
        let environment = [
            ("ROLE", role),
            ("PAUSE", &level.pause.as_secs_f64().to_string()),
            ("PORT", &own_port.port().to_string()),
            ("REDIS_URL", &format!("redis://{near_address}")),
            ("NODE_PATH", &self.programs.node_modules.to_string_lossy()),
        ];
        let name = format!("{role} ({})", kind.name());
        let service = match port {
            Some(_) => Process::start(&name, self.folder, &program, arguments, &environment, own_port)?,
            None => Process::start_silent(&name, self.folder, &program, arguments, &environment)?,
        };
        Ok(Member { service, sidecar, witness, _relays: relays })
    }
}

fn start_redis(programs: &Services, folder: &Path) -> Result<Process, Failure> {
    let address = free_address()?;
    let port = address.port().to_string();
    let arguments = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
    Process::start("redis-server", folder, &programs.redis_server, arguments, &[], address)
}

/// What is there before anything is asked: users, rates, and the number of the last order.
async fn fill(redis: SocketAddr) -> std::io::Result<()> {
    let mut commands = vec![vec!["SET".to_owned(), "orders:seq".to_owned(), "100000".to_owned()]];
    let cities = ["Graz", "Lyon", "Porto", "Turku"];
    for (user, city) in (0..USERS).zip(cities.iter().cycle()) {
        commands.push(vec!["SET".to_owned(), format!("user:u{user}"), format!("{{\"city\":\"{city}\"}}")]);
    }
    for (rate, kind) in (2..).zip(KINDS) {
        commands.push(vec!["SET".to_owned(), format!("rate:{kind}"), rate.to_string()]);
    }
    let mut stream = TcpStream::connect(redis).await?;
    for command in &commands {
        call(&mut stream, command).await?;
    }
    Ok(())
}

/// Sends a command and returns its reply.
async fn call(stream: &mut TcpStream, words: &[impl AsRef<[u8]>]) -> std::io::Result<Vec<u8>> {
    use tokio::io::AsyncReadExt;

    stream.write_all(&super::wire::array(b'*', words)).await?;
    let mut reply = Vec::new();
    while super::wire::length(&reply).is_none() {
        if stream.read_buf(&mut reply).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(reply)
}

/// Waits until both services have subscribed.
async fn wait_for_subscribers(redis: SocketAddr) -> Result<(), Failure> {
    let wait = async {
        let mut stream = TcpStream::connect(redis).await?;
        while call(&mut stream, &["PUBSUB", "CHANNELS"]).await?.first_chunk() != Some(b"*3\r\n") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    waited.map_err(std::io::Error::from).and_then(|result| result).map_err(Failure::io("waiting for subscriptions"))
}

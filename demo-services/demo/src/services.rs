//! The cast: the API and the workers, each behind a sidecar process of its own.
//!
//! A service is told where "Redis" is, which is its sidecar, and nothing else. The API's clients find its sidecar, too.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use otlp_receiver::Receiver;

use crate::client::ApiClient;
use crate::failure::Failure;
use crate::processes::{Processes, Role};
use crate::programs::Programs;
use crate::screen::Screen;
use crate::{ports, redis, sidecar};

/// The kinds of the Rust workers.
const KINDS: [&str; 4] = ["summary", "chart", "table", "page"];
/// The kind of the Python worker.
const PYTHON_KIND: &str = "archive";

/// How many channels the services use.
const CHANNELS: usize = 2;

/// How long after a worker's last work a sidecar waits for more, before it hands over the span of a delivery: longer than a job
/// waits while the worker makes the parts of nineteen others.
const FOLLOW_WINDOW: &str = "5s";

/// The API's `service.name`.
pub(crate) const API: &str = "api";

/// Who is on the stage.
pub(crate) struct Cast {
    pub(crate) api: ApiClient,
    /// Each worker's `service.name`.
    pub(crate) workers: Vec<String>,
}

/// A service and what it takes to run it.
struct Service {
    name: String,
    program: PathBuf,
    argument: Option<PathBuf>,
    /// Where it listens for HTTP behind its sidecar, if it does.
    http: Option<SocketAddr>,
    environment: Vec<(&'static str, String)>,
    language: &'static str,
}

/// Starts everything and returns when all workers have subscribed and the API answers.
pub(crate) async fn start(
    programs: &Programs,
    screen: &Screen,
    receiver: &Receiver,
    processes: &mut Processes,
) -> Result<Cast, Failure> {
    let services = services(programs, ports::free()?);
    let workers: Vec<String> = services.iter().map(|service| service.name.clone()).filter(|name| name != API).collect();

    let redis = redis::start(processes, &programs.redis).await?;
    screen.started("redis", &format!("redis://{redis}"));

    for service in &services {
        start_sidecar(processes, &programs.sidecar, service, redis, receiver)?;
    }
    let mut sidecars = Vec::new();
    for service in &services {
        sidecars.push(processes.address(&sidecar_name(&service.name)).await?);
    }
    for (service, sidecar) in services.iter().zip(&sidecars) {
        let what = "Redis answers PING through it";
        processes.wait_until(&sidecar_name(&service.name), what, async || redis::answers(*sidecar).await).await?;
    }
    for (service, sidecar) in services.iter().zip(&sidecars) {
        let url = format!("redis://{sidecar}");
        let mut environment = vec![("REDIS_URL", url.as_str())];
        environment.extend(service.environment.iter().map(|(key, value)| (*key, value.as_str())));
        processes.start(Role::Service, &service.name, &service.program, service.argument.iter(), &environment)?;
        screen.started(&service.name, &format!("{}, REDIS_URL={url} (its sidecar)", service.language));
    }

    let client = ApiClient::new(processes.http_address(&sidecar_name(API)).await?);
    screen.started("", &format!("clients reach the api at {} (its sidecar)", client.url()));
    processes.wait_until(API, "GET /health is answered 200", async || client.is_healthy().await).await?;
    let everyone = Some(workers.len());
    let subscribed = async || redis::subscribers(redis, redis::JOBS).await == everyone;
    processes.wait_until("workers", "all have subscribed to `reports`", subscribed).await?;
    let listening = async || redis::subscribers(redis, redis::ANNOUNCEMENTS).await == Some(1);
    processes.wait_until(API, "it has subscribed to `reports.done`", listening).await?;
    for service in &services {
        let name = sidecar_name(&service.name);
        let admin = processes.admin_address(&name).await?;
        let knows = async || sidecar::knows_subscribers(admin, CHANNELS).await;
        processes.wait_until(&name, "it knows that all subscribers are behind sidecars", knows).await?;
    }
    Ok(Cast { api: client, workers })
}

fn services(programs: &Programs, http: SocketAddr) -> Vec<Service> {
    let mut services = vec![Service {
        name: API.to_owned(),
        program: programs.api.clone(),
        argument: None,
        http: Some(http),
        environment: vec![("LISTEN", http.to_string())],
        language: "Rust",
    }];
    services.extend(KINDS.map(|kind| Service {
        name: format!("worker-{kind}"),
        program: programs.worker.clone(),
        argument: None,
        http: None,
        environment: vec![("KIND", kind.to_owned())],
        language: "Rust",
    }));
    if let Some((python, worker)) = programs.python_worker.clone() {
        services.push(Service {
            name: format!("worker-{PYTHON_KIND}"),
            program: python,
            argument: Some(worker),
            http: None,
            environment: vec![("KIND", PYTHON_KIND.to_owned())],
            language: "Python",
        });
    }
    services
}

fn start_sidecar(
    processes: &mut Processes,
    program: &Path,
    service: &Service,
    redis: SocketAddr,
    receiver: &Receiver,
) -> Result<(), Failure> {
    let upstream = format!("redis://{redis}");
    let mut arguments = vec!["--listen", ports::ANY, "--upstream", &upstream, "--admin", "0"];
    arguments.extend(["--follow-window", FOLLOW_WINDOW]);
    let http = service.http.map(|address| format!("{},{address}", ports::ANY));
    if let Some(http) = &http {
        // The client learns from the answer which trace is its request's.
        arguments.extend(["--http", http, "--http-answer", "traceresponse"]);
    }
    let environment = [
        ("OTEL_SERVICE_NAME", service.name.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.http_endpoint()),
        // The trees are waited for; the default would make that a second.
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
    ];
    processes.start(Role::Sidecar, &sidecar_name(&service.name), program, arguments, &environment)
}

fn sidecar_name(service: &str) -> String {
    format!("sidecar-of-{service}")
}

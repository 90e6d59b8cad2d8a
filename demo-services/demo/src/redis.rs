//! The demo's own Redis, and questions to it that do not pass through a sidecar.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::failure::Failure;
use crate::ports;
use crate::processes::{Processes, Role};

/// The channel of the jobs.
pub(crate) const JOBS: &str = "reports";
/// The channel of the workers' announcements.
pub(crate) const ANNOUNCEMENTS: &str = "reports.done";

/// How long one question may take.
const ANSWER_DEADLINE: Duration = Duration::from_secs(1);

/// How often it is started: another program may take the port that was chosen for it before it does.
const ATTEMPTS: usize = 5;

const NAME: &str = "redis";

/// Starts a Redis that keeps nothing on disk, and returns where it listens.
pub(crate) async fn start(processes: &mut Processes, program: &Path) -> Result<SocketAddr, Failure> {
    let mut attempt = 1;
    loop {
        let address = ports::free()?;
        match start_at(processes, program, address).await {
            Err(Failure::Died { .. }) if attempt < ATTEMPTS => processes.forget(NAME),
            other => return other.map(|()| address),
        }
        attempt += 1;
    }
}

async fn start_at(processes: &mut Processes, program: &Path, address: SocketAddr) -> Result<(), Failure> {
    let (port, folder) = (address.port().to_string(), processes.folder().display().to_string());
    let arguments = [
        "--bind",
        "127.0.0.1",
        "--port",
        &port,
        "--dir",
        &folder,
        "--save",
        "",
        "--appendonly",
        "no",
        "--daemonize",
        "no",
    ];
    processes.start(Role::Redis, NAME, program, arguments, &[])?;
    // Another one may answer there.
    let own = processes.id(NAME).map(|id| format!("process_id:{id}"));
    let is_own = async || {
        let info = ask::<String>(address, redis::cmd("INFO").arg("server").clone()).await;
        info.is_some_and(|info| info.lines().any(|line| own.as_deref() == Some(line)))
    };
    processes.wait_until(NAME, "it answers INFO", is_own).await
}

/// Whether what listens at `address` answers PING as Redis does: Redis itself, or a sidecar that reaches it.
pub(crate) async fn answers(address: SocketAddr) -> bool {
    ask::<String>(address, redis::cmd("PING")).await.is_some()
}

/// How many connections are subscribed to `channel`.
pub(crate) async fn subscribers(address: SocketAddr, channel: &str) -> Option<usize> {
    let mut numsub = redis::cmd("PUBSUB");
    numsub.arg("NUMSUB").arg(channel);
    ask::<(String, usize)>(address, numsub).await.map(|(_, count)| count)
}

/// One question over a connection of its own; `None` whatever goes wrong, because the only use is to ask again.
async fn ask<T: redis::FromRedisValue>(address: SocketAddr, question: redis::Cmd) -> Option<T> {
    let answer = async {
        let client = redis::Client::open(format!("redis://{address}"))?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        question.query_async(&mut connection).await
    };
    tokio::time::timeout(ANSWER_DEADLINE, answer).await.ok()?.ok()
}

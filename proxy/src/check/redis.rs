//! Whether a Redis can be reached, what it is, and what of it matters to the proxy.

use std::time::{Duration, Instant};

use redistributed_core::Policy;
use redistributed_core::policy::Mode;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::{Findings, PATIENCE, rights, subscribers};
use crate::clock;
use crate::net::upstream::Dialer;
use crate::redis::{Connection, Error, Reply};
use crate::settings::{Settings, Upstream};

/// Clocks further apart than this make traces of several machines hard to read.
const FAR: Duration = Duration::from_millis(100);

/// What to do where something else than Redis seems to be.
const NO_ANSWER: &str = "check that Redis listens there, TLS or not, and --upstream-cert if it asks for a certificate";

/// How often the time is asked for: the answer that came soonest tells most.
const TIME_QUESTIONS: usize = 5;

/// Says what there is to say, and returns the server's run id, which tells it from every other.
pub(super) async fn check(dialer: &Dialer, settings: &Settings, findings: &mut Findings) -> Option<String> {
    let policy = &settings.policy;
    resolve(dialer.upstream(), findings).await?;
    let started = Instant::now();
    let (mut connection, known) = match log_in(dialer, findings).await {
        Ok(opened) => opened,
        Err(error) => {
            findings.problem(format!("cannot be reached: {error}"), "check the address, TLS, and that Redis runs");
            return None;
        }
    };
    let took = started.elapsed();
    // A connection that this breaks does not answer PING either.
    if known && let Err(error @ Error::Database { .. }) = connection.select_as_for_services(dialer).await {
        findings.problem(error.to_string(), "check the number behind the URL, Redis's `databases`, and its ACL");
    }
    match connection.call(&[b"PING"]).await {
        Ok(_) => findings.ok(format!("reached in {}", millis(took))),
        Err(Error::Refused(refusal)) if matches!(refusal.code(), "NOAUTH" | "NOPERM") => {
            let what = "it asks for a password, which services send themselves, so nothing more can be looked at";
            findings.note(format!("reached in {}; {what}", millis(took)));
            return None;
        }
        Err(Error::Refused(refusal)) => {
            findings.problem(format!("refuses PING ({})", refusal.code()), "see what Redis itself says of it");
            return None;
        }
        Err(error) => {
            findings.problem(format!("does not answer: {error}"), NO_ANSWER);
            return None;
        }
    }
    let run_id = match describe(&mut connection, settings, findings).await {
        Described::Redis { run_id } => run_id,
        Described::Sentinel => return None,
    };
    longest_value(&mut connection, policy, findings).await;
    clock_offset(&mut connection, findings).await;
    subscribers::check(&mut connection, policy, findings).await;
    if policy.uses(Mode::Auto) {
        rights::check(&mut connection, findings).await;
    }
    run_id
}

/// Connects, with the proxy's credentials if it has some. If they are wrong, without, and that is said beside it.
async fn log_in(dialer: &Dialer, findings: &mut Findings) -> Result<(Connection, bool), Error> {
    const REMEDY: &str = "check the URL, --upstream-username and --upstream-password-file";
    let credentials = dialer.credentials();
    let open = Connection::open(dialer, credentials.as_ref(), PATIENCE).await;
    let Err(Error::Credentials(code)) = &open else { return open.map(|connection| (connection, true)) };
    let text = format!("does not accept the credentials that the proxy was given ({code})");
    if dialer.logs_clients_in().is_some() {
        findings.problem(text, REMEDY);
    } else {
        findings.warning(text, REMEDY);
    }
    Ok((Connection::open(dialer, None, PATIENCE).await?, false))
}

async fn resolve(upstream: &Upstream, findings: &mut Findings) -> Option<()> {
    let (Upstream::Tcp(address) | Upstream::Tls(address)) = upstream else { return Some(()) };
    let resolved = timeout(PATIENCE, lookup_host((address.host.as_str(), address.port))).await;
    let problem = match resolved {
        Ok(Ok(addresses)) => match addresses.count() {
            0 => "it has no address".to_owned(),
            _ => return Some(()),
        },
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {PATIENCE:?}"),
    };
    findings.problem(format!("the name cannot be resolved: {problem}"), "check the name, and the DNS of this machine");
    None
}

/// What a server says of itself.
enum Described {
    Redis { run_id: Option<String> },
    Sentinel,
}

/// Kind, version, role and protocol.
async fn describe(connection: &mut Connection, settings: &Settings, findings: &mut Findings) -> Described {
    let info = match connection.call(&[b"INFO"]).await {
        Ok(reply) => String::from_utf8_lossy(reply.text().unwrap_or_default()).into_owned(),
        Err(error) => {
            findings.note(format!("does not say what it is: {}", code(&error)));
            return Described::Redis { run_id: None };
        }
    };
    let field = |name: &str| {
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.trim();
        Some(value).filter(|value| !value.is_empty())
    };
    // Valkey's name for it comes second.
    if ["redis_mode", "server_mode"].into_iter().any(|name| field(name) == Some("sentinel")) {
        findings.problem(
            "it is a Sentinel, not a Redis: it tells where Redis is, and holds no channels",
            "name the Redis itself",
        );
        return Described::Sentinel;
    }
    let kind = match field("server_name") {
        Some(name) => format!("{name} {}", field("valkey_version").unwrap_or("of unknown version")),
        None => format!("Redis {}", field("redis_version").unwrap_or("of unknown version")),
    };
    let role = field("role").unwrap_or("unknown");
    let replicas = field("connected_slaves").unwrap_or("0");
    // Without arguments it changes nothing.
    let resp3 = if connection.call(&[b"HELLO"]).await.is_ok() { "RESP2 and RESP3" } else { "RESP2 only" };
    let role_said = if role == "slave" { "replica" } else { role };
    findings.ok(format!("{kind}, role {role_said}, replicas {replicas}, {resp3}"));
    if role == "slave" {
        findings.warning(
            "it is a replica: what is published here reaches only its own subscribers",
            "name the master, unless services behind this proxy only subscribe",
        );
    }
    let in_cluster = field("cluster_enabled") == Some("1");
    if in_cluster {
        findings.warning(
            "it is a node of a cluster: clients that follow its redirections go past the proxy",
            "see `Redis Cluster and Sentinel` in proxy/docs/limits.md",
        );
    }
    if settings.policy.uses(Mode::Auto) {
        const NEVER: &str = "mode auto never adds a context here";
        if in_cluster {
            findings.warning(
                format!("{NEVER}: other nodes of the cluster have subscribers that cannot be counted"),
                "use mode inject on channels whose subscribers are all behind a redistributed",
            );
        } else if (role != "master" || replicas != "0") && !settings.auto.ignore_replicas {
            findings.warning(
                format!("{NEVER}: subscribers on replicas cannot be counted"),
                "set --auto-ignore-replicas if nobody subscribes there",
            );
        }
    }
    Described::Redis { run_id: field("run_id").map(str::to_owned) }
}

/// `proto-max-bulk-len` against `--inject-limit`.
async fn longest_value(connection: &mut Connection, policy: &Policy, findings: &mut Findings) {
    const NAME: &str = "proto-max-bulk-len";
    let reply = connection.call(&[b"CONFIG", b"GET", NAME.as_bytes()]).await;
    let limit = match &reply {
        Ok(reply) => reply.elements().and_then(|pair| std::str::from_utf8(pair.get(1)?.text()?).ok()?.parse().ok()),
        Err(_) => None,
    };
    let ours = policy.inject_limit;
    match limit {
        Some(limit) if ours > limit => findings.problem(
            format!("{NAME} is {limit} bytes, and --inject-limit {ours}: a publish in between would be refused"),
            "set --inject-limit to no more than it, on every sidecar",
        ),
        Some(limit) => findings.ok(format!("{NAME} is {limit} bytes, --inject-limit {ours}")),
        None if ours > redistributed_core::policy::DEFAULT_INJECT_LIMIT => findings.warning(
            format!("{NAME} cannot be read, and --inject-limit is {ours} bytes"),
            "make sure that it is not above it: a longer publish would be refused",
        ),
        None => findings.note(format!("{NAME} cannot be read; --inject-limit is below the least that it can be")),
    }
}

/// How far the server's clock is from this machine's, by the quickest of a few answers.
async fn clock_offset(connection: &mut Connection, findings: &mut Findings) {
    let mut best: Option<(u64, i128)> = None;
    for _ in 0..TIME_QUESTIONS {
        let (started, before) = (Instant::now(), clock::wall().0);
        let Ok(reply) = connection.call(&[b"TIME"]).await else { return };
        let took = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let Some(theirs) = nanos(&reply) else { return };
        let middle = i128::from(before) + i128::from(took / 2);
        if best.is_none_or(|(least, _)| took < least) {
            best = Some((took, i128::from(theirs) - middle));
        }
    }
    let Some((took, offset)) = best else { return };
    let (apart, bound) = (Duration::from_nanos(u64::try_from(offset.unsigned_abs()).unwrap_or(u64::MAX)), took / 2);
    let direction = if offset < 0 { "behind" } else { "ahead of" };
    let text = format!(
        "its clock is {} {direction} this machine's, give or take {}",
        millis(apart),
        millis(Duration::from_nanos(bound))
    );
    if apart > FAR.saturating_add(Duration::from_nanos(bound)) {
        findings.warning(text, "synchronise the clocks: spans of services on machines so far apart seem out of order");
    } else {
        findings.ok(text);
    }
}

/// The answer to `TIME`: seconds and microseconds.
fn nanos(reply: &Reply) -> Option<u64> {
    let number = |at: usize| std::str::from_utf8(reply.elements()?.get(at)?.text()?).ok()?.parse::<u64>().ok();
    number(0)?.checked_mul(1_000_000_000)?.checked_add(number(1)?.checked_mul(1_000)?)
}

/// An error as it may be shown, of a command without secrets.
pub(super) fn code(error: &Error) -> String {
    match error {
        Error::Refused(refusal) => refusal.code().to_owned(),
        error => error.to_string(),
    }
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

//! Whether a Redis can be reached, and which of its properties matter to the proxy.

use std::time::{Duration, Instant};

use redistributed_core::Policy;
use redistributed_core::policy::Mode;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::{Findings, TIMEOUT, permissions, redacted, subscribers};
use crate::clock;
use crate::endpoint::redis::nature_of;
use crate::entropy::Entropy;
use crate::net::hop::Nature;
use crate::net::upstream::Dialer;
use crate::redis::{Connection, Error, Reply};
use crate::settings::{Settings, Upstream};

/// With clocks further apart than this, traces of several machines are hard to read.
const MAX_CLOCK_OFFSET: Duration = Duration::from_millis(100);

/// How often Redis is asked for its time. The reply that came fastest tells the offset most exactly.
const TIME_SAMPLES: usize = 5;

const REMEDY_FOR_NO_ANSWER: &str =
    "check that Redis listens there, TLS or not, and --upstream-cert if it asks for a certificate";

/// Reports on the Redis of `dialer`, and returns its run id, which identifies the server.
pub(super) async fn check(dialer: &Dialer, settings: &Settings, findings: &mut Findings) -> Option<String> {
    let policy = &settings.policy;
    check_name(dialer.upstream(), findings).await?;
    let mut connection = connect(dialer, findings).await?;
    check_nature(dialer, settings, findings).await;
    let info = match connection.call(&[b"INFO"]).await {
        Ok(info) => info,
        Err(error) => {
            findings.note(format!("does not say what it is: {}", redacted(&error)));
            Reply::Null
        }
    };
    if is_sentinel(&info) {
        findings.problem(
            "it is a Sentinel, not a Redis: it tells where Redis is, and holds no channels",
            "name the Redis itself",
        );
        return None;
    }
    if info != Reply::Null {
        check_properties(&mut connection, &info, settings, findings).await;
    }
    check_longest_value(&mut connection, policy, findings).await;
    check_clock(&mut connection, findings).await;
    subscribers::check(&mut connection, policy, findings).await;
    if policy.uses(Mode::Auto) {
        permissions::check(&mut connection, findings).await;
    }
    field(&info, "run_id").map(str::to_owned)
}

/// Whether the name of the upstream can be resolved.
async fn check_name(upstream: &Upstream, findings: &mut Findings) -> Option<()> {
    let (Upstream::Tcp(address) | Upstream::Tls(address)) = upstream else { return Some(()) };
    let problem = match timeout(TIMEOUT, lookup_host((address.host.as_str(), address.port))).await {
        Ok(Ok(addresses)) => match addresses.count() {
            0 => "it has no address".to_owned(),
            _ => return Some(()),
        },
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {TIMEOUT:?}"),
    };
    findings.problem(format!("the name cannot be resolved: {problem}"), "check the name, and the DNS of this machine");
    None
}

/// Whether the upstream is another proxy.
async fn check_nature(dialer: &Dialer, settings: &Settings, findings: &mut Findings) {
    let Ok(mut ids) = Entropy::from_os() else { return };
    if nature_of(dialer, &mut ids).await != Nature::Proxy {
        return;
    }
    if settings.detect_proxies && !settings.policy.uses(Mode::Observe) {
        findings.note("it is another redistributed, which leaves the messages of this proxy's clients to this proxy");
    } else {
        findings.warning(
            "it is another redistributed, which is not told of this one: it removes the contexts that this one would read",
            "set --detect-proxies on and a mode other than observe here, or mode observe there",
        );
    }
}

/// Connects, logs in, and tries whether Redis answers. Returns `None` if nothing more can be found out.
async fn connect(dialer: &Dialer, findings: &mut Findings) -> Option<Connection> {
    let started = Instant::now();
    let (mut connection, logged_in) = match open(dialer, findings).await {
        Ok(opened) => opened,
        Err(error) => {
            report_unreachable(&error, findings);
            return None;
        }
    };
    let elapsed = started.elapsed();
    // If this breaks the connection, PING fails too and is reported.
    if logged_in && let Err(error @ Error::Database { .. }) = connection.select_as_for_services(dialer).await {
        findings.problem(error.to_string(), "check the number behind the URL, Redis's `databases`, and its ACL");
    }
    match connection.call(&[b"PING"]).await {
        Ok(_) => {
            findings.ok(format!("reached in {}", millis(elapsed)));
            return Some(connection);
        }
        Err(Error::Refused(refusal)) if matches!(refusal.code(), "NOAUTH" | "NOPERM") => {
            let what = "it asks for a password, which services send themselves, so nothing more can be looked at";
            findings.note(format!("reached in {}; {what}", millis(elapsed)));
        }
        Err(Error::Refused(refusal)) => {
            findings.problem(format!("refuses PING ({})", refusal.code()), "see what Redis itself says of it");
        }
        Err(error @ Error::AtTheDoor(_)) => report_unreachable(&error, findings),
        Err(error) => findings.problem(format!("does not answer: {error}"), REMEDY_FOR_NO_ANSWER),
    }
    None
}

fn report_unreachable(error: &Error, findings: &mut Findings) {
    match error {
        Error::AtTheDoor(said) if said.starts_with("DENIED") => findings.problem(
            format!("takes no connection from another machine: {said}"),
            "set a password on Redis, or `protected-mode no`",
        ),
        Error::AtTheDoor(said) => findings.problem(
            format!("takes no more connections: {said}"),
            "raise Redis's `maxclients`, or find in CLIENT LIST who holds so many",
        ),
        error => findings.problem(format!("cannot be reached: {error}"), "check the address, TLS, and that Redis runs"),
    }
}

/// Opens a connection with the proxy's credentials. If Redis does not accept them, reports that and opens a connection
/// without. Returns whether the proxy's credentials were accepted, which they are too if it has none.
async fn open(dialer: &Dialer, findings: &mut Findings) -> Result<(Connection, bool), Error> {
    const REMEDY: &str = "check the URL, --upstream-username and --upstream-password-file";
    let credentials = dialer.credentials();
    let opened = Connection::open(dialer, credentials.as_ref(), TIMEOUT).await;
    let Err(Error::Credentials(code)) = &opened else { return opened.map(|connection| (connection, true)) };
    let text = format!("does not accept the credentials that the proxy was given ({code})");
    if dialer.logs_clients_in().is_some() {
        findings.problem(text, REMEDY);
    } else {
        findings.warning(text, REMEDY);
    }
    Ok((Connection::open(dialer, None, TIMEOUT).await?, false))
}

/// A field of `INFO` that is not empty.
fn field<'a>(info: &'a Reply, name: &str) -> Option<&'a str> {
    info.info_field(name).filter(|value| !value.is_empty())
}

fn is_sentinel(info: &Reply) -> bool {
    // Redis and Valkey have different names for the field.
    ["redis_mode", "server_mode"].into_iter().any(|name| field(info, name) == Some("sentinel"))
}

/// Reports the kind of the server, its version, its role and its protocols.
async fn check_properties(connection: &mut Connection, info: &Reply, settings: &Settings, findings: &mut Findings) {
    let kind = match field(info, "server_name") {
        Some(name) => format!("{name} {}", field(info, "valkey_version").unwrap_or("of unknown version")),
        None => format!("Redis {}", field(info, "redis_version").unwrap_or("of unknown version")),
    };
    let role = field(info, "role").unwrap_or("unknown");
    let role_name = if role == "slave" { "replica" } else { role };
    let replicas = field(info, "connected_slaves").unwrap_or("0");
    // HELLO without arguments changes nothing.
    let protocols = if connection.call(&[b"HELLO"]).await.is_ok() { "RESP2 and RESP3" } else { "RESP2 only" };
    findings.ok(format!("{kind}, role {role_name}, replicas {replicas}, {protocols}"));
    if role == "slave" {
        findings.warning(
            "it is a replica: what is published here reaches only its own subscribers",
            "name the master, unless services behind this proxy only subscribe",
        );
    }
    let in_cluster = field(info, "cluster_enabled") == Some("1");
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
}

/// Whether Redis accepts payloads as long as the proxy makes them.
async fn check_longest_value(connection: &mut Connection, policy: &Policy, findings: &mut Findings) {
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

/// Whether the clocks of the server and of this machine agree.
async fn check_clock(connection: &mut Connection, findings: &mut Findings) {
    // The shortest round trip in nanoseconds, and the offset that was measured with it.
    let mut best: Option<(u64, i128)> = None;
    for _ in 0..TIME_SAMPLES {
        let (started, before) = (Instant::now(), clock::wall().0);
        let Ok(reply) = connection.call(&[b"TIME"]).await else { return };
        let round_trip = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let Some(server_time) = unix_nanos(&reply) else { return };
        let our_time = i128::from(before) + i128::from(round_trip / 2);
        if best.is_none_or(|(shortest, _)| round_trip < shortest) {
            best = Some((round_trip, i128::from(server_time) - our_time));
        }
    }
    let Some((round_trip, offset)) = best else { return };
    let distance = Duration::from_nanos(u64::try_from(offset.unsigned_abs()).unwrap_or(u64::MAX));
    let uncertainty = Duration::from_nanos(round_trip / 2);
    let direction = if offset < 0 { "behind" } else { "ahead of" };
    let text =
        format!("its clock is {} {direction} this machine's, give or take {}", millis(distance), millis(uncertainty));
    if distance > MAX_CLOCK_OFFSET.saturating_add(uncertainty) {
        findings.warning(text, "synchronise the clocks: spans of services on machines so far apart seem out of order");
    } else {
        findings.ok(text);
    }
}

/// Reads a reply to `TIME`: seconds and microseconds.
fn unix_nanos(reply: &Reply) -> Option<u64> {
    let number = |at: usize| std::str::from_utf8(reply.elements()?.get(at)?.text()?).ok()?.parse::<u64>().ok();
    number(0)?.checked_mul(1_000_000_000)?.checked_add(number(1)?.checked_mul(1_000)?)
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

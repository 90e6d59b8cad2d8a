//! The servers that the tests run against.
//!
//! `REDISTRIBUTED_TEST_SERVERS` lists them in the form `NAME=PROGRAM NAME=PROGRAM …`, which `.ci/ensure-servers`
//! prints. If it is not set, the only server is the `redis-server` on PATH; in continuous integration that is an error.
//! `REDISTRIBUTED_TEST_SERVER` names the server for tests that use only one, by default the first.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// A program that can be started as Redis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    /// The kind and version: `valkey-9.1`.
    pub(crate) name: String,
    pub(crate) program: PathBuf,
}

/// All servers, in the order of the variable.
///
/// # Panics
/// If the variable is malformed, or not set in continuous integration.
pub(crate) fn all() -> &'static [Server] {
    static ALL: OnceLock<Vec<Server>> = OnceLock::new();
    ALL.get_or_init(|| match std::env::var("REDISTRIBUTED_TEST_SERVERS") {
        Ok(list) => named(&list),
        Err(_) if std::env::var("CI").is_ok_and(|ci| ci == "true") => {
            panic!("REDISTRIBUTED_TEST_SERVERS is not set: eval \"$(.ci/ensure-servers)\"")
        }
        Err(_) => vec![on_path()],
    })
}

/// The server for tests that use only one.
///
/// # Panics
/// If `REDISTRIBUTED_TEST_SERVER` names none of [`all`].
pub(crate) fn chosen() -> &'static Server {
    let all = all();
    match std::env::var("REDISTRIBUTED_TEST_SERVER") {
        Ok(name) => all.iter().find(|server| server.name == name).unwrap_or_else(|| {
            panic!(
                "REDISTRIBUTED_TEST_SERVER={name} is not among {:?}",
                all.iter().map(|one| &one.name).collect::<Vec<_>>()
            )
        }),
        Err(_) => &all[0],
    }
}

impl Server {
    /// Whether this is a Redis before 7.2, which sends a client its own message before the reply to the publish.
    pub(crate) fn delivers_before_it_replies(&self) -> bool {
        self.name.starts_with("redis-7.0")
    }
}

fn named(list: &str) -> Vec<Server> {
    let servers: Vec<Server> = list
        .split_whitespace()
        .map(|entry| {
            let (name, program) = entry.split_once('=').unwrap_or_else(|| panic!("{entry:?} is not NAME=PROGRAM"));
            Server { name: name.to_owned(), program: program.into() }
        })
        .collect();
    assert!(!servers.is_empty(), "REDISTRIBUTED_TEST_SERVERS names no server");
    servers
}

/// The system's `redis-server`, with the version that it states itself.
fn on_path() -> Server {
    let program = PathBuf::from("redis-server");
    let output = Command::new(&program).arg("--version").output().unwrap_or_else(|error| {
        panic!("cannot start redis-server, which these tests need (apt-get install redis-server): {error}")
    });
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_once(" v=").map(|(_, after)| after).unwrap_or_default();
    let short: Vec<&str> = version.split('.').take(2).collect();
    let kind = if text.starts_with("Valkey") { "valkey" } else { "redis" };
    Server { name: format!("{kind}-{}", short.join(".")), program }
}

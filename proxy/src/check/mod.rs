//! `redistributed check`: tries everything that the settings name before services rely on it.
//!
//! The check has connections of its own and changes nothing. It reads from Redis, and sends the collector a request without
//! spans. For mode `auto` it also tries the permissions that the mode needs (see `permissions`). What it cannot find out,
//! because Redis asks for a password or an ACL forbids it, is a note and not a problem. No finding contains a payload or a
//! secret.
//!
//! | module | what is checked |
//! |---|---|
//! | `redis` | each Redis: whether it can be reached, and which of its properties matter to the proxy |
//! | `subscribers` | the subscribers that would see contexts |
//! | `permissions` | the permissions that mode `auto` needs |
//! | `listen` | the addresses to listen on, and the services behind HTTP ports |
//! | `collector` | whether the collector accepts spans |

mod collector;
mod listen;
mod permissions;
mod redis;
mod report;
mod subscribers;

use std::time::Duration;

use crate::files::FileError;
use crate::net::key_material::KeyMaterial;
use crate::net::upstream::Dialer;
use crate::redis::Error;
use crate::settings::Settings;

pub use report::report;

/// The longest wait for one reply.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It is as it should be.
    Ok,
    /// The operator should know it; nothing is wrong.
    Note,
    /// It works, but not as well as it could.
    Warning,
    /// Something does not work as the settings ask.
    Problem,
}

impl Level {
    /// The name of the level in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }

    /// The exit code of a check whose worst finding has this level. Code 2 is kept for settings that cannot be used.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Ok | Self::Note => 0,
            Self::Warning => 1,
            Self::Problem => 3,
        }
    }
}

/// What the check has found out about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The severity of the finding.
    pub level: Level,
    /// The thing that it is about: `redis://cache:6379`.
    pub about: String,
    /// What was found out.
    pub text: String,
    /// What to do about it, if there is something to do.
    pub remedy: Option<&'static str>,
}

/// Collects findings.
#[derive(Default)]
struct Findings {
    /// What the next findings are about.
    about: String,
    all: Vec<Finding>,
}

impl Findings {
    fn about(&mut self, about: impl ToString) -> &mut Self {
        self.about = about.to_string();
        self
    }

    fn add(&mut self, level: Level, text: impl Into<String>, remedy: Option<&'static str>) {
        self.all.push(Finding { level, about: self.about.clone(), text: text.into(), remedy });
    }

    fn ok(&mut self, text: impl Into<String>) {
        self.add(Level::Ok, text, None);
    }

    fn note(&mut self, text: impl Into<String>) {
        self.add(Level::Note, text, None);
    }

    fn warning(&mut self, text: impl Into<String>, remedy: &'static str) {
        self.add(Level::Warning, text, Some(remedy));
    }

    fn problem(&mut self, text: impl Into<String>, remedy: &'static str) {
        self.add(Level::Problem, text, Some(remedy));
    }
}

/// Checks everything that `settings` name, one after the other. Needs a tokio runtime with time and I/O.
///
/// # Errors
/// A file that the settings name cannot be used. Nothing has been checked then.
pub async fn run(settings: &Settings) -> Result<Vec<Finding>, FileError> {
    let material = KeyMaterial::read(settings)?;
    let mut findings = Findings::default();
    for warning in &settings.warnings {
        findings.about("settings").add(Level::Warning, warning.clone(), None);
    }
    // The upstreams that have been checked, each with the run id of its Redis. Several routes may share one.
    let mut checked: Vec<(_, Option<String>)> = Vec::new();
    for route in &settings.routes {
        let upstream = (&route.upstream, &route.login);
        let run_id = match checked.iter().find(|(other, _)| *other == upstream) {
            Some((_, run_id)) => run_id.clone(),
            None => {
                let dialer = Dialer::new(route, settings, &material)?;
                let run_id = redis::check(&dialer, settings, findings.about(&route.upstream)).await;
                checked.push((upstream, run_id.clone()));
                run_id
            }
        };
        listen::check(route, settings, run_id.as_deref(), findings.about(&route.listen)).await;
    }
    for port in &settings.http {
        listen::check_http(port, settings, findings.about(port.listen_url())).await;
    }
    if let Some(address) = &settings.admin.address {
        listen::check_admin(address, settings, findings.about(format!("admin port {address}"))).await;
    }
    collector::check(settings, findings.about("collector")).await;
    Ok(findings.all)
}

/// The level of the most severe finding.
pub fn worst(findings: &[Finding]) -> Level {
    findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
}

/// An error without the text of Redis's reply, which may repeat arguments of the command.
fn redacted(error: &Error) -> String {
    match error {
        Error::Refused(refusal) => refusal.code().to_owned(),
        error => error.to_string(),
    }
}

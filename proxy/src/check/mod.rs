//! `redistributed check`: tries everything that the settings name, before it is relied on.
//!
//! Everything is asked on connections of its own, and nothing is changed: Redis is read from (in mode `auto` what this needs
//! is tried too, see `rights`), and the collector gets a request without spans. What cannot be found out, because Redis
//! asks for a password or an ACL forbids it, is said and is no mistake. No payload and no secret is in a finding.

mod collector;
mod listen;
mod redis;
mod report;
mod rights;
mod subscribers;

use std::time::Duration;

use crate::files::FileError;
use crate::net::key_material::KeyMaterial;
use crate::net::upstream::Dialer;
use crate::settings::Settings;

pub use report::report;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// It works, but not as well as it could.
    Warning,
    /// It does not work.
    Problem,
}

impl Level {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }

    /// Exit code of a check whose worst finding has it; 2 is for settings that cannot be used.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Ok | Self::Note => 0,
            Self::Warning => 1,
            Self::Problem => 3,
        }
    }
}

/// One sentence about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// What it is about, as in `redis://cache:6379`.
    pub about: String,
    /// What was found.
    pub text: String,
    /// What to do, if there is something.
    pub remedy: Option<&'static str>,
}

/// What has been found so far, and what the next finding is about.
#[derive(Default)]
struct Findings {
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

/// Tries everything, one after the other. Inside a tokio runtime with time and I/O.
///
/// # Errors
/// A file that the settings name cannot be used: nothing could be tried.
pub async fn run(settings: &Settings) -> Result<Vec<Finding>, FileError> {
    let material = KeyMaterial::read(settings)?;
    let mut findings = Findings::default();
    for warning in &settings.warnings {
        findings.about("settings").add(Level::Warning, warning.clone(), None);
    }
    let mut tried = Vec::new();
    for route in &settings.routes {
        // Several routes may lead to one Redis in the same way, about which there is only one thing to say.
        let way = (&route.upstream, &route.login);
        let known =
            tried.iter().find(|(other, _)| *other == way).map(|(_, run_id): &(_, Option<String>)| run_id.clone());
        let run_id = match known {
            Some(run_id) => run_id,
            None => {
                let dialer = Dialer::new(route, settings, &material)?;
                let run_id = redis::check(&dialer, settings, findings.about(&route.upstream)).await;
                tried.push((way, run_id.clone()));
                run_id
            }
        };
        listen::check(route, settings, run_id.as_deref(), findings.about(&route.listen)).await;
    }
    if let Some(address) = &settings.admin {
        listen::check_admin(address, findings.about(format!("admin port {address}"))).await;
    }
    collector::check(settings, findings.about("collector")).await;
    Ok(findings.all)
}

/// What the worst finding says.
pub fn worst(findings: &[Finding]) -> Level {
    findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
}

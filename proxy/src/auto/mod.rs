//! Mode `auto`: contexts only where every subscriber is known to be behind a proxy.
//!
//! ```text
//! sessions ── subscriptions, as confirmed ──▶ ledger ──▶ presence ══ markers ══▶ Redis
//!                                                                                  │
//! sessions ◀─ who gets this publish? ─ watch ◀── judge ◀── survey ◀══ snapshots ═══╯
//!        └─── a reply with another number of receivers ──▶ watch
//! ```
//!
//! | module | what it knows |
//! |---|---|
//! | `marker` | what proxies tell each other, as names of channels |
//! | `ledger` | how many connections of this proxy are subscribed to what |
//! | `presence` | keeps Redis told of it |
//! | `herald` | tells other proxies at once of subscriptions that have ended |
//! | `survey` | takes snapshots of who is subscribed, and who is announced |
//! | `known` | the markers that were found, so that a search is needed seldom |
//! | `judge` | the verdict from snapshots: pure, and where the reasoning is written down |
//! | `watch` | the verdicts, for the sessions to ask at each publish |
//! | `home` | which server all this is about |
//!
//! Unknown always means that no context is added. All these connections to Redis are the proxy's own, and are made only
//! when they are needed.

pub mod herald;
pub mod home;
pub mod judge;
mod known;
pub mod ledger;
pub mod marker;
mod presence;
mod survey;
pub mod watch;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redistributed_core::Session;
use redistributed_core::policy::Mode;
use redistributed_core::service::{Audience, Audiences, Subscription, SubscriptionKind, Unknown};
use redistributed_core::trace::Ids;
use tokio::task::JoinSet;

use crate::entropy::Entropy;
use crate::live_policy::LivePolicy;
use crate::logging::Throttle;
use crate::net::upstream::Dialer;
use crate::redis::{Connection, Error, ProtocolError};
use crate::settings::auto::AutoSettings;
use crate::workers::Workers;
use herald::Retractions;
use home::{Home, Server, Whereabouts};
use ledger::{Ledger, Registration};
use marker::ProxyId;
use watch::Watch;

/// What is known of the subscribers of one route's Redis, and what Redis is told of this route's.
#[derive(Debug)]
pub struct Evidence {
    settings: AutoSettings,
    policy: Arc<LivePolicy>,
    dialer: Dialer,
    workers: Arc<Workers>,
    ids: Mutex<Entropy>,
    home: Arc<Home>,
    ledger: Arc<Ledger>,
    watch: Watch,
    retractions: Retractions,
}

impl Evidence {
    /// Of a route; nothing is known, and nothing happens before [`start`](Self::start).
    pub fn new(
        settings: AutoSettings,
        policy: Arc<LivePolicy>,
        dialer: Dialer,
        workers: Arc<Workers>,
        ids: Entropy,
    ) -> Arc<Self> {
        let home = Arc::<Home>::default();
        Arc::new(Self {
            settings,
            policy,
            dialer,
            workers,
            ids: Mutex::new(ids),
            ledger: Ledger::new(Arc::clone(&home)),
            home,
            watch: Watch::default(),
            retractions: Retractions::default(),
        })
    }

    /// Begins to announce and to ask, as far as the policy in force needs it, as tasks of `tasks`.
    pub fn start(self: &Arc<Self>, tasks: &mut JoinSet<()>) {
        tasks.spawn(presence::run(Arc::clone(self)));
        tasks.spawn(survey::run(Arc::clone(self)));
        tasks.spawn(herald::run(Arc::clone(self)));
    }

    /// A connection of a service to Redis, which has `peer` at its other end.
    pub fn connection(self: &Arc<Self>, peer: Option<SocketAddr>) -> Participant {
        let whereabouts = self.home.note(peer);
        let registration = self.announces().then(|| self.ledger.open(whereabouts));
        Participant { evidence: Arc::clone(self), whereabouts, registration }
    }

    /// What is known of the channels on which something is published in mode `auto`.
    pub fn verdicts(&self) -> watch::Verdicts {
        self.watch.verdicts()
    }

    fn announces(&self) -> bool {
        self.settings.announce || self.policy.current().uses(Mode::Auto)
    }

    /// A connection of the proxy's own, and where it leads.
    async fn connect(&self) -> Result<(Connection, Server), Error> {
        /// Longest wait for an answer: longer ones are of no use for this.
        const PATIENCE: Duration = Duration::from_secs(5);
        let mut connection = Connection::open(&self.dialer, self.dialer.credentials().as_ref(), PATIENCE).await?;
        let info = connection.call(&[b"INFO", b"server"]).await?;
        let run_id = survey::field(&info, "run_id").ok_or(ProtocolError::Unexpected)?.into();
        let peer = connection.peer();
        Ok((connection, Server { peer, run_id }))
    }

    fn new_id(&self) -> ProxyId {
        ProxyId(self.ids.lock().unwrap_or_else(PoisonError::into_inner).trace_id().low_u64())
    }
}

/// One connection of a service, as far as evidence is concerned.
#[derive(Debug)]
pub struct Participant {
    evidence: Arc<Evidence>,
    whereabouts: Whereabouts,
    /// While its subscriptions are announced.
    registration: Option<Registration>,
}

impl Participant {
    /// Has the session ask here, and report here if its subscriptions are announced.
    pub fn attend(&self, session: &mut Session) {
        let (evidence, whereabouts) = (Arc::clone(&self.evidence), self.whereabouts);
        session.set_audiences(Arc::new(Publisher { evidence, whereabouts }));
        if self.registration.is_some() {
            session.report_subscriptions();
        }
    }

    /// Takes over what the session reports.
    pub fn reported(&self, reports: impl Iterator<Item = Subscription>, contradicted: impl Iterator<Item = u64>) {
        if let Some(registration) = &self.registration {
            reports.for_each(|report| registration.apply(report));
        }
        contradicted.for_each(|token| self.evidence.watch.contradict(token));
    }

    /// Whether the connection is not being read, because its client does not take what has come.
    pub fn stalled(&self, stalled: bool) {
        if let Some(registration) = &self.registration {
            registration.stalled(stalled);
        }
    }

    /// One of its sides has ended or failed: its subscriptions are over, or soon will be.
    pub fn ended(&self) {
        if let Some(registration) = &self.registration {
            registration.close();
        }
    }
}

/// What a session asks.
#[derive(Debug)]
struct Publisher {
    evidence: Arc<Evidence>,
    whereabouts: Whereabouts,
}

impl Audiences for Publisher {
    fn audience(&self, channel: &[u8], sharded: bool) -> Result<Audience, Unknown> {
        let kind = if sharded { SubscriptionKind::Shard } else { SubscriptionKind::Channel };
        let audience = self.evidence.watch.audience(kind, channel)?;
        if self.evidence.home.holds(self.whereabouts) { Ok(audience) } else { Err(Unknown::NoEvidence) }
    }
}

/// What one of the proxy's own connections is for.
#[derive(Clone, Copy)]
struct Doing {
    what: &'static str,
    /// What it means if that fails.
    without: &'static str,
}

/// What goes wrong with one of the proxy's own connections: said once, and then seldom.
#[derive(Default)]
struct Trouble {
    throttle: Throttle,
    failures: u32,
}

impl Trouble {
    fn report(&mut self, evidence: &Evidence, error: &Error, doing: Doing) {
        self.failures = self.failures.saturating_add(1);
        let Some(more) = self.throttle.admit(Instant::now()) else { return };
        let upstream = evidence.dialer.upstream();
        let Doing { what, without } = doing;
        match error {
            // EXECABORT: a right is missing for what was queued, or for EXEC itself.
            Error::Refused(refusal) if matches!(refusal.code(), "NOPERM" | "NOAUTH" | "EXECABORT") => tracing::warn!(
                %upstream, %error, more,
                "mode auto needs more rights than the proxy has on Redis ({what}); {without}. They are listed in \
                 proxy/docs/auto.md"
            ),
            _ => {
                tracing::warn!(%upstream, %error, more, "mode auto cannot ask Redis ({what}); until it can, {without}")
            }
        }
    }

    fn settled(&mut self, evidence: &Evidence, doing: Doing) {
        let what = doing.what;
        self.failures = 0;
        if let Some(more) = self.throttle.settle(Instant::now()) {
            tracing::warn!(upstream = %evidence.dialer.upstream(), more, "mode auto can ask Redis again ({what})");
        }
    }

    /// How long to wait before the next attempt.
    fn delay(&self, error: &Error, period: Duration) -> Duration {
        match error {
            // Rights change by hand.
            Error::Refused(_) | Error::Credentials(_) => presence::delay(u32::MAX, period),
            _ => presence::delay(self.failures, period),
        }
    }
}

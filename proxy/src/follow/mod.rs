//! Following causes: what a service sends is attributed to what it has received (`--follow`).
//!
//! ```text
//! session ──▶ FollowedConnection ─┐
//! session ──▶ FollowedConnection ─┼─▶ Follow (one lock) ─▶ Causes (the core's inference)
//! HTTP    ──▶ FollowedRequests   ─┘      │
//!                                        ▼
//!                                 waiting spans: deliveries that may still cause work or be acknowledged,
//!                                 commands whose cause may become known
//! ```
//!
//! All connections of a service report to one [`Follow`], whatever thread they are on. The lock is held for the microseconds
//! that an event takes, and never across anything that waits. With `--follow off` there is none.
//!
//! A service that sends so much that this would cost it something is left alone for a while (`budget`).

mod access;
mod arrivals;
mod budget;
mod connection;
mod contexts;
mod deliveries;
mod finished;
mod ids;
mod lateness;
mod messages;
mod queue;
mod requests;
mod seen;
mod spans;
mod waited;
mod waiting;
mod writers;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redistributed_core::carrier::out_of_band::{CompanionChannel, Notice};
use redistributed_core::causes::{Causes, HashKey, Tally};
use redistributed_core::http::witness::Witnesses;
use redistributed_core::policy::{Follow as Mode, Policy, Relation};
use redistributed_core::trace::{Context, SpanContext, SpanRecord, UnixNanos};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::clock;
use crate::live_policy::LivePolicy;
use crate::out_of_band::Hearer;
use crate::settings::FollowSettings;
use crate::telemetry::{Connection, SpanSink};
use crate::workers::Workers;
use arrivals::{Arrivals, Held, Own, Settled};
use budget::{Budget, PAUSE};
pub use connection::FollowedConnection;
use contexts::Contexts;
use deliveries::{Origin, Windows};
use finished::{Finished, Found};
use messages::Messages;
use requests::Requests;
use seen::Seen;
pub use spans::FollowedSpans;
use waited::Waited;
use waiting::Waiting;
pub use writers::Writers;
use writers::WritersOf;

/// How often spans are looked at that may have waited for long enough.
const TICK: Duration = Duration::from_millis(50);

/// The same while messages wait for their contexts, which are certain some milliseconds after they have come.
const QUICK_TICK: Duration = Duration::from_millis(10);

/// How often the time is told while nothing happens, nothing is remembered and no span waits.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// What the connections of a service know together of causes.
pub struct Follow {
    policy: Arc<LivePolicy>,
    key: HashKey,
    windows: Windows,
    connections: AtomicU32,
    /// Who has written what in all services of the process, if reads are linked to it.
    writers: Option<Arc<Writers>>,
    /// Whether events are reported. Those that were not reported meanwhile are missing when they are again.
    is_on: AtomicBool,
    /// Whether a client of the service has ever waited for an item of a list or a sorted set.
    has_waited: AtomicBool,
    /// Whether messages without a context are worth to be named, because somebody may tell it.
    are_messages_awaited: AtomicBool,
    /// Until when nothing is followed, because there was too much.
    paused_until: AtomicU64,
    /// Told of the first event after nothing has happened.
    woken: Notify,
    state: Mutex<Option<Box<State>>>,
}

struct State {
    causes: Causes,
    contexts: Contexts,
    waiting: Waiting,
    arrivals: Arrivals,
    messages: Messages,
    seen: Seen,
    waited: Waited,
    budget: Budget,
    /// Whether nothing happens, nothing is remembered and no span waits, so that the next event has to wake [`Follow::run`].
    is_idle: bool,
}

/// How soon spans have to be looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// Nothing has happened since the last time, nothing waits, and nothing has to be forgotten in time.
    Idle,
    Calm,
    /// Messages wait for their contexts.
    Quick,
}

/// A span that waits for what may still become known of it, and where it is to be left then.
#[derive(Debug)]
struct Leaving {
    record: SpanRecord,
    connection: Connection,
    sink: SpanSink,
}

impl Leaving {
    /// Leaves the span in its sink, dated by the wall clock.
    fn leave(mut self) {
        clock::date(&mut self.record);
        self.sink.offer_all(std::iter::once(&self.record), &self.connection);
    }
}

impl Follow {
    /// Begins with nothing known of the service. Tokens are hashed with `key`, which nobody else knows. `settings` say how long
    /// spans wait. With `writers`, which all services share, what is read is linked to those who have written it.
    pub fn new(
        policy: Arc<LivePolicy>,
        key: [u8; 16],
        settings: FollowSettings,
        writers: Option<Arc<Writers>>,
    ) -> Arc<Self> {
        let nanos = |window: Duration| u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        let windows = Windows { work: nanos(settings.window), ack: nanos(settings.ack_window) };
        Arc::new(Self {
            policy,
            key: HashKey::new(key),
            windows,
            connections: AtomicU32::new(0),
            writers,
            is_on: AtomicBool::new(false),
            has_waited: AtomicBool::new(false),
            are_messages_awaited: AtomicBool::new(true),
            paused_until: AtomicU64::new(0),
            woken: Notify::new(),
            state: Mutex::default(),
        })
    }

    /// Follows a further connection of the service to `redis`, which is what the settings call it.
    pub fn connection(self: &Arc<Self>, redis: impl fmt::Display) -> FollowedConnection {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let writers =
            self.writers.as_ref().map(|writers| WritersOf::new(Arc::clone(writers), redis.to_string().into()));
        FollowedConnection::new(Arc::clone(self), number, writers)
    }

    /// What is told of the requests of the service's HTTP connections.
    pub fn requests(self: &Arc<Self>) -> Arc<dyn Witnesses> {
        Arc::new(Requests(Arc::clone(self)))
    }

    /// How often each answer was given. `None` if nothing was followed so far.
    pub fn tally(&self) -> Option<Tally> {
        self.state().as_ref().map(|state| *state.causes.tally())
    }

    /// The numbers of deliveries and of commands whose spans wait. Deliveries that are only measured do not count.
    pub fn waiting(&self) -> (usize, usize) {
        self.state().as_ref().map_or((0, 0), |state| state.waiting.len())
    }

    /// Hands over the spans that have waited for long enough. This never ends, because while connections drain their spans are awaited
    /// as before; at the very end, [`flush`](Self::flush) hands over those that still wait.
    /// Whose message is whose is decided when the `workers`, which carry the connections, have read what had come.
    pub async fn run(self: Arc<Self>, workers: Arc<Workers>) {
        let mut pace = Pace::Idle;
        loop {
            self.pause(pace).await;
            let now = clock::now();
            let waits = self.state().as_ref().is_some_and(|state| !state.messages.is_empty());
            // While a thread hangs, only that is not decided.
            let has_read = !waits || timeout(TICK, workers.turn()).await.is_ok();
            pace = self.tick_with(now, self.windows, if has_read { now } else { UnixNanos(0) });
        }
    }

    /// Waits until spans are to be looked at. A proxy whose service does nothing is woken once a second.
    async fn pause(&self, pace: Pace) {
        if pace == Pace::Idle && timeout(IDLE_TICK, self.woken.notified()).await.is_err() {
            return;
        }
        match pace {
            Pace::Idle => sleep(QUICK_TICK).await,
            // The first message that waits wakes it.
            Pace::Calm => drop(timeout(TICK, self.woken.notified()).await),
            Pace::Quick => sleep(QUICK_TICK).await,
        }
    }

    /// Tells what waits that it is `now`. Returns how soon it has to be told again.
    #[cfg(test)]
    fn tick(&self, now: UnixNanos) -> Pace {
        self.tick_with(now, self.windows, now)
    }

    /// Tells what waits that it is `now`, where deliveries wait for so long, and that connections have read what had come by
    /// `read_until`. Returns how soon it has to be told again.
    fn tick_with(&self, now: UnixNanos, windows: Windows, read_until: UnixNanos) -> Pace {
        let policy = self.policy.current();
        let (finished, untold, pace) = {
            let mut state = self.state();
            let Some(state) = state.as_mut() else { return Pace::Idle };
            state.causes.forget_old(now);
            state.contexts.forget_old(now);
            let is_unused = state.budget.is_unused();
            if !state.budget.is_kept(now) {
                self.paused_until.store(now.0.saturating_add(PAUSE), Ordering::Relaxed);
                tracing::info!(
                    "a service sends and receives too much to follow causes: they are not followed for a while"
                );
            }
            let due = state.take_certain(now, read_until);
            self.are_messages_awaited.store(state.messages.are_awaited(), Ordering::Relaxed);
            let mut finished = state.settle(now, due, &policy);
            for held in state.arrivals.take_held(now) {
                finished.extend(state.release(now, held));
            }
            finished.extend(state.waiting.take_due(now, windows, |delivery| state.arrivals.has_to_wait(delivery)));
            let untold = state.waiting.take_untold(now);
            let is_forgotten = state.causes.remembers_nothing() && state.contexts.is_empty();
            let waits = !state.waiting.is_empty() || !state.arrivals.is_empty() || !state.messages.is_empty();
            state.is_idle = is_unused && is_forgotten && !waits;
            let pace = match (state.is_idle, state.messages.is_empty()) {
                (true, _) => Pace::Idle,
                (false, true) => Pace::Calm,
                (false, false) => Pace::Quick,
            };
            (finished, untold, pace)
        };
        untold.iter().for_each(|(span, sink)| sink.tell(span));
        self.hand_over(finished);
        pace
    }

    /// Hands over all spans that wait.
    pub fn flush(&self) {
        let (now, policy) = (UnixNanos(u64::MAX), self.policy.current());
        let finished = self.state().as_mut().map(|state| {
            let due = state.take_certain(now, clock::now());
            let mut finished = state.settle(clock::now(), due, &policy);
            finished.extend(state.waiting.take_all());
            finished
        });
        self.hand_over(finished.unwrap_or_default());
    }

    fn hand_over(&self, finished: Vec<Finished>) {
        if finished.is_empty() {
            return;
        }
        let policy = self.policy.current();
        for finished in finished {
            if let Some(span) = finished.decide(&policy) {
                span.leave();
            }
        }
    }

    /// Whether causes are followed by the policy in force. If they were not followed until now, events are missing.
    fn follows(&self, policy: &Policy, now: UnixNanos) -> bool {
        if policy.follow == Mode::Off || now.0 < self.paused_until.load(Ordering::Relaxed) {
            if self.is_on.load(Ordering::Relaxed) && self.is_on.swap(false, Ordering::Relaxed) {
                self.with(|state| {
                    state.waiting.missed_acknowledgements(now);
                    state.messages.interrupt();
                });
            }
            return false;
        }
        if !self.is_on.load(Ordering::Relaxed) && !self.is_on.swap(true, Ordering::Relaxed) {
            self.with(|state| {
                state.causes.warm_up(now);
                state.waiting.missed_acknowledgements(now);
                state.messages.begin(now);
                state.arrivals.missed(now, None);
            });
        }
        true
    }

    /// Looks up or notes something that costs little, and tells nothing of the cause of any span.
    fn look_up<T>(&self, look_up: impl FnOnce(&mut State) -> T) -> T {
        look_up(self.state().get_or_insert_with(|| Box::new(State::new(self.key))))
    }

    /// Reports an event, and hands over the spans of which it tells the cause.
    fn with<T>(&self, event: impl FnOnce(&mut State) -> T) -> T {
        let mut guard = self.state();
        let state = guard.get_or_insert_with(|| Box::new(State::new(self.key)));
        state.budget.spend();
        if std::mem::take(&mut state.is_idle) {
            self.woken.notify_one();
        }
        let result = event(state);
        let mut finished = Vec::new();
        while let Some(late) = state.causes.next_late() {
            let now = clock::now();
            state.waiting.work_of(late.cause, now);
            let held = Held { command: late.command, causes: vec![late.cause], rule: Some(late.rule.name()) };
            finished.extend(state.release(now, held));
        }
        finished.extend(state.waiting.take_finished());
        drop(guard);
        self.hand_over(finished);
        result
    }

    /// A panic elsewhere may have left the inference half way through an event. It only costs answers.
    fn state(&self) -> MutexGuard<'_, Option<Box<State>>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hearer for Follow {
    fn hear(&self, redis: u64, channel: &CompanionChannel, notices: Vec<Notice>) {
        let (now, policy) = (clock::now(), self.policy.current());
        if !self.follows(&policy, now) {
            return;
        }
        let finished = self.look_up(|state| match channel {
            CompanionChannel::Key(companion) => {
                let settled = state.arrivals.heard(now, redis, *companion, notices);
                state.settle(now, settled, &policy)
            }
            CompanionChannel::Messages(..) => {
                state.messages.heard(now, redis, notices);
                self.are_messages_awaited.store(true, Ordering::Relaxed);
                self.woken.notify_one();
                Vec::new()
            }
        });
        self.hand_over(finished);
    }

    fn missed(&self, redis: u64) {
        if let Some(state) = self.state().as_mut() {
            let now = clock::now();
            state.arrivals.missed(now, Some(redis));
            state.messages.begin(now);
        }
    }
}

impl State {
    /// The deliveries that wait for their contexts no longer, because they are certain or have waited for long enough.
    fn take_certain(&mut self, now: UnixNanos, read_until: UnixNanos) -> Vec<Settled> {
        let decided = self.messages.take_decided(read_until);
        let settle = |(message, found)| match found {
            messages::Found::Context(context) => self.arrivals.settle(message, Some(context)),
            messages::Found::Derived(derived) => {
                let settled = self.arrivals.settle(message, None)?;
                Some(Settled { derived: Some(derived), ..settled })
            }
            messages::Found::Nothing => self.arrivals.settle(message, None),
        };
        let mut due: Vec<_> = decided.into_iter().filter_map(settle).collect();
        due.extend(self.arrivals.take_due(now));
        due
    }

    /// Takes deliveries that wait for their contexts no longer. Returns the spans of commands that have waited with them.
    fn settle(&mut self, now: UnixNanos, settled: Vec<Settled>, policy: &Policy) -> Vec<Finished> {
        let mut finished = Vec::new();
        for Settled { delivery, context, derived, own, is_used, held } in settled {
            if let Some(context) = context {
                self.origin_found(now, delivery, own, context, is_used, policy);
            } else if let Some(derived) = derived {
                self.origin_follows(now, delivery, own, derived, is_used);
            }
            for held in held {
                finished.extend(self.release(now, held));
            }
        }
        finished
    }

    /// A delivery that has begun without a context gets that of who has added the item or published the message. Its span stays in its
    /// trace if that `is_used`, because something was told it.
    fn origin_found(
        &mut self,
        now: UnixNanos,
        delivery: u64,
        own: Option<Own>,
        context: Context,
        is_used: bool,
        policy: &Policy,
    ) {
        let Some(Own { span: own, is_nobodys }) = self.own(delivery, own) else { return };
        let origin = context.span;
        let stays = is_used && !is_nobodys && own.trace_id != origin.trace_id;
        let is_child = policy.relation == Relation::Parent && !stays;
        let is_sampled = policy.sampler.samples(origin.trace_id, Some(&origin));
        let span = match (is_child, is_nobodys) {
            (true, _) => SpanContext { span_id: own.span_id, flags: origin.flags.with_sampled(is_sampled), ..origin },
            // As of any span that is linked to another one.
            (false, true) => SpanContext { flags: own.flags.with_sampled(is_sampled), ..own },
            (false, false) => own,
        };
        let passed_on = || Context { span, ..context.clone() };
        if is_nobodys {
            self.contexts.insert(now, delivery, passed_on());
        } else if is_child {
            self.contexts.change(delivery, passed_on());
        }
        self.waiting.origin_found(delivery, Origin { context, span, is_child });
    }

    /// The span of a delivery as it is now, which had this one when it began to wait.
    fn own(&self, delivery: u64, began_with: Option<Own>) -> Option<Own> {
        let known = self.contexts.get(delivery).map(|known| known.span);
        known.map(|span| Own { span, is_nobodys: false }).or(began_with)
    }

    /// Nothing was told of a message, and a context follows from what names it, that its publish has or is linked to. The span of
    /// the delivery is linked to it, and is in its trace unless it has to stay in its own, as [above](Self::origin_found).
    fn origin_follows(&mut self, now: UnixNanos, delivery: u64, own: Option<Own>, derived: SpanContext, is_used: bool) {
        let Some(Own { span: own, is_nobodys }) = self.own(delivery, own) else { return };
        let span = if is_used && !is_nobodys { own } else { SpanContext { span_id: own.span_id, ..derived } };
        if is_nobodys {
            self.contexts.insert(now, delivery, span.into());
        } else {
            self.contexts.change(delivery, span.into());
        }
        self.waiting.origin_found(delivery, Origin { context: derived.into(), span, is_child: false });
    }

    /// Takes a command whose causes are found. Returns its span if it has ended, and their traces are certain.
    fn release(&mut self, now: UnixNanos, held: Held) -> Option<Finished> {
        let Held { command, causes, rule } =
            if self.arrivals.may_tell(&held.causes) { held } else { self.arrivals.hold(held)? };
        let found = match rule {
            Some(rule) => Found::Cause(causes.first().and_then(|cause| self.contexts.get(*cause)).cloned(), rule),
            None => Found::Batch(causes.iter().filter_map(|id| Some(self.contexts.get(*id)?.span)).collect()),
        };
        self.waiting.cause_found(now, command, found)
    }

    fn new(key: HashKey) -> Self {
        Self {
            causes: Causes::new(key),
            contexts: Contexts::default(),
            waiting: Waiting::default(),
            arrivals: Arrivals::default(),
            messages: Messages::default(),
            seen: Seen::default(),
            waited: Waited::default(),
            budget: Budget::default(),
            is_idle: true,
        }
    }
}

/// Shows nothing of what is known.
impl fmt::Debug for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follow").field("is_on", &self.is_on).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

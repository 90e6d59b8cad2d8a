//! What a connection has besides its two streams: its session, and what the session's events are for.

use std::sync::Arc;

use redistributed_core::service::{Environment, Event};
use redistributed_core::trace::{ErrorType, SpanRecord};
use redistributed_core::{Output, Session, Side};

use super::held::Held;
use super::warnings::Warnings;
use crate::auto::TrackedConnection;
use crate::clock;
use crate::entropy::Entropy;
use crate::net::hop::{ANNOUNCEMENT, ANSWER, Questions};
use crate::service::{LivePolicy, PolicyView};
use crate::telemetry::stats::{ProxyCounter, Stats};
use crate::telemetry::{Connection, SpanSink};

/// What a connection has besides its two streams.
#[derive(Debug)]
pub struct Link {
    session: Session,
    policy: PolicyView,
    ids: Entropy,
    sink: SpanSink,
    /// Its two ends, as spans tell of them.
    connection: Connection,
    stats: Arc<Stats>,
    warnings: Warnings,
    held: Held,
    tracked: Option<TrackedConnection>,
    /// The questions of this process, until the client's first command has been seen.
    questions: Option<Questions>,
    /// Whether the client's question has been answered.
    answered: bool,
    /// What the proxy itself has to tell the client.
    pub(super) answer: Option<&'static [u8]>,
    /// Whether there were watchers of messages at the last call of the session. A watcher who has come since is shown what comes
    /// from then on.
    watched: bool,
}

impl Link {
    /// The link of a new connection.
    pub fn new(policy: &Arc<LivePolicy>, ids: Entropy, sink: SpanSink, stats: Arc<Stats>) -> Self {
        Self {
            session: Session::new(),
            policy: PolicyView::open(policy),
            ids,
            sink,
            connection: Connection::default(),
            stats,
            warnings: Warnings::default(),
            held: Held::default(),
            tracked: None,
            questions: None,
            answered: false,
            answer: None,
            watched: false,
        }
    }

    /// Adds the ends of the connection, of which its spans tell.
    #[must_use]
    pub fn between(mut self, connection: Connection) -> Self {
        self.connection = connection;
        self
    }

    /// Adds that mode `auto` tracks the connection.
    #[must_use]
    pub fn tracked(mut self, connection: TrackedConnection) -> Self {
        self.tracked = Some(connection);
        self
    }

    /// Adds that the client may be another proxy, whose question may have been `answered` already.
    #[must_use]
    pub fn recognising(mut self, questions: Questions, answered: bool) -> Self {
        self.questions = Some(questions);
        self.answered = answered;
        self
    }

    /// Adds that the proxy has logged the connection in, and has selected this database.
    pub fn logged_in(&mut self, database: u32) {
        self.session = Session::logged_in(database);
    }

    /// Takes from a client's first bytes what another proxy says to this one. Returns what is left for Redis.
    pub(super) fn greet<'a>(&mut self, mut input: &'a [u8]) -> &'a [u8] {
        let Some(questions) = self.questions.take() else { return input };
        if let Some(rest) = input.strip_prefix(ANNOUNCEMENT) {
            // That proxy deals with the messages, and with the subscriptions.
            self.stats.add(ProxyCounter::ConnectionsFromProxies, 1);
            self.session = Session::opaque();
            self.ended();
            self.tracked = None;
            input = rest;
        }
        if input.is_empty() {
            self.questions = Some(questions);
        } else if questions.recognise(input) && !self.answered {
            self.answer = Some(ANSWER);
        }
        input
    }

    /// Gives the session what came from `side`. The bytes of its answer are left to be sent, and its spans to be handed over
    /// once that is done; all else is dealt with.
    pub(super) fn receive(&mut self, side: Side, input: &[u8], out: &mut Output) {
        out.clear();
        self.warnings.hear(side, input);
        let now = clock::now();
        let wall_offset = clock::wall_offset(now);
        self.watched = self.sink.is_watched();
        let env = Environment {
            now,
            wall_offset,
            watched: self.watched,
            sees_ahead: true,
            memory_is_scarce: Held::memory_is_scarce(),
            policy: self.policy.current(),
            ids: &mut self.ids,
            audience: self.tracked.as_ref().map(|tracked| tracked as _),
        };
        self.session.receive(side, input, env, out);
        self.held.set(self.session.held_bytes());
        let (came, left) = match side {
            Side::Client => (ProxyCounter::BytesFromClients, ProxyCounter::BytesToServers),
            Side::Server => (ProxyCounter::BytesFromServers, ProxyCounter::BytesToClients),
        };
        self.stats.add(came, input.len() as u64);
        self.stats.add(left, out.byte_len() as u64);
        self.stats.add_times(&out.events, now, wall_offset);
        self.account(out);
    }

    /// Takes note that `side` will send no more.
    pub(super) fn end_of_stream(&mut self, side: Side, out: &mut Output) {
        // Redis closes a subscriber that has closed its own side.
        self.ended();
        out.clear();
        self.session.end_of_stream(side, out);
        let left = if side == Side::Client { ProxyCounter::BytesToServers } else { ProxyCounter::BytesToClients };
        self.stats.add(left, out.byte_len() as u64);
        self.account(out);
    }

    /// Whether Redis may still have to answer something.
    pub(super) fn owes_reply(&self) -> bool {
        self.session.owes_reply()
    }

    /// Closes the session, which ends its open spans.
    pub(super) fn close(&mut self, out: &mut Output) {
        let env = Environment::new(clock::now(), self.policy.current(), &mut self.ids);
        self.session.close(env, out);
        self.account(out);
    }

    fn account(&mut self, out: &mut Output) {
        if out.counts.changed() {
            self.stats.add_counts(&out.counts);
            self.warnings.report(&out.counts);
        }
        let is_rare =
            |event: &Event| matches!(event, Event::Subscription(_) | Event::Contradicted(_) | Event::ClientNamed(_));
        if out.events.iter().any(is_rare) {
            self.take_note(out.events.extract_if(.., |event| is_rare(event)));
        }
    }

    #[cold]
    fn take_note(&mut self, events: impl Iterator<Item = Event>) {
        for event in events {
            match (event, &self.tracked) {
                (Event::Subscription(change), Some(tracked)) => tracked.subscription_changed(change),
                (Event::Contradicted(evidence), Some(tracked)) => tracked.contradicted(evidence),
                (Event::ClientNamed(name), _) => self.connection.named(name),
                _ => {}
            }
        }
    }

    /// Takes note that the connection is over or about to be, so that its subscriptions count no more.
    pub(super) fn ended(&self) {
        if let Some(tracked) = &self.tracked {
            tracked.close();
        }
    }

    /// Takes note whether the client leaves what Redis has sent, so that nothing more is read from Redis.
    pub(super) fn stalled(&self, stalled: bool) {
        if let Some(tracked) = &self.tracked {
            tracked.set_stalled(stalled);
        }
    }

    /// Takes note whether other connections have their turn although Redis may have sent more.
    pub(super) fn behind(&self, behind: bool) {
        if let Some(tracked) = &self.tracked {
            tracked.set_behind(behind);
        }
    }

    /// Hands over the spans of a call. Those of messages end now, because the call's bytes have all been sent.
    pub(super) fn hand_over(&self, events: &mut [Event]) {
        if events.is_empty() {
            return;
        }
        let mut now = None;
        for event in events.iter_mut() {
            match event {
                Event::Delivered(record) => {
                    record.end = *now.get_or_insert_with(clock::now);
                    self.finish(record, self.watched);
                }
                Event::SpanEnded(record) => self.finish(record, self.watched),
                _ => {}
            }
        }
        let spans = events.iter().filter_map(|event| match event {
            Event::SpanEnded(record) | Event::Delivered(record) if record.is_exported() => Some(record),
            _ => None,
        });
        self.sink.offer_all(spans, &self.connection);
    }

    /// Ends the spans of messages that have been handed to the client.
    pub(super) fn delivered(&self, deliveries: &mut Vec<SpanRecord>) {
        self.end_deliveries(deliveries, None);
    }

    /// Ends, as failed, the spans of messages that could not be handed to the client, because it has gone.
    pub(super) fn undelivered(&self, deliveries: &mut Vec<SpanRecord>) {
        self.end_deliveries(deliveries, Some(ErrorType::CLIENT_CLOSED));
    }

    fn end_deliveries(&self, deliveries: &mut Vec<SpanRecord>, error: Option<&'static str>) {
        if deliveries.is_empty() {
            return;
        }
        let (end, error) = (clock::now(), error.map(ErrorType::named));
        for record in deliveries.iter_mut() {
            record.end = end;
            record.error.clone_from(&error);
            self.finish(record, self.sink.is_watched());
        }
        // Some were made only for those who watch.
        self.sink.offer_all(deliveries.iter().filter(|record| record.is_exported()), &self.connection);
        deliveries.clear();
    }

    /// Dates a finished record, and shows it to those who watch.
    fn finish(&self, record: &mut SpanRecord, watched: bool) {
        clock::date(record);
        if watched {
            self.sink.show(record.clone());
        }
    }
}

/// Takes the spans of messages out of a call's events.
pub(super) fn take_deliveries(events: &mut Vec<Event>) -> impl Iterator<Item = SpanRecord> {
    events.extract_if(.., |event| matches!(event, Event::Delivered(_))).filter_map(|event| match event {
        Event::Delivered(record) => Some(record),
        _ => None,
    })
}

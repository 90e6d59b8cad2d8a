//! What mediates between a client and Redis: the session, and what is known of its connection.

use std::sync::Arc;

use redistributed_core::service::{Environment, Event};
use redistributed_core::{Output, Session, Side};

use super::held::Held;
use super::mediator::Mediator;
use super::spans::Spans;
use super::warnings::Warnings;
use crate::auto::TrackedConnection;
use crate::clock;
use crate::entropy::Entropy;
use crate::follow::FollowedConnection;
use crate::live_policy::{LivePolicy, PolicyView};
use crate::net::hop::{ANNOUNCEMENT, ANSWER, Questions};
use crate::out_of_band::SubscriptionsOfConnection;
use crate::telemetry::stats::{ProxyCounter, Stats};
use crate::telemetry::{Connection, SpanSink};

/// What a connection has besides its two streams.
#[derive(Debug)]
pub struct Link {
    session: Session,
    policy: PolicyView,
    ids: Entropy,
    spans: Spans,
    stats: Arc<Stats>,
    warnings: Warnings,
    held: Held,
    tracked: Option<TrackedConnection>,
    followed: Option<FollowedConnection>,
    /// What other proxies may tell of the messages of.
    subscriptions: Option<SubscriptionsOfConnection>,
    /// The questions of this process, until the client's first command has been seen.
    questions: Option<Questions>,
    /// Whether the client's question has been answered.
    answered: bool,
    /// What the proxy itself has to tell the client.
    answer: Option<&'static [u8]>,
}

impl Link {
    /// The link of a new connection.
    pub fn new(policy: &Arc<LivePolicy>, ids: Entropy, sink: SpanSink, stats: Arc<Stats>) -> Self {
        Self {
            session: Session::new(),
            policy: PolicyView::open(policy),
            ids,
            spans: Spans::new(sink, Connection::default()),
            stats,
            warnings: Warnings::default(),
            held: Held::default(),
            tracked: None,
            followed: None,
            subscriptions: None,
            questions: None,
            answered: false,
            answer: None,
        }
    }

    /// Adds the ends of the connection, of which its spans tell.
    #[must_use]
    pub fn between(mut self, connection: Connection) -> Self {
        *self.spans.connection_mut() = connection;
        self
    }

    /// Adds that mode `auto` tracks the connection.
    #[must_use]
    pub fn tracked(mut self, connection: TrackedConnection) -> Self {
        self.tracked = Some(connection);
        self
    }

    /// Adds that causes are followed on the connection.
    #[must_use]
    pub fn followed(mut self, connection: FollowedConnection) -> Self {
        let connection = connection.measured(self.spans.is_measuring());
        self.spans.follow(connection.spans());
        self.followed = Some(connection);
        self
    }

    /// Adds that other proxies may tell contexts of the messages that the client is subscribed to.
    #[must_use]
    pub fn listening(mut self, subscriptions: SubscriptionsOfConnection) -> Self {
        self.subscriptions = Some(subscriptions);
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
                (Event::Subscription(change), tracked) => {
                    if let Some(subscriptions) = &mut self.subscriptions {
                        subscriptions.apply(&change);
                    }
                    if let Some(tracked) = tracked {
                        tracked.subscription_changed(change);
                    }
                }
                (Event::Contradicted(evidence), Some(tracked)) => tracked.contradicted(evidence),
                (Event::ClientNamed(name), _) => self.spans.connection_mut().named(name),
                _ => {}
            }
        }
    }
}

impl Mediator for Link {
    /// What another proxy says to this one stands in a client's first bytes.
    fn greet<'a>(&mut self, mut input: &'a [u8]) -> &'a [u8] {
        let Some(questions) = self.questions.take() else { return input };
        if let Some(rest) = input.strip_prefix(ANNOUNCEMENT) {
            // That proxy deals with the messages, and with the subscriptions.
            self.stats.add(ProxyCounter::ConnectionsFromProxies, 1);
            self.session = Session::opaque();
            self.ended();
            self.tracked = None;
            self.followed = None;
            self.subscriptions = None;
            input = rest;
        }
        if input.is_empty() {
            self.questions = Some(questions);
        } else if questions.recognise(input) && !self.answered {
            self.answer = Some(ANSWER);
        }
        input
    }

    fn receive(&mut self, side: Side, input: &[u8], out: &mut Output) {
        out.clear();
        self.warnings.hear(side, input);
        let now = clock::now();
        let wall_offset = clock::wall_offset(now);
        let watched = self.spans.look_for_watchers();
        let policy = self.policy.current();
        let inference = self.followed.as_mut().and_then(|followed| followed.inference(policy, now));
        let env = Environment {
            now,
            wall_offset,
            watched,
            sees_ahead: true,
            memory_is_scarce: Held::memory_is_scarce(),
            policy,
            ids: &mut self.ids,
            audience: self.tracked.as_ref().map(|tracked| tracked as _),
            inference,
        };
        self.session.receive(side, input, env, out);
        self.held.set(self.session.held_bytes());
        self.stats.add_bytes(side, input.len(), out.byte_len());
        self.stats.add_times(&out.events, now, wall_offset);
        self.account(out);
    }

    fn end_of_stream(&mut self, side: Side, out: &mut Output) {
        // Redis closes a subscriber that has closed its own side.
        self.ended();
        out.clear();
        self.session.end_of_stream(side, out);
        self.stats.add_bytes(side, 0, out.byte_len());
        self.account(out);
    }

    fn owes_reply(&self) -> bool {
        self.session.owes_reply()
    }

    /// Closes the session, which ends its open spans.
    fn close(&mut self, out: &mut Output) {
        let env = Environment::new(clock::now(), self.policy.current(), &mut self.ids);
        self.session.close(env, out);
        self.account(out);
    }

    /// Its subscriptions count no more.
    fn ended(&self) {
        if let Some(tracked) = &self.tracked {
            tracked.close();
        }
    }

    fn take_answer(&mut self) -> Option<&'static [u8]> {
        self.answer.take()
    }

    fn stalled(&self, stalled: bool) {
        if let Some(tracked) = &self.tracked {
            tracked.set_stalled(stalled);
        }
        if let Some(followed) = &self.followed {
            followed.stalled(stalled);
        }
    }

    fn behind(&self, behind: bool) {
        if let Some(tracked) = &self.tracked {
            tracked.set_behind(behind);
        }
        if let Some(followed) = &self.followed {
            followed.behind(behind);
        }
    }

    fn spans(&self) -> &Spans {
        &self.spans
    }
}

//! The spans of one connection, on their way to the exporter and to those who watch.

use redistributed_core::service::Event;
use redistributed_core::trace::{ErrorType, SpanRecord, UnixNanos};

use crate::clock;
use crate::follow::FollowedSpans;
use crate::telemetry::{Connection, SpanSink};

/// Where the spans of a connection go, and what they tell of it.
#[derive(Debug)]
pub struct Spans {
    sink: SpanSink,
    /// Its two ends, as spans tell of them.
    connection: Connection,
    /// Whether there were watchers of messages at the last call of the session. A watcher who has come since is shown what comes
    /// from then on.
    watched: bool,
    /// Keeps the spans of which more may become known, if causes are followed.
    followed: Option<FollowedSpans>,
}

impl Spans {
    /// The spans of a connection between the two ends that `connection` names.
    pub fn new(sink: SpanSink, connection: Connection) -> Self {
        Self { sink, connection, watched: false, followed: None }
    }

    /// Adds that causes are followed.
    pub(super) fn follow(&mut self, followed: FollowedSpans) {
        self.followed = Some(followed);
    }

    /// The ends of the connection.
    pub fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Looks whether somebody watches messages, which is so until this is asked again. Returns whether every message needs a
    /// record: because of them, or because messages are measured.
    pub fn look_for_watchers(&mut self) -> bool {
        self.watched = self.sink.is_watched();
        self.watched || self.sink.is_measuring()
    }

    /// Hands over the spans of a call. Those of messages end now, because the call's bytes have all been sent.
    pub fn hand_over(&self, events: &mut Vec<Event>) {
        if events.is_empty() {
            return;
        }
        if let Some(followed) = self.followed() {
            self.keep(followed, take_waiting(events), clock::now());
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
            Event::SpanEnded(record) | Event::Delivered(record) => Some(record),
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
        if let Some(followed) = self.followed() {
            let ended = |mut record: SpanRecord| {
                if error.is_some() {
                    record.error.clone_from(&error);
                }
                Event::Delivered(record)
            };
            return self.keep(followed, deliveries.drain(..).map(ended), end);
        }
        for record in deliveries.iter_mut() {
            record.end = end;
            if error.is_some() {
                record.error.clone_from(&error);
            }
            self.finish(record, self.sink.is_watched());
        }
        self.sink.offer_all(deliveries.iter(), &self.connection);
        deliveries.clear();
    }

    fn followed(&self) -> Option<&FollowedSpans> {
        self.followed.as_ref().filter(|followed| followed.is_on())
    }

    /// Leaves spans to the service, which hands them over when nothing more can become known of them.
    #[cold]
    fn keep(&self, followed: &FollowedSpans, waiting: impl Iterator<Item = Event>, now: UnixNanos) {
        for event in waiting {
            let (record, is_delivery) = match event {
                Event::Delivered(record) => (SpanRecord { end: now, ..record }, true),
                Event::SpanEnded(record) => (record, false),
                _ => continue,
            };
            let command = record.inferred.as_ref().and_then(|inferred| inferred.undecided);
            if self.watched {
                self.finish(&mut record.clone(), true);
            }
            let left = match command {
                // Nobody will see what more may become known of it.
                _ if !record.is_exported() => Some(record),
                Some(command) => followed.keep_command(record, command, &self.connection, &self.sink),
                None if is_delivery => followed.keep_delivery(record, &self.connection, &self.sink),
                None => Some(record),
            };
            if let Some(mut record) = left {
                clock::date(&mut record);
                self.sink.offer_all(std::iter::once(&record), &self.connection);
            }
        }
    }

    /// Dates a finished record, and shows it to those who watch.
    fn finish(&self, record: &mut SpanRecord, watched: bool) {
        clock::date(record);
        if watched {
            self.sink.show(record.clone());
        }
    }
}

/// Takes the spans out of a call's events of which more may become known: those of messages, and those without a cause.
fn take_waiting(events: &mut Vec<Event>) -> impl Iterator<Item = Event> {
    events.extract_if(.., |event| match event {
        Event::Delivered(_) => true,
        Event::SpanEnded(record) => record.inferred.as_ref().is_some_and(|inferred| inferred.undecided.is_some()),
        _ => false,
    })
}

/// Takes the spans of messages out of a call's events.
pub(super) fn take_deliveries(events: &mut Vec<Event>) -> impl Iterator<Item = SpanRecord> {
    events.extract_if(.., |event| matches!(event, Event::Delivered(_))).filter_map(|event| match event {
        Event::Delivered(record) => Some(record),
        _ => None,
    })
}

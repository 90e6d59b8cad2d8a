//! The spans of one connection, on their way to the exporter and to those who watch.

use redistributed_core::service::Event;
use redistributed_core::trace::{Change, ErrorType, SpanRecord, UnixNanos};

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

    /// Whether operations are measured, for which those need a record too that are not sampled.
    pub fn is_measuring(&self) -> bool {
        self.sink.is_measuring()
    }

    /// Looks whether somebody watches messages, which is so until this is asked again. Returns whether operations without a sampled
    /// span need a record too: because of them, or because operations are measured.
    pub fn look_for_watchers(&mut self) -> bool {
        self.watched = self.sink.is_watched();
        self.watched || self.is_measuring()
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
            let awaits_context = record.inferred.as_ref().is_some_and(|inferred| inferred.awaits_context);
            if self.watched {
                self.finish(&mut record.clone(), true);
            }
            let is_exported = record.is_exported();
            let left = match command {
                // The context of such a publish has left, so that no cause changes whether the publish is recorded.
                Some(_) if !is_exported && record.handling.payload == Change::Injected => Some(record),
                Some(command) => followed.keep_command(record, command, &self.connection, &self.sink),
                // How long it lasts is measured too.
                None if is_delivery && (is_exported || awaits_context || self.is_measuring()) => {
                    followed.keep_delivery(record, &self.connection, &self.sink)
                }
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
            let mut shown = record.clone();
            // Whether it gets a span is not known yet.
            shown.handling.untraced |= shown.needs_context();
            self.sink.show(shown);
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

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::Arc;

    use redistributed_core::policy::{Commands, Follow as Mode, Policy};
    use redistributed_core::trace::{CommandId, Inferred, Operation, SpanContext};

    use super::*;
    use crate::follow::Follow;
    use crate::live_policy::LivePolicy;
    use crate::settings::FollowSettings;
    use crate::telemetry::test_sink;

    #[test]
    fn a_command_waits_for_its_cause_though_its_own_trace_is_not_sampled() {
        let policy = Policy { follow: Mode::Parent, commands: Commands::Caused, ..Policy::default() };
        let follow = Follow::new(LivePolicy::new(Arc::new(policy.clone())), [7; 16], FollowSettings::default(), None);
        let mut connection = follow.connection("redis");
        assert!(connection.inference(&policy, clock::now()).is_some(), "causes are followed");
        let (sink, _) = test_sink();
        let mut spans = Spans::new(sink, Connection::default());
        spans.follow(connection.spans());

        let context =
            SpanContext::parse_traceparent(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00").unwrap();
        let undecided = |number, payload, operation| {
            let mut record = SpanRecord::new(context, clock::now(), operation);
            record.handling.payload = payload;
            let undecided = NonZeroU32::new(number).map(CommandId);
            record.inferred = Some(Box::new(Inferred { undecided, ..Inferred::default() }));
            Event::SpanEnded(record)
        };
        let set = Operation::Command { name: "SET".into(), summary: None, database: 0, batch_size: None };
        let publish = Operation::Publish { channel: "ch".into(), sharded: false, receivers: Some(1), body_size: 1 };
        spans.hand_over(&mut vec![
            undecided(1, Change::None, set),
            undecided(2, Change::None, publish.clone()),
            undecided(3, Change::Injected, publish),
        ]);
        assert_eq!(follow.waiting(), (0, 2), "the context of the last one has left, with its decision");
    }
}

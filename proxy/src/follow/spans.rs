//! The spans of one connection of which more may become known.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use redistributed_core::trace::{CommandId, SpanId, SpanRecord};

use super::{Follow, Leaving};
use crate::clock;
use crate::telemetry::{Connection, SpanSink};

/// Leaves the spans of one connection to its service while more may become known of them.
#[derive(Clone, Debug)]
pub struct FollowedSpans {
    follow: Arc<Follow>,
    connection: u32,
}

impl FollowedSpans {
    pub(super) fn new(follow: Arc<Follow>, connection: u32) -> Self {
        Self { follow, connection }
    }

    /// Whether causes are followed.
    pub fn is_on(&self) -> bool {
        self.follow.is_on.load(Ordering::Relaxed)
    }

    /// Takes the span of a message that has been written to the service, until the work is over that the message causes. Returns
    /// it if it need not wait.
    pub fn keep_delivery(&self, record: SpanRecord, connection: &Connection, sink: &SpanSink) -> Option<SpanRecord> {
        let id = id_of_span(record.context.span_id);
        let leaving = Leaving { record, connection: connection.clone(), sink: sink.clone() };
        self.follow.with(|state| state.waiting.delivered(id, leaving)).map(|leaving| leaving.record)
    }

    /// Takes the span of a command whose cause may become known. Returns it if the cause is known by now.
    pub fn keep_command(
        &self,
        record: SpanRecord,
        command: CommandId,
        connection: &Connection,
        sink: &SpanSink,
    ) -> Option<SpanRecord> {
        let id = id_of_command(self.connection, command);
        let leaving = Leaving { record, connection: connection.clone(), sink: sink.clone() };
        let finished = self.follow.with(|state| state.waiting.command_ends(clock::now(), id, leaving))?;
        finished.decide(&self.follow.policy.current()).map(|leaving| leaving.record)
    }
}

/// The number of a cause, which is the id of its span.
pub(super) fn id_of_span(span: SpanId) -> u64 {
    u64::from_be_bytes(span.to_bytes())
}

/// The number of a command among those of all connections.
pub(super) fn id_of_command(connection: u32, command: CommandId) -> u64 {
    u64::from(connection) << 32 | u64::from(command.0.get())
}

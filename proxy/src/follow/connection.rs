//! One connection to Redis, as the inference of causes sees it.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use redistributed_core::causes::{Answer, Command, Connection as CausesConnection, Delivery, Reason, Ticket};
use redistributed_core::policy::Policy;
use redistributed_core::service::{Attribution, Bulks, Inference, MAX_VALUES, ObservedCommand, ObservedDelivery};
use redistributed_core::trace::{CommandId, SpanId, UnixNanos};

use super::spans::{FollowedSpans, id_of_command, id_of_span};
use super::{Follow, State};

/// The most commands of a connection whose replies are waited for. Replies to further ones are not looked at.
const MAX_UNANSWERED: usize = 1024;

/// One connection of a service whose causes are followed.
pub struct FollowedConnection {
    follow: Arc<Follow>,
    number: u32,
    last: u32,
    connection: CausesConnection,
    /// The commands whose replies are waited for, in order.
    unanswered: VecDeque<(CommandId, Ticket, Option<u64>)>,
}

impl FollowedConnection {
    pub(super) fn new(follow: Arc<Follow>, number: u32) -> Self {
        Self { follow, number, last: 0, connection: CausesConnection::default(), unanswered: VecDeque::new() }
    }

    /// The inference, if causes are followed by the policy in force.
    pub fn inference(&mut self, policy: &Policy, now: UnixNanos) -> Option<&mut (dyn Inference + 'static)> {
        if self.follow.follows(policy, now) { Some(self) } else { None }
    }

    /// What keeps its spans of which more may become known.
    pub fn spans(&self) -> FollowedSpans {
        FollowedSpans::new(Arc::clone(&self.follow), self.number)
    }

    /// The command among those of all connections.
    fn id(&self, command: CommandId) -> u64 {
        id_of_command(self.number, command)
    }
}

impl Inference for FollowedConnection {
    fn command(&mut self, now: UnixNanos, command: &ObservedCommand<'_>) -> Attribution {
        self.last = self.last.checked_add(1).unwrap_or(1);
        let Some(number) = NonZeroU32::new(self.last).map(CommandId) else { return Attribution::default() };
        let command = Command { id: self.id(number), name: command.name, arguments: command.arguments.as_slice() };
        let connection = &mut self.connection;
        let (ticket, cause, attribution) = self.follow.with(|state| {
            let sent = state.causes.command(now, connection, &command);
            let (cause, attribution) = state.attribute(now, sent.answer);
            (sent.ticket, cause, attribution)
        });
        let Some(ticket) = ticket else { return attribution };
        if self.unanswered.len() >= MAX_UNANSWERED {
            return attribution;
        }
        self.unanswered.push_back((number, ticket, cause));
        Attribution { command: Some(number), ..attribution }
    }

    fn injected(&mut self, publish: CommandId, span: SpanId) {
        let id = self.id(publish);
        self.follow.with(|state| state.contexts.published(span, id));
    }

    fn replied(&mut self, now: UnixNanos, command: CommandId, values: Bulks<'_, MAX_VALUES>) {
        // Commands before it whose replies never came are passed over.
        while let Some((number, ticket, cause)) = self.unanswered.pop_front() {
            if number == command {
                self.follow.with(|state| {
                    state.causes.reply(now, ticket, values.as_slice().iter().copied());
                    cause.into_iter().for_each(|cause| state.waiting.work_of(cause, now));
                });
                return;
            }
        }
    }

    fn delivered(&mut self, now: UnixNanos, delivery: &ObservedDelivery<'_>) {
        let id = id_of_span(delivery.id);
        self.follow.with(|state| {
            let publish = delivery.publish.map(|publish| publish.span_id);
            let trace = delivery.publish.or(delivery.context.map(|context| context.span));
            state.causes.message(
                now,
                &Delivery {
                    id,
                    trace: trace.map(|span| span.trace_id.low_u64()),
                    publish: publish.and_then(|publish| state.contexts.publish(publish)),
                    channel: delivery.channel,
                    payload: delivery.payload,
                },
            );
            if let Some(context) = delivery.context {
                state.contexts.insert(now, id, context.clone());
                state.waiting.delivery_begins(now, id);
            }
        });
    }
}

/// Shows nothing of what is known.
impl fmt::Debug for FollowedConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FollowedConnection").field("number", &self.number).finish_non_exhaustive()
    }
}

impl State {
    /// What an answer means to the span of the command: the id of the cause, and the contexts.
    fn attribute(&mut self, now: UnixNanos, answer: Option<Answer>) -> (Option<u64>, Attribution) {
        let mut attribution = Attribution::default();
        let links = |links: &[u64]| links.iter().filter_map(|id| Some(self.contexts.get(*id)?.span)).collect();
        match answer {
            Some(Answer::Cause { id, rule }) => {
                attribution.cause = self.contexts.get(id).map(|context| (context.clone(), rule.name()));
                self.waiting.work_of(id, now);
                return (Some(id), attribution);
            }
            Some(Answer::Batch(causes)) => {
                attribution.links = links(causes.as_slice());
                causes.as_slice().iter().for_each(|id| self.waiting.work_of(*id, now));
            }
            Some(Answer::OneOf(causes)) => {
                attribution.links = links(causes.as_slice());
                attribution.is_undecided = true;
            }
            Some(Answer::Unknown(Reason::Several | Reason::Work | Reason::Contradiction)) => {
                attribution.is_undecided = true;
            }
            Some(Answer::Unknown(_)) | None => {}
        }
        (None, attribution)
    }
}

//! The HTTP requests of one connection, as the inference of causes sees them.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use redistributed_core::causes::{Causes, RequestHead, Text, Ticket};
use redistributed_core::http::witness::{RequestId, RequestSeen, Witness, Witnesses};
use redistributed_core::trace::UnixNanos;

use super::Follow;
use super::spans::id_of_span;
use crate::clock;

/// The most requests of a connection that are followed at once. Further ones are not seen as causes.
const MAX_OPEN: usize = 256;

/// Gives each HTTP connection of a service what follows its requests.
pub(super) struct Requests(pub(super) Arc<Follow>);

impl Witnesses for Requests {
    fn witness(&self) -> Box<dyn Witness + Send> {
        Box::new(FollowedRequests { follow: Arc::clone(&self.0), open: VecDeque::new() })
    }
}

/// Tells a service's inference of the requests of one connection.
struct FollowedRequests {
    follow: Arc<Follow>,
    open: VecDeque<OpenRequest>,
}

/// A request that is not over.
struct OpenRequest {
    id: RequestId,
    ticket: Ticket,
    body: Text,
    response: Text,
}

impl FollowedRequests {
    /// Reports an event of a request that is followed.
    fn with(&mut self, id: RequestId, event: impl FnOnce(&mut Causes, &mut OpenRequest)) {
        if let Some(open) = self.open.iter_mut().find(|open| open.id == id) {
            self.follow.with(|state| event(&mut state.causes, open));
        }
    }
}

impl Witness for FollowedRequests {
    fn request(&mut self, now: UnixNanos, request: RequestSeen<'_>) {
        // Without a span there is nothing that a command could be a child of.
        let Some(context) = request.context else { return };
        if !self.follow.follows(&self.follow.policy.current(), now) || self.open.len() >= MAX_OPEN {
            return;
        }
        let head = RequestHead {
            id: id_of_span(context.span.span_id),
            trace: Some(context.span.trace_id.low_u64()),
            method: request.method,
            target: request.target,
        };
        let mut headers = Vec::new();
        (request.headers)(&mut |name, value| headers.push((name.to_vec(), value.to_vec())));
        let open = self.follow.with(|state| {
            let headers = headers.iter().map(|(name, value)| (&name[..], &value[..]));
            let ticket = state.causes.request(now, &head, headers);
            state.contexts.insert(now, head.id, context.clone());
            OpenRequest { id: request.id, ticket, body: state.causes.text(), response: state.causes.text() }
        });
        self.open.push_back(open);
    }

    fn request_body(&mut self, id: RequestId, bytes: &[u8], ended: bool) {
        self.with(id, |causes, open| causes.request_body(open.ticket, &mut open.body, bytes, ended));
    }

    fn response(&mut self, _now: UnixNanos, _id: RequestId, _status: u16) {}

    fn response_body(&mut self, now: UnixNanos, id: RequestId, bytes: &[u8], ended: bool) {
        self.with(id, |causes, open| causes.response_body(now, open.ticket, &mut open.response, bytes, ended));
    }

    fn over(&mut self, now: UnixNanos, id: RequestId) {
        let Some(at) = self.open.iter().position(|open| open.id == id) else { return };
        if let Some(open) = self.open.remove(at) {
            self.follow.with(|state| state.causes.response_end(now, open.ticket));
        }
    }
}

/// Requests that are open when their connection ends are over.
impl Drop for FollowedRequests {
    fn drop(&mut self) {
        while let Some(id) = self.open.front().map(|open| open.id) {
            self.over(clock::now(), id);
        }
    }
}

/// Shows nothing of what is known.
impl fmt::Debug for FollowedRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FollowedRequests").field("open", &self.open.len()).finish_non_exhaustive()
    }
}

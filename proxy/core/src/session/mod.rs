//! One client connection: bytes in, bytes and events out.
//!
//! ```text
//! client bytes -> requests -> publish plan (context in)  -> server
//!                    |                                        |
//!                 pairing  <- what was asked, what came ->    |
//!                    |                                        v
//! client      <- deliver plan (context out) <- replies <- server bytes
//! ```
//!
//! `requests` and `replies` read one direction each and hold back only what a plan may change. The pairing knows which
//! command a reply answers, and with it the protocol version and the subscriptions. The plans decide about single messages,
//! by the policy. Forwarding never depends on pairing.

mod inline;
mod pubsub_frame;
mod replies;
mod requests;

use alloc::sync::Arc;

use self::replies::ReplyReader;
use self::requests::RequestReader;
use crate::output::{Call, Output};
use crate::pairing::Pairing;
use crate::policy::Policy;
use crate::rewrite::{DeliverPlan, PublishPlan};
use crate::service::Environment;
use crate::trace::ErrorType;

/// Where bytes came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The service.
    Client,
    /// Redis.
    Server,
}

/// The state of one client connection and its upstream connection.
///
/// Memory: at most one payload within [`Policy::strip_limit`] for each direction, 16,384 open spans, 65,536 entries each
/// of unanswered commands and of an open transaction, and 64 KiB of an inline command. An idle session has about 1 KiB.
#[derive(Debug)]
pub struct Session {
    requests: RequestReader,
    replies: ReplyReader,
    pairing: Pairing,
    publish: PublishPlan,
    deliver: DeliverPlan,
    /// The policy that the plans have looked up channels in.
    policy: Option<Arc<Policy>>,
}

/// What one direction works with besides its own state, for one call.
struct Parts<'a> {
    pairing: &'a mut Pairing,
    publish: &'a mut PublishPlan,
    deliver: &'a mut DeliverPlan,
    call: Call<'a>,
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Session {
    /// A connection of which nothing has been read.
    pub fn new() -> Self {
        Self {
            requests: RequestReader::new(),
            replies: ReplyReader::new(),
            pairing: Pairing::new(),
            publish: PublishPlan::default(),
            deliver: DeliverPlan::default(),
            policy: None,
        }
    }

    /// A connection that was authenticated and put into `database` before its first byte came here: what a service's own
    /// `AUTH` and `SELECT` would have told.
    pub fn logged_in(database: u32) -> Self {
        let mut session = Self::new();
        session.pairing.logged_in(database);
        session
    }

    /// Takes all of `input`, which came from `from`, and adds to `out` what is to be sent to the other side and what is to
    /// be reported. The bytes that leave do not depend on how the stream was cut into calls.
    pub fn receive(&mut self, from: Side, input: &[u8], env: Environment<'_>, out: &mut Output) {
        self.notice_policy(env.policy);
        let Self { requests, replies, pairing, publish, deliver, .. } = self;
        let mut parts = Parts { pairing, publish, deliver, call: Call { env, out } };
        match from {
            Side::Client => requests.receive(input, &mut parts),
            Side::Server => {
                replies.receive(input, &mut parts);
                if replies.is_replication() {
                    requests.become_opaque();
                }
            }
        }
    }

    /// `from` has sent its last byte: adds what was held back of an incomplete frame, unchanged.
    pub fn end_of_stream(&mut self, from: Side, out: &mut Output) {
        match from {
            Side::Client => self.requests.end_of_stream(out),
            Side::Server => self.replies.end_of_stream(out),
        }
    }

    /// The connection is over: ends the spans that still wait for a reply, with an error.
    pub fn close(&mut self, env: Environment<'_>, out: &mut Output) {
        self.pairing.close(Some(ErrorType::CONNECTION_CLOSED), &mut Call { env, out });
    }

    fn notice_policy(&mut self, policy: &Arc<Policy>) {
        if !self.policy.as_ref().is_some_and(|known| Arc::ptr_eq(known, policy)) {
            self.policy = Some(Arc::clone(policy));
            self.publish.policy_changed();
            self.deliver.policy_changed();
        }
    }
}

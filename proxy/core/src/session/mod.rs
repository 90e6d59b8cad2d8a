//! One client connection: bytes in, bytes and events out.
//!
//! ```text
//! client bytes -> requests -> publish plan (context in)  -> server
//!                    |                                        |
//!                 pairing  <- requests, replies ->            |
//!                    |                                        v
//! client      <- deliver plan (context out) <- replies <- server bytes
//! ```
//!
//! `requests` and `replies` read one direction each, and hold back only bytes that a plan may change. The pairing knows which
//! command a reply answers, and so knows the protocol version and the subscriptions. The plans decide about single
//! messages by the policy. Forwarding never depends on the pairing.

mod attribution;
mod broadcasts;
mod capture;
mod client_name;
mod companions;
mod complete_message;
mod described;
mod envelopes;
mod handovers;
mod inline;
mod items;
mod publishes;
mod pubsub_frame;
mod pushes;
mod replies;
mod requests;
mod stream_reply;
mod streams;
mod summary;

use alloc::sync::Arc;

use self::broadcasts::Broadcasts;
use self::companions::Companions;
use self::handovers::Reads;
use self::pushes::Entries;
use self::replies::ReplyReader;
use self::requests::RequestReader;
use crate::output::{Call, Output};
use crate::pairing::Pairing;
use crate::policy::Policy;
use crate::rewrite::{DeliverPlan, PublishPlan};
use crate::service::Environment;
use crate::trace::ErrorType;

/// The side of a connection that sent bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The service, which is the client of Redis.
    Client,
    /// Redis, or another server that speaks RESP.
    Server,
}

/// The state of one client connection and its upstream connection.
///
/// Its memory is bounded: at most one payload or entry within [`Policy::strip_limit`] for each direction, 16,384 open spans, 65,536
/// entries each of unanswered commands and of an open transaction, and 64 KiB of an inline command. An idle session takes
/// about 1 KiB.
#[derive(Debug)]
pub struct Session {
    requests: RequestReader,
    replies: ReplyReader,
    pairing: Pairing,
    reads: Reads,
    entries: Entries,
    broadcasts: Broadcasts,
    companions: Companions,
    publish: PublishPlan,
    deliver: DeliverPlan,
    /// The policy by which the plans have looked up channels.
    policy: Option<Arc<Policy>>,
}

/// What the reader of one direction uses besides its own state, for one call.
struct Parts<'a> {
    pairing: &'a mut Pairing,
    /// The commands whose replies hand items of queues over, if causes are followed.
    reads: &'a mut Reads,
    /// The entries of streams whose ids have not come yet, if causes are followed.
    entries: &'a mut Entries,
    /// The spans of scripts that publish on several channels, if causes are followed.
    broadcasts: &'a mut Broadcasts,
    /// The companion of the key that was used last, if contexts are told to other proxies.
    companions: &'a mut Companions,
    publish: &'a mut PublishPlan,
    deliver: &'a mut DeliverPlan,
    /// Whether commands other than publishes may have spans or causes, or entries of streams may carry contexts.
    are_commands_described: bool,
    /// Whether contexts are added to entries of streams.
    adds_fields: bool,
    /// Whether contexts are added to the envelopes of job libraries.
    adds_to_envelopes: bool,
    call: Call<'a>,
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Session {
    /// A session for a new connection.
    pub fn new() -> Self {
        Self {
            requests: RequestReader::new(),
            replies: ReplyReader::new(),
            pairing: Pairing::new(),
            reads: Reads::default(),
            entries: Entries::default(),
            broadcasts: Broadcasts::default(),
            companions: Companions::default(),
            publish: PublishPlan::default(),
            deliver: DeliverPlan::default(),
            policy: None,
        }
    }

    /// A session for a connection that has already been authenticated and switched to `database`. The session then knows
    /// what the service's own `AUTH` and `SELECT` would have told it.
    pub fn logged_in(database: u32) -> Self {
        let mut session = Self::new();
        session.pairing.logged_in(database);
        session
    }

    /// A session that reads nothing, and passes on all bytes as they come.
    pub fn opaque() -> Self {
        let mut session = Self::new();
        session.requests.become_opaque();
        session.replies.become_opaque();
        session
    }

    /// Takes all of `input`, which came from `from`. Adds the bytes to send to the other side, the events and the counts to
    /// `out`. The bytes that leave do not depend on how the stream is cut into calls.
    pub fn receive(&mut self, from: Side, input: &[u8], env: Environment<'_>, out: &mut Output) {
        self.notice_policy(env.policy);
        let Self { requests, replies, pairing, reads, entries, broadcasts, companions, publish, deliver, .. } = self;
        let has_fields = !env.policy.stream_carriers.is_empty();
        let adds_to_envelopes = env.policy.adds_to_envelopes();
        let are_commands_described = env.inference.is_some() || env.policy.commands.any() || has_fields;
        let mut parts = Parts {
            pairing,
            reads,
            entries,
            broadcasts,
            companions,
            publish,
            deliver,
            are_commands_described,
            adds_fields: has_fields && env.policy.adds_fields(),
            adds_to_envelopes,
            call: Call { env, out },
        };
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

    /// The bytes of memory that the session takes for what is held back, for open spans and for unanswered requests.
    pub fn held_bytes(&self) -> usize {
        let kept = self.reads.bytes() + self.entries.bytes() + self.broadcasts.bytes() + self.companions.bytes();
        self.requests.bytes() + self.replies.bytes() + self.pairing.bytes() + kept
    }

    /// Takes the end of the stream from `from`. Adds the held bytes of an incomplete frame to `out`, unchanged.
    pub fn end_of_stream(&mut self, from: Side, out: &mut Output) {
        match from {
            Side::Client => self.requests.end_of_stream(out),
            Side::Server => self.replies.end_of_stream(out),
        }
    }

    /// Takes the end of the connection. Ends the spans that still wait for a reply, with an error.
    pub fn close(&mut self, env: Environment<'_>, out: &mut Output) {
        self.pairing.close(Some(ErrorType::CONNECTION_CLOSED), &mut Call { env, out });
    }

    /// Whether the server may still have to answer something. If replies can no longer be told apart, it always may.
    pub fn owes_reply(&self) -> bool {
        !self.pairing.is_settled() || self.replies.is_within_frame()
    }

    fn notice_policy(&mut self, policy: &Arc<Policy>) {
        if !self.policy.as_ref().is_some_and(|known| Arc::ptr_eq(known, policy)) {
            self.policy = Some(Arc::clone(policy));
            self.publish.policy_changed();
            self.deliver.policy_changed();
            self.companions.policy_changed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::UnixNanos;
    use crate::trace::ids::CountingIds;

    /// What is sent on when `bytes` come from `from`.
    fn passes(session: &mut Session, from: Side, bytes: &[u8]) -> alloc::vec::Vec<u8> {
        let (policy, mut ids, mut out) = (Arc::new(Policy::default()), CountingIds::default(), Output::default());
        session.receive(from, bytes, Environment::new(UnixNanos(1), &policy, &mut ids), &mut out);
        let sent: alloc::vec::Vec<&[u8]> = out.chunks(bytes).collect();
        sent.concat()
    }

    #[test]
    fn a_reply_is_owed_from_a_command_to_the_last_byte_of_its_reply() {
        let mut session = Session::new();
        assert!(!session.owes_reply());
        for (from, bytes, owed) in [
            (Side::Client, &b"*1\r\n$4\r\nPI"[..], false),
            (Side::Client, b"NG\r\n", true),
            (Side::Server, b"+PO", true),
            (Side::Server, b"NG\r\n", false),
            (Side::Client, b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nx\r\n", true),
            (Side::Server, b"*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n", false),
            (Side::Server, b"*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$1", true),
            (Side::Server, b"\r\nm\r\n", false),
        ] {
            passes(&mut session, from, bytes);
            assert_eq!(session.owes_reply(), owed, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn an_opaque_session_changes_nothing_and_may_always_owe_something() {
        let mut session = Session::opaque();
        for bytes in [&b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nx\r\n$1\r\nm\r\n"[..], b"\xff\0"] {
            assert_eq!(passes(&mut session, Side::Client, bytes), bytes);
            assert_eq!(passes(&mut session, Side::Server, bytes), bytes);
        }
        assert!(session.owes_reply());
    }
}

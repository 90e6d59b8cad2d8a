//! One client connection: bytes in, bytes and spans out.
//!
//! ```text
//! client bytes -> client (requests) -> tracer (context in)  -> server
//!                       |                                        |
//!                    pairing  <- what was asked, what came ->    |
//!                       |                                        v
//! client      <- tracer (context out) <- server (replies) <- server bytes
//! ```
//!
//! `client` and `server` read one direction each and hold back only a payload that may be rewritten. `pairing`
//! knows which command a reply answers, and with it the protocol version and the subscriptions. `tracer` decides about
//! single messages, by the `policy`. Forwarding never depends on pairing.

mod channel;
mod client;
mod command;
mod hold;
mod inline;
mod input;
mod message;
mod output;
mod pairing;
mod pubsub;
mod server;
mod tracer;
mod whole;

use alloc::sync::Arc;

pub use output::Output;

use self::client::ClientHalf;
use self::pairing::Pairing;
use self::server::ServerHalf;
use self::tracer::Tracer;
use crate::policy::Policy;
use crate::service::Audiences;
use crate::trace::{ErrorType, Ids, UnixNanos};

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
    client: ClientHalf,
    server: ServerHalf,
    pairing: Pairing,
    tracer: Tracer,
}

/// What one direction works with besides its own state, for one call.
struct Parts<'a> {
    tracer: &'a mut Tracer,
    pairing: &'a mut Pairing,
    ids: &'a mut dyn Ids,
    call: Call<'a>,
}

/// What a call of the session may cause.
struct Call<'a> {
    now: UnixNanos,
    out: &'a mut Output,
}

impl Session {
    /// A connection of which nothing has been read.
    pub fn new(policy: Arc<Policy>) -> Self {
        Self {
            client: ClientHalf::new(),
            server: ServerHalf::new(),
            pairing: Pairing::new(),
            tracer: Tracer::new(policy),
        }
    }

    /// The connection was authenticated and put into `database` before its first byte came here: what a service's own
    /// `AUTH` and `SELECT` would have told.
    pub fn logged_in(&mut self, database: u32) {
        self.pairing.logged_in(database);
    }

    /// Takes all of `input`, which came from `from` at the time `now`, and adds to `out` what is to be sent to the
    /// other side. The bytes that leave do not depend on how the stream was cut into calls.
    pub fn receive(&mut self, from: Side, input: &[u8], now: UnixNanos, ids: &mut dyn Ids, out: &mut Output) {
        let call = Call { now, out };
        let mut parts = Parts { tracer: &mut self.tracer, pairing: &mut self.pairing, ids, call };
        match from {
            Side::Client => self.client.receive(input, &mut parts),
            Side::Server => {
                self.server.receive(input, &mut parts);
                if self.server.is_replication() {
                    self.client.become_opaque();
                }
            }
        }
    }

    /// From here on `audiences` is asked in [`crate::policy::Mode::Auto`]; before, nothing is known.
    pub fn set_audiences(&mut self, audiences: Arc<dyn Audiences>) {
        self.tracer.set_audiences(audiences);
    }

    /// From here on [`Output::subscriptions`] tells of subscriptions. To be called before anything has been received.
    pub fn report_subscriptions(&mut self) {
        self.pairing.report_subscriptions();
    }

    /// From the next payload on this policy decides. A payload that is being held back is one of them, so that a mode that
    /// adds nothing takes effect at once.
    pub fn set_policy(&mut self, policy: Arc<Policy>) {
        self.tracer.set_policy(policy);
    }

    /// `from` has sent its last byte: adds what was held back of an incomplete frame, unchanged.
    pub fn end_of_stream(&mut self, from: Side, out: &mut Output) {
        match from {
            Side::Client => self.client.end_of_stream(out),
            Side::Server => self.server.end_of_stream(out),
        }
    }

    /// The connection is over: closes the spans that still wait for a reply, with an error.
    pub fn close(&mut self, now: UnixNanos, out: &mut Output) {
        self.pairing.close(Some(ErrorType::CONNECTION_CLOSED), &mut Call { now, out });
    }
}

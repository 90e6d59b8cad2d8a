//! Who is told of requests and responses as they pass.

use alloc::boxed::Box;

use crate::trace::{Context, UnixNanos};

/// How many bytes of each body a witness is shown, at most.
pub const SHOWN_BODY: usize = 8 * 1024;

/// Calls a function with the name and the value of each header, in their order.
pub type Headers<'a> = &'a dyn Fn(&mut dyn FnMut(&[u8], &[u8]));

/// The number of a request on its connection: 0, 1, 2, …, in the order in which they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// A request whose head is complete.
#[derive(Clone, Copy)]
pub struct RequestSeen<'a> {
    /// The number of the request.
    pub id: RequestId,
    /// What the spans that it causes descend from: its span, recorded or not, with what the client sent of the trace. `None` if no
    /// spans are made.
    pub context: Option<&'a Context>,
    /// The method as it came.
    pub method: &'a [u8],
    /// The request target as it came, with its query.
    pub target: &'a [u8],
    /// The headers as they came.
    pub headers: Headers<'a>,
}

/// Is told of all requests of a connection and of their responses.
///
/// Each call is made before what it tells of is passed on: a service cannot act on a request before its witness has been told.
/// So a call must take no longer than a moment, and it cannot refuse anything. Nothing that it is shown may be kept as text.
pub trait Witness {
    /// A request has come. Its head is about to reach the service. If it comes in several pieces, its first lines have.
    fn request(&mut self, now: UnixNanos, request: RequestSeen<'_>);

    /// The next bytes of a request's body, of which the first [`SHOWN_BODY`] are shown, without the framing of chunks. The last call
    /// of a body that is complete says that it has `ended`, and shows nothing.
    fn request_body(&mut self, id: RequestId, bytes: &[u8], ended: bool);

    /// The response has come, and its head is about to reach the client. Interim responses are not told.
    fn response(&mut self, now: UnixNanos, id: RequestId, status: u16);

    /// The next bytes of a response's body, which are shown as those of a request's are.
    fn response_body(&mut self, now: UnixNanos, id: RequestId, bytes: &[u8], ended: bool);

    /// The exchange is over: its response is complete, or will never be.
    fn over(&mut self, now: UnixNanos, id: RequestId);
}

/// Gives each connection of a service its witness.
pub trait Witnesses: Send + Sync {
    /// The witness of a new connection.
    fn witness(&self) -> Box<dyn Witness + Send>;
}

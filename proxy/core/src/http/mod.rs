//! HTTP requests to a service: what is read of them, what is added, and the spans that they become.
//!
//! | module | what it is about |
//! |---|---|
//! | [`policy`] | the operator's decisions about requests |
//! | [`propagation`] | the context in the headers of a request, and the headers that pass a context on |
//! | [`witness`] | who is told of requests and responses as they pass |
//! | `environment` | all that a call needs from outside |
//! | [`exchange`] | a request and its response: from their facts to a span |
//! | `head` | the lines of an HTTP/1 head |
//! | `body` | the end of an HTTP/1 body |
//! | `collect` | a head that comes in pieces |
//! | [`session`] | one HTTP/1 connection: bytes in, bytes and events out |
//!
//! Of HTTP/1 every byte is passed on as it came, in the order in which it came, and nothing waits but the line that is being read
//! and what stands behind a header that may be replaced. So a service sees what its client sends: the case and the order of
//! headers, chunks, interim responses, mistakes. What cannot be read for certain is passed on unread. The rules are those of RFC
//! 9112, and where a reader may be lenient this one is not, because two lenient readers may differ.
//!
//! HTTP/2 is read and written by a library in the shell, which uses everything here but the last four.

mod body;
mod collect;
mod environment;
pub mod exchange;
mod head;
pub mod policy;
pub mod propagation;
pub mod session;
pub mod witness;

pub use environment::Environment;
pub use exchange::{Exchange, RequestHead, counter_of};
pub use policy::{Answer, HttpPolicy};
pub use session::HttpSession;
pub use witness::{RequestId, RequestSeen, Witness};

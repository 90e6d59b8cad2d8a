//! Payloads, keys, arguments and secrets leave the proxy only towards those to whom they were sent.
//!
//! Each test sends canaries, which are words that occur nowhere else. Then it searches everything that the process has
//! output: its log at level `trace`, the bytes that the collector received, the console's spans, the metrics, every
//! page of the admin port, the tap, and what the system shows of the process. The names of channels appear in spans and
//! on the tap by design. One of them is a canary too and must be found there, which shows that the search works.
//!
//! | module | canaries |
//! |---|---|
//! | [`traffic`] | in commands of every kind, whole, in pieces, refused, malformed, cut off |
//! | [`transports`] | the same by TLS and by Unix sockets, and where no connection comes about: handshakes, certificates |
//! | [`failures`] | in settings, in a panic's message, where Redis cannot be reached |

mod canary;
mod failures;
mod recorder;
mod traffic;
mod transports;

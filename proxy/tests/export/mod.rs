//! Spans on the wire: what a collector gets, and what becomes of the counts when it does not.
mod answers;
mod console;
mod environment;
mod faults;
mod metrics;
mod process;
mod proxies;
mod rotation;
mod setup;
mod spans;
mod tls;

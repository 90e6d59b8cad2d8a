//! All tests of the program but the oracle, in one executable, so that a change of the library is linked once and not once a
//! subject. `cargo test --workspace --test suite admin::` runs one subject.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admin;
mod answers;
mod auto;
mod backpressure;
mod check;
mod circle;
mod configuration;
mod context_keys;
mod decode;
mod discretion;
mod docs;
mod drain;
mod e2e;
mod export;
mod faults;
mod foreign_text;
mod halfclose;
mod hostile;
mod http;
mod launch;
mod layering;
mod limits;
mod listeners;
mod login;
mod own_redis;
mod process;
mod retry;
mod service_manager;
mod settings_doc;
mod startup;
mod support;
mod tls;
mod top;
mod transparency;
mod view;

//! The binary between ordinary clients and a real `redis-server`, with an OTLP receiver that stands for the collector.
//!
//! | module | what it shows |
//! |---|---|
//! | [`every_client`] | redis-rs, redis-py and ioredis publish and receive as without a proxy, and every message is traced |
//! | [`span_fields`] | what a span says, field by field, on both transports |
//! | [`sampling`] | which spans are made, and that the context travels all the same |
//! | [`carriers`] | contexts in JSON and in the OpenCensus form, and those that services supply |
//! | [`modes`] | what is left alone: by mode, by channel, and because it belongs to Redis |
//! | [`collectors`] | a refusing, hanging or slow collector costs spans and nothing else |
//! | [`commands`] | the spans of commands that are no publishes |
//!
//! The rest is what they share: [`world`] (Redis, collector, sidecars), [`spans`] (what arrived, in a form that tests can
//! compare), [`clients`]. That nothing else changed is shown by the oracle.

#[path = "../support/mod.rs"]
mod support;

mod clients;
mod spans;
mod world;

mod carriers;
mod collectors;
mod commands;
mod every_client;
mod modes;
mod sampling;
mod span_fields;

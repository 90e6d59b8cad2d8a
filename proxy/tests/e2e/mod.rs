//! The binary between ordinary clients and a real `redis-server`, with an OTLP receiver as the collector.
//!
//! | module | what it shows |
//! |---|---|
//! | [`every_client`] | redis-rs, redis-py and ioredis publish and receive as without a proxy, and every message is traced |
//! | [`span_fields`] | what a span says, field by field, on both transports |
//! | [`sampling`] | which spans are made, and that the context travels all the same |
//! | [`carriers`] | contexts in JSON and in the OpenCensus form, and those that services supply |
//! | [`modes`] | what is left alone: by mode, by channel, and because it belongs to Redis |
//! | [`collectors`] | a refusing, hanging or slow collector costs spans and nothing else |
//! | [`beside`] | contexts that proxies tell each other beside messages |
//! | [`quick_start`] | the README's quick start changes nothing for a subscriber without a proxy |
//! | [`commands`] | the spans of commands that are no publishes |
//! | [`following`] | the work of a plain worker is below the delivery that caused it |
//! | [`groups`] | the span of an entry of a stream ends with its `XACK`, and what is claimed is handed over again |
//! | [`job_scripts`] | a job that one script adds and another takes has both ends in one trace |
//! | [`streams`] | contexts in the entries of streams are read by whoever has no proxy, and by no service behind one |
//! | [`envelopes`] | contexts in the envelopes of job libraries are read by workers with a proxy and without one |
//! | [`queues`] | the work of a plain worker is below the item of a list or a stream that caused it |
//!
//! The other modules are shared by the tests: [`deployment`] (Redis, collector, sidecars), [`spans`] (the spans that
//! arrived, in a form that tests can compare) and [`clients`]. The oracle shows that the proxy changes nothing else.

mod beside;
mod clients;
mod deployment;
mod spans;

mod carriers;
mod collectors;
mod commands;
mod envelopes;
mod every_client;
mod following;
mod groups;
mod in_a_row;
mod job_scripts;
mod modes;
mod out_of_band;
mod queues;
mod quick_start;
mod sampling;
mod span_fields;
mod streams;
mod writers;

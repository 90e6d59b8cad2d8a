//! From span records to batches in the form in which they leave the process.
//!
//! A record becomes bytes on the thread that made it, while it is still in that processor's cache: to move it to another
//! thread first cost more than to encode it (`proxy/benches/export.rs`). What travels between threads is a batch.
//!
//! There is an encoder for each pair of a resource and a peer, because OTLP states the resource once for all spans of a
//! request, and the peer's attributes are encoded once and copied into each span. A pair may be added at any time: an
//! endpoint asks for its encoder once, and each span then costs an index and no look-up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redistributed_core::trace::SpanRecord;

use super::connection::Connection;
use super::describe::span_name;
use super::otlp::{EncodedRequest, OpenRequest, SpanEncoder};
use super::{Peer, Resource};
use crate::settings::otel::{OtelSettings, SpanLimits};

/// The place of an encoder among [`Encoders`]: dense, from 0 on, and never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EncoderKey(usize);

impl EncoderKey {
    /// The index of what a list has for this encoder.
    pub(super) fn index(self) -> usize {
        self.0
    }
}

/// The encoders of a process, one for each pair of a resource and a peer.
#[derive(Debug)]
pub(super) struct Encoders {
    /// Whether spans go to a collector.
    otlp: bool,
    /// Whether spans go to the console.
    console: bool,
    limits: SpanLimits,
    all: Mutex<Vec<Arc<Encoder>>>,
}

/// Encodes the spans of one resource that are about one peer.
#[derive(Debug)]
pub(super) struct Encoder {
    key: EncoderKey,
    resource: Arc<Resource>,
    peer: Peer,
    otlp: Option<SpanEncoder>,
    console: bool,
    /// The length of the last batch in bytes, which the next one is likely to have too.
    last_len: AtomicUsize,
}

/// Spans of one encoder, to which more can be added.
#[derive(Debug)]
pub(super) struct Batch {
    encoder: Arc<Encoder>,
    request: Option<OpenRequest>,
    /// The spans as they are, for the console. Empty without it.
    records: Vec<SpanRecord>,
    /// The memory of `records` in bytes.
    records_memory: usize,
    spans: usize,
}

/// Spans of one service, for the console.
#[derive(Debug)]
pub(super) struct ServiceSpans {
    pub(super) service: Arc<str>,
    pub(super) records: Vec<SpanRecord>,
}

/// A batch that is ready to be sent.
#[derive(Debug)]
pub(super) struct EncodedBatch {
    /// The request for the collector, if there is one.
    pub(super) request: Option<EncodedRequest>,
    /// The spans for the console, if they go there.
    pub(super) console: Option<ServiceSpans>,
}

impl Encoders {
    /// No encoders yet, for the destinations and limits that `settings` name.
    pub(super) fn new(settings: &OtelSettings) -> Self {
        Self {
            otlp: settings.otlp.is_some(),
            console: settings.console.is_some(),
            limits: settings.limits.clone(),
            all: Mutex::default(),
        }
    }

    /// The encoder of this pair, which is made if there is none. Resources are the same if they are one object.
    pub(super) fn get(&self, resource: &Arc<Resource>, peer: &Peer) -> Arc<Encoder> {
        // A panic elsewhere does not make a list of encoders wrong.
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |encoder: &&Arc<Encoder>| Arc::ptr_eq(&encoder.resource, resource) && encoder.peer == *peer;
        if let Some(encoder) = all.iter().find(is_it) {
            return Arc::clone(encoder);
        }
        let encoder = Arc::new(Encoder {
            key: EncoderKey(all.len()),
            resource: Arc::clone(resource),
            peer: peer.clone(),
            otlp: self.otlp.then(|| SpanEncoder::new(resource.attributes(), peer, &self.limits)),
            console: self.console,
            last_len: AtomicUsize::new(0),
        });
        all.push(Arc::clone(&encoder));
        encoder
    }
}

impl Encoder {
    /// The handle of this encoder.
    pub(super) fn key(&self) -> EncoderKey {
        self.key
    }

    /// Begins a batch of this encoder, with no span in it.
    pub(super) fn batch(self: &Arc<Self>) -> Batch {
        // A little more, so that a request which is a little longer need not be copied to a larger buffer.
        let last_len = self.last_len.load(Ordering::Relaxed);
        let request = self.otlp.as_ref().map(|otlp| otlp.open(last_len + last_len / 16));
        Batch { encoder: Arc::clone(self), request, records: Vec::new(), records_memory: 0, spans: 0 }
    }
}

impl Batch {
    /// The handle of the batch's encoder.
    pub(super) fn key(&self) -> EncoderKey {
        self.encoder.key
    }

    /// Encodes a span of `connection` and adds it to the batch.
    pub(super) fn add(&mut self, record: &SpanRecord, connection: &Connection) {
        self.spans += 1;
        if let (Some(otlp), Some(request)) = (&self.encoder.otlp, &mut self.request) {
            otlp.add(record, connection.attributes(otlp), request);
        }
        if self.encoder.console {
            self.records_memory += size_of::<SpanRecord>() + span_name(record).1.len();
            self.records.push(record.clone());
        }
    }

    /// Adds the spans of another batch of the same encoder.
    pub(super) fn join(&mut self, other: Self) {
        debug_assert_eq!(self.key(), other.key());
        self.spans += other.spans;
        self.records.extend(other.records);
        self.records_memory += other.records_memory;
        if let (Some(request), Some(other)) = (&mut self.request, &other.request) {
            request.join(other);
        }
    }

    /// Encodes what stands around the spans.
    pub(super) fn finish(self) -> EncodedBatch {
        self.encoder.last_len.store(self.len(), Ordering::Relaxed);
        let request = self.encoder.otlp.as_ref().zip(self.request).map(|(otlp, request)| otlp.close(request));
        let service = Arc::clone(self.encoder.resource.service_name());
        let console = self.encoder.console.then_some(ServiceSpans { service, records: self.records });
        EncodedBatch { request, console }
    }

    /// The number of spans in the batch.
    pub(super) fn spans(&self) -> usize {
        self.spans
    }

    /// The memory that the batch takes, in bytes, with what will stand around its spans.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + self.request.as_ref().map_or(0, OpenRequest::memory) + self.records_memory
    }

    /// The length of the encoded spans in bytes, or the memory of those for the console if that is more.
    pub(super) fn len(&self) -> usize {
        self.request.as_ref().map_or(0, OpenRequest::len).max(self.records_memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_of_resource_and_peer_has_one_encoder_whenever_it_is_asked_for() {
        let encoders = Encoders::new(&OtelSettings::default());
        let (api, worker) = (Arc::<Resource>::default(), Arc::<Resource>::default());
        let peer = |port| Peer { address: "redis".to_owned(), port: Some(port) };
        let key = |resource, port| encoders.get(resource, &peer(port)).key().index();
        assert_eq!([key(&api, 1), key(&api, 2), key(&worker, 1)], [0, 1, 2]);
        assert_eq!([key(&worker, 1), key(&api, 1), key(&worker, 2)], [2, 0, 3]);
    }
}

//! Spans in the form in which they leave the process.
//!
//! A record becomes bytes on the thread that made it, while it is still in that processor's cache: to move it to another
//! thread first cost more than to encode it. What travels between threads is a parcel of many spans.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use redistributed_core::trace::SpanRecord;

use super::Service;
use super::console::Lines;
use super::describe::service_name;
use super::otlp::{EncodedRequest, Host, OpenRequest, SpanEncoder, resource_attributes};
use crate::settings::otel::OtelSettings;

/// Turns one route's records into what is sent of them.
#[derive(Debug)]
pub(super) struct Packer {
    encoder: Option<SpanEncoder>,
    lines: Option<Lines>,
    /// Bytes of the last request, which the next one is likely to have too.
    last_len: AtomicUsize,
}

/// Spans of one route.
#[derive(Debug, Default)]
pub(super) struct Parcel {
    request: Option<OpenRequest>,
    lines: String,
    spans: usize,
}

/// A parcel that gets no more spans.
#[derive(Debug)]
pub(super) struct Sealed {
    /// For a collector, if there is one.
    pub(super) request: Option<EncodedRequest>,
    /// For the console.
    pub(super) lines: String,
}

impl Packer {
    /// One for each route, in order.
    pub(super) fn build_all(settings: &OtelSettings, services: &[Service]) -> Box<[Self]> {
        let host = settings.otlp.is_some().then(|| Host::detect(Path::new("/")));
        let build = |service: &Service| {
            let encoder =
                |host| SpanEncoder::new(service, &resource_attributes(settings, service, host), &settings.limits);
            Self {
                encoder: host.as_ref().map(encoder),
                lines: settings.console.then(|| Lines::new(service_name(settings, service))),
                last_len: AtomicUsize::new(0),
            }
        };
        services.iter().map(build).collect()
    }

    /// A parcel without spans.
    pub(super) fn open(&self) -> Parcel {
        // A little more, so that a request which is a little longer need not be copied to a larger place.
        let last_len = self.last_len.load(Ordering::Relaxed);
        let request = self.encoder.as_ref().map(|encoder| encoder.open(last_len + last_len / 16));
        Parcel { request, ..Parcel::default() }
    }

    /// Adds a span.
    pub(super) fn add(&self, record: &SpanRecord, parcel: &mut Parcel) {
        parcel.spans += 1;
        if let (Some(encoder), Some(request)) = (&self.encoder, &mut parcel.request) {
            encoder.add(record, request);
        }
        if let Some(lines) = &self.lines {
            lines.add(record, &mut parcel.lines);
        }
    }

    /// Makes a parcel ready to be sent.
    pub(super) fn seal(&self, parcel: Parcel) -> Sealed {
        self.last_len.store(parcel.len(), Ordering::Relaxed);
        let request = self.encoder.as_ref().zip(parcel.request).map(|(encoder, request)| encoder.close(request));
        Sealed { request, lines: parcel.lines }
    }
}

impl Parcel {
    /// Adds the spans of another parcel of the same route.
    pub(super) fn join(&mut self, other: Self) {
        self.spans += other.spans;
        self.lines.push_str(&other.lines);
        if let (Some(request), Some(other)) = (&mut self.request, &other.request) {
            request.join(other);
        }
    }

    /// How many spans are in it.
    pub(super) fn spans(&self) -> usize {
        self.spans
    }

    /// The memory that it takes, in bytes, with what will stand around its spans.
    pub(super) fn weight(&self) -> usize {
        size_of::<Self>() + self.request.as_ref().map_or(0, OpenRequest::weight) + self.lines.len()
    }

    /// Its length in bytes, of the longer form if there are two.
    pub(super) fn len(&self) -> usize {
        self.request.as_ref().map_or(0, OpenRequest::len).max(self.lines.len())
    }
}

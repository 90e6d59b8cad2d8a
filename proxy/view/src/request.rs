//! A request of OTLP in protobuf: from its bytes to spans.
//!
//! A request is walked twice. The first walk sees whether it is whole, so that nothing is kept of one that is not. The second one
//! hands out its spans in portions, so that a request of many small spans takes no more memory than one of few.

use std::sync::Arc;

use prost::Message;

use crate::entry::{self, Batch, Entry, Origin};
use crate::proto::field;
use crate::wire::{Fields, Malformed, Value};

/// The largest resource or scope, in bytes.
const MAX_ORIGIN: usize = 64 << 10;

/// The number of spans in a portion.
const PORTION: usize = 1_000;

/// Hands the spans of `request`, an `ExportTraceServiceRequest`, to `take` in portions. Each portion counts those that cannot be
/// kept.
///
/// # Errors
/// The request is not whole. Then `take` was not called.
pub(crate) fn read(request: &[u8], mut take: impl FnMut(Batch)) -> Result<(), Malformed> {
    walk(request, &mut Check)?;
    let mut reader = Reader { take: &mut take, batch: Batch::default(), resource: None, scope: None };
    walk(request, &mut reader)?;
    let rest = reader.batch;
    take(rest);
    Ok(())
}

/// Sees the parts of a request in their order.
trait Visitor {
    fn resource(&mut self, resource: Around<'_>);
    fn scope(&mut self, scope: Around<'_>);
    fn span(&mut self, span: &[u8]);
}

/// A visitor for the sake of the walk.
struct Check;

/// Makes batches of what it sees.
struct Reader<'t> {
    take: &'t mut dyn FnMut(Batch),
    batch: Batch,
    resource: Option<Arc<entry::Resource>>,
    scope: Option<Arc<entry::Scope>>,
}

/// What stands around the parts of a message: a resource or a scope, and its schema.
#[derive(Clone, Copy, Default)]
struct Around<'a> {
    message: &'a [u8],
    schema_url: &'a [u8],
}

impl Visitor for Check {
    fn resource(&mut self, _: Around<'_>) {}
    fn scope(&mut self, _: Around<'_>) {}
    fn span(&mut self, _: &[u8]) {}
}

impl Visitor for Reader<'_> {
    fn resource(&mut self, resource: Around<'_>) {
        self.resource = resource.decode().map(|(resource, schema_url)| entry::Resource::new(resource, schema_url));
    }

    fn scope(&mut self, scope: Around<'_>) {
        self.scope = scope.decode().map(|(scope, schema_url)| entry::Scope::new(scope, schema_url));
    }

    fn span(&mut self, span: &[u8]) {
        match (&self.resource, &self.scope) {
            (Some(resource), Some(scope)) => {
                let origin = Origin { resource: Arc::clone(resource), scope: Arc::clone(scope) };
                self.batch.push(Entry::read(&origin, span));
            }
            _ => self.batch.refuse(1, "a resource or a scope is no protobuf message, or has more than 64 KiB"),
        }
        if self.batch.spans.len() == PORTION {
            (self.take)(std::mem::take(&mut self.batch));
        }
    }
}

impl<'a> Around<'a> {
    /// Reads `whole`, in which `message` is the number of the message.
    fn read(whole: &'a [u8], message: u32) -> Result<Self, Malformed> {
        let mut around = Self::default();
        for field in Fields::of(whole) {
            match field? {
                (number, Value::Bytes(bytes)) if number == message => around.message = bytes,
                (field::SCHEMA_URL, Value::Bytes(bytes)) => around.schema_url = bytes,
                _ => {}
            }
        }
        Ok(around)
    }

    fn decode<M: Message + Default>(self) -> Option<(M, String)> {
        let is_small = self.message.len() <= MAX_ORIGIN && self.schema_url.len() <= MAX_ORIGIN;
        let schema_url = std::str::from_utf8(self.schema_url).ok().filter(|_| is_small)?;
        Some((M::decode(self.message).ok()?, schema_url.to_owned()))
    }
}

/// Shows `request` to `visitor`.
fn walk(request: &[u8], visitor: &mut dyn Visitor) -> Result<(), Malformed> {
    for of_resource in messages(request, field::RESOURCE_SPANS) {
        let of_resource = of_resource?;
        // It may stand behind its spans.
        visitor.resource(Around::read(of_resource, field::RESOURCE)?);
        for of_scope in messages(of_resource, field::SCOPE_SPANS) {
            let of_scope = of_scope?;
            visitor.scope(Around::read(of_scope, field::SCOPE)?);
            for span in messages(of_scope, field::SPANS) {
                visitor.span(span?);
            }
        }
    }
    Ok(())
}

/// The messages with this number in `whole`.
fn messages(whole: &[u8], number: u32) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    Fields::of(whole).filter_map(move |field| match field {
        Ok((of_field, Value::Bytes(message))) if of_field == number => Some(Ok(message)),
        Ok(_) => None,
        Err(malformed) => Some(Err(malformed)),
    })
}

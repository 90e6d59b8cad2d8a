//! The attributes by which measurements of one instrument are told apart, read from a span.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use opentelemetry_semantic_conventions::attribute as key;
use redistributed_core::trace::{Destination, ErrorType, Operation, SpanRecord};

use super::Instrument;
use crate::telemetry::Peer;
use crate::telemetry::describe::{PUBLISH, SEND, is_of_redis};

/// The most attributes that a span gives to its measurement.
const MOST: usize = 6;

/// The value of an attribute. Its text is borrowed from a span, or is owned by a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Value<T> {
    /// The value is text.
    Text(T),
    /// The value is a number, and stays one in OTLP.
    Number(u64),
    /// The value is a number that the conventions want as text.
    Digits(u64),
    /// The value is `true`.
    True,
}

/// An attribute that a series owns.
pub(super) type Attribute = (&'static str, Value<Box<str>>);

/// The attributes of one measurement, as its span has them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes<'a> {
    list: [(&'static str, Value<&'a str>); MOST],
    len: usize,
}

impl<'a> Attributes<'a> {
    /// The instrument that measures the operation of `record`, and the attributes of the measurement.
    pub(super) fn of(record: &'a SpanRecord) -> (Instrument, Self) {
        let mut attributes = Self { list: [("", Value::True); MOST], len: 0 };
        let instrument = match &record.operation {
            Operation::Publish { channel, .. } => {
                attributes.text(key::MESSAGING_OPERATION_NAME, Some(PUBLISH));
                attributes.destination(channel);
                Instrument::Sent
            }
            Operation::Deliver { channel, .. } => {
                attributes.destination(channel);
                Instrument::Processed
            }
            Operation::Item { queue, group, .. } => {
                attributes.text(key::MESSAGING_DESTINATION_TEMPLATE, queue.as_deref());
                let group = group.as_deref().map(|group| &*group.name);
                attributes.text(key::MESSAGING_CONSUMER_GROUP_NAME, group);
                Instrument::Processed
            }
            Operation::Send(sent) => {
                attributes.text(key::MESSAGING_OPERATION_NAME, Some(SEND));
                attributes.text(key::MESSAGING_DESTINATION_TEMPLATE, sent.queue.as_deref());
                Instrument::Sent
            }
            Operation::Command { name, database, .. } => {
                attributes.text(key::DB_OPERATION_NAME, Some(name));
                attributes.push(key::DB_NAMESPACE, Value::Digits((*database).into()));
                let code = record.error.as_ref().filter(|error| is_of_redis(error));
                attributes.text(key::DB_RESPONSE_STATUS_CODE, code.map(ErrorType::as_str));
                Instrument::Commands
            }
            Operation::Request(request) => {
                attributes.text(key::HTTP_REQUEST_METHOD, Some(request.method.as_str()));
                attributes.text(key::URL_SCHEME, Some(if request.is_secure { "https" } else { "http" }));
                attributes.text(key::HTTP_ROUTE, request.route.as_deref());
                if let Some(status) = request.status {
                    attributes.push(key::HTTP_RESPONSE_STATUS_CODE, Value::Number(status.into()));
                }
                attributes.text(key::NETWORK_PROTOCOL_VERSION, Some(request.version.as_str()));
                Instrument::Requests
            }
        };
        attributes.text(key::ERROR_TYPE, record.error.as_ref().map(ErrorType::as_str));
        (instrument, attributes)
    }

    /// The template, or the name of a channel that has none: `naming` has then found nothing in it that looks like an id.
    fn destination(&mut self, channel: &'a Destination) {
        match channel.template() {
            Some(template) => self.text(key::MESSAGING_DESTINATION_TEMPLATE, Some(template)),
            None => self.text(key::MESSAGING_DESTINATION_NAME, channel.shown_channel().filter(|name| !name.is_empty())),
        }
    }

    fn text(&mut self, name: &'static str, value: Option<&'a str>) {
        if let Some(value) = value {
            self.push(name, Value::Text(value));
        }
    }

    fn push(&mut self, name: &'static str, value: Value<&'a str>) {
        debug_assert!(self.len < MOST, "{name} has no room");
        if let Some(place) = self.list.get_mut(self.len) {
            *place = (name, value);
            self.len += 1;
        }
    }

    fn as_slice(&self) -> &[(&'static str, Value<&'a str>)] {
        self.list.get(..self.len).unwrap_or_default()
    }

    /// Whether a series has these attributes.
    pub(super) fn are(&self, owned: &[Attribute]) -> bool {
        let own = self.as_slice();
        own.len() == owned.len() && own.iter().zip(owned).all(|(own, (name, value))| *own == (*name, value.borrowed()))
    }

    pub(super) fn to_owned(self) -> Box<[Attribute]> {
        self.as_slice().iter().map(|(name, value)| (*name, value.map(Into::into))).collect()
    }
}

impl PartialEq for Attributes<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Hash for Attributes<'_> {
    /// The names are left out, because those of one instrument hardly differ.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().iter().for_each(|(_, value)| value.hash(state));
    }
}

impl<T: AsRef<str>> Value<T> {
    /// The value with its text made by `text`.
    fn map<'a, U>(&'a self, text: impl FnOnce(&'a str) -> U) -> Value<U> {
        match self {
            Self::Text(own) => Value::Text(text(own.as_ref())),
            Self::Number(number) => Value::Number(*number),
            Self::Digits(number) => Value::Digits(*number),
            Self::True => Value::True,
        }
    }

    /// The value with its text borrowed.
    pub(super) fn borrowed(&self) -> Value<&str> {
        self.map(|text| text)
    }

    /// The value as a text, which is what Prometheus has for every value.
    pub fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.as_ref().to_owned(),
            Self::Number(number) | Self::Digits(number) => number.to_string(),
            Self::True => "true".to_owned(),
        }
    }
}

/// `server.address` and `server.port` of the Redis behind an endpoint. Of a database the port is told only if it is not `default`.
pub(super) fn of_server(peer: &Arc<Peer>, default: Option<u16>) -> impl Iterator<Item = (&'static str, Value<&str>)> {
    let port = peer.port.filter(|port| Some(*port) != default);
    let port = port.map(|port| (key::SERVER_PORT, Value::Number(port.into())));
    std::iter::once((key::SERVER_ADDRESS, Value::Text(peer.address.as_str()))).chain(port)
}

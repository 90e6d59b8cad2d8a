//! Which transactions match a question.

use std::ops::Bound;

use redistributed_core::trace::TraceId;

use super::transaction::Transaction;
use super::{Inner, Store, Summary};
use crate::entry::Entry;
use crate::ids::TracePrefix;
use crate::proto::{AnyValue, KeyValue, Value};

/// The number of spans that are looked at before others may use the store again.
const AT_A_TIME: usize = 20_000;

/// A question. What is `None` matches everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    /// The name of a service that takes part.
    pub(crate) service: Option<String>,
    /// The name, or the template, of a channel that takes part.
    pub(crate) channel: Option<String>,
    /// A text in lower case that stands in the name, in an attribute or in an event of a span, in whatever case.
    pub(crate) text: Option<String>,
    /// The begin of the trace's id.
    pub(crate) trace: Option<TracePrefix>,
    /// The least duration, in nanoseconds.
    pub(crate) least: Option<u64>,
    /// The greatest duration, in nanoseconds.
    pub(crate) most: Option<u64>,
    /// Whether a span has to have failed.
    pub(crate) has_errors: bool,
    /// Only transactions that came before the one with this number.
    pub(crate) before: Option<u64>,
    /// The number of transactions in an answer.
    pub(crate) limit: usize,
}

/// An answer, or the part of it that was found so far.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The transactions, the newest first.
    pub(crate) transactions: Vec<Summary>,
    /// The number from which to go on; `None` if there are no more.
    pub(crate) next: Option<u64>,
}

impl Store {
    /// Looks for transactions that came before `found.next`, or before all, and adds them to `found`. Returns whether the answer is
    /// complete: it is not if enough was looked at, and others may want the store.
    pub(crate) fn search(&self, query: &Query, found: &mut Found) -> bool {
        let inner = self.lock();
        let before = found.next.or(query.before).unwrap_or(u64::MAX);
        let mut looked_at = 0;
        for number in inner.candidates(query, before) {
            let Some(transaction) = inner.at(number) else { continue };
            if found.transactions.len() == query.limit {
                return true;
            }
            if looked_at > AT_A_TIME {
                return false;
            }
            looked_at += if query.text.is_some() { transaction.spans.len() } else { 1 };
            found.next = Some(number);
            if query.matches(transaction) {
                found.transactions.push(transaction.summary());
            }
        }
        found.next = None;
        true
    }
}

impl Inner {
    /// The numbers before `before` of transactions that may match, in falling order.
    fn candidates<'a>(&'a self, query: &Query, before: u64) -> Box<dyn Iterator<Item = u64> + 'a> {
        let by_service = query.service.as_ref().map(|name| self.services.get(name));
        let by_channel = query.channel.as_ref().map(|name| self.channels.get(name));
        let numbers = match (by_service, by_channel) {
            (None, None) => return Box::new(self.by_number.range(..before).rev().map(|(number, _)| *number)),
            (Some(None), _) | (_, Some(None)) => return Box::new(std::iter::empty()),
            (Some(Some(one)), Some(Some(other))) if other.len() < one.len() => other,
            (Some(Some(one)), _) | (None, Some(Some(one))) => one,
        };
        Box::new(numbers.range((Bound::Unbounded, Bound::Excluded(before))).rev().copied())
    }

    fn at(&self, number: u64) -> Option<&Transaction> {
        let trace: &TraceId = self.by_number.get(&number)?;
        self.transactions.get(trace)
    }
}

impl Query {
    fn matches(&self, transaction: &Transaction) -> bool {
        let duration = transaction.duration();
        self.service.as_ref().is_none_or(|service| transaction.services.contains(&**service))
            && self.channel.as_ref().is_none_or(|name| transaction.channels.iter().any(|of| *of.name == **name))
            && self.trace.is_none_or(|prefix| prefix.matches(transaction.trace))
            && self.least.is_none_or(|least| duration >= least)
            && self.most.is_none_or(|most| duration <= most)
            && (!self.has_errors || transaction.errors() > 0)
            && self.text.as_ref().is_none_or(|text| {
                transaction.services.iter().any(|service| contains(service.as_bytes(), text))
                    || transaction.spans.values().any(|span| says(span, text))
            })
    }
}

/// Whether `text` stands somewhere in the span where a person would look for it.
fn says(entry: &Entry, text: &str) -> bool {
    // All texts of a span stand in its bytes as they are, so that most spans need not be decoded. Numbers do not.
    let may_be_number = text.bytes().all(|byte| byte.is_ascii_digit() || b"-.e".contains(&byte));
    if !may_be_number && !contains(&entry.encoded, text) {
        return false;
    }
    let span = entry.decode();
    let in_attributes = |attributes: &[KeyValue]| {
        attributes.iter().any(|of| {
            contains(of.key.as_bytes(), text) || of.value.as_ref().is_some_and(|value| value_says(value, text))
        })
    };
    contains(span.name.as_bytes(), text)
        || in_attributes(&span.attributes)
        || span.events.iter().any(|event| contains(event.name.as_bytes(), text) || in_attributes(&event.attributes))
        || span.status.is_some_and(|status| contains(status.message.as_bytes(), text))
}

fn value_says(value: &AnyValue, text: &str) -> bool {
    match &value.value {
        Some(Value::Text(own)) => contains(own.as_bytes(), text),
        Some(Value::Int(number)) => number.to_string() == text,
        Some(Value::Double(number)) => number.to_string() == text,
        Some(Value::Array(array)) => array.values.iter().any(|value| value_says(value, text)),
        Some(Value::Map(map)) => map.values.iter().any(|of| {
            contains(of.key.as_bytes(), text) || of.value.as_ref().is_some_and(|value| value_says(value, text))
        }),
        Some(Value::Bool(_) | Value::Bytes(_)) | None => false,
    }
}

/// Whether `text`, which is in lower case, stands in `bytes`, in whatever case of ASCII.
fn contains(bytes: &[u8], text: &str) -> bool {
    let text = text.as_bytes();
    let Some((first, rest)) = text.split_first() else { return true };
    let is_first = |byte: &u8| byte.to_ascii_lowercase() == *first;
    let mut left = bytes;
    while let Some(at) = left.iter().position(is_first) {
        let after = left.get(at + 1..).unwrap_or_default();
        if after.get(..rest.len()).is_some_and(|same| same.eq_ignore_ascii_case(rest)) {
            return true;
        }
        left = after;
    }
    false
}

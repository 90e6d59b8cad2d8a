//! A cache of the last channel's rule, and of its names in spans.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::policy::{Policy, Rule};
use crate::trace::Destination;

/// The last channel of one direction, with its rule and with its names. A service often uses the same channel again, and it is
/// then not decoded or matched against globs again. The names are made when the first record of a span needs them.
#[derive(Debug, Default)]
pub(crate) struct ChannelCache {
    bytes: Vec<u8>,
    rule: Option<Rule>,
    named: Option<Named>,
    shared: Option<Arc<[u8]>>,
}

/// The names of a channel.
#[derive(Debug)]
struct Named {
    /// The pattern that its messages are delivered for, as Redis sent it.
    pattern: Option<Box<[u8]>>,
    destination: Destination,
    pattern_text: Option<Arc<str>>,
}

impl ChannelCache {
    /// Drops what depends on the policy, because another one is in force.
    pub(crate) fn invalidate(&mut self) {
        self.rule = None;
        self.named = None;
    }

    /// The rule of `channel`.
    pub(crate) fn look_up(&mut self, channel: &[u8], policy: &Policy) -> Rule {
        if self.bytes != channel {
            self.invalidate();
            self.shared = None;
            self.bytes.clear();
            self.bytes.extend_from_slice(channel);
        }
        self.last(policy)
    }

    /// The rule of the channel that was looked up last.
    pub(crate) fn last(&mut self, policy: &Policy) -> Rule {
        *self.rule.get_or_insert_with(|| policy.rule(&self.bytes))
    }

    /// The name of the channel that was looked up last, to be shared.
    pub(crate) fn shared(&mut self) -> Arc<[u8]> {
        Arc::clone(self.shared.get_or_insert_with(|| self.bytes.as_slice().into()))
    }

    /// The channel that was looked up last, for the record of a message that was delivered for `pattern`, and the pattern. Nothing but
    /// the name itself, for those who watch, is told of a channel that is not traced.
    pub(crate) fn destination(&mut self, pattern: Option<&[u8]>, policy: &Policy) -> (Destination, Option<Arc<str>>) {
        self.named.take_if(|named| named.pattern.as_deref() != pattern);
        let named = self.named.get_or_insert_with(|| {
            let (channel, pattern_text) = (String::from_utf8_lossy(&self.bytes), pattern.map(text));
            let destination = match self.rule.get_or_insert_with(|| policy.rule(&self.bytes)).traced {
                true => policy.destination(&channel, pattern_text.as_deref()),
                false => Destination::new(&channel, None, true),
            };
            Named { pattern: pattern.map(Box::from), destination, pattern_text }
        });
        (named.destination.clone(), named.pattern_text.clone())
    }
}

/// The bytes as text. Bytes that are not UTF-8 are replaced by U+FFFD.
pub(crate) fn text(bytes: &[u8]) -> Arc<str> {
    Arc::from(String::from_utf8_lossy(bytes))
}

//! The last channel's name and rule, so that they are looked up once.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::policy::{Policy, Rule};

/// The last channel seen in one direction. A service mostly uses the same channel again, and then its name is not decoded,
/// allocated or matched against globs a second time.
#[derive(Debug, Default)]
pub(crate) struct ChannelCache {
    bytes: Vec<u8>,
    cached: Option<(Arc<str>, Rule)>,
}

impl ChannelCache {
    /// Forgets the channel's rule, because another policy is in force.
    pub(crate) fn invalidate(&mut self) {
        self.cached = None;
    }

    /// The name and the rule of `channel`.
    pub(crate) fn look_up(&mut self, channel: &[u8], policy: &Policy) -> (&Arc<str>, Rule) {
        if self.bytes != channel {
            self.cached = None;
            self.bytes.clear();
            self.bytes.extend_from_slice(channel);
        }
        self.last(policy)
    }

    /// The name and the rule of the channel that was looked up last.
    pub(crate) fn last(&mut self, policy: &Policy) -> (&Arc<str>, Rule) {
        let Self { bytes, cached } = self;
        let (name, rule) = cached.get_or_insert_with(|| (text(bytes), policy.rule(bytes)));
        (name, *rule)
    }
}

/// Bytes as text. What is not UTF-8 is replaced by U+FFFD.
pub(crate) fn text(bytes: &[u8]) -> Arc<str> {
    Arc::from(String::from_utf8_lossy(bytes))
}

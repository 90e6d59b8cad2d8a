//! A cache of the last channel's name and rule.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::policy::{Policy, Rule};

/// The last channel of one direction, with its name and its rule. A service often uses the same channel again, and the name
/// is then not decoded, allocated or matched against globs again.
#[derive(Debug, Default)]
pub(crate) struct ChannelCache {
    bytes: Vec<u8>,
    cached: Option<(Arc<str>, Rule)>,
}

impl ChannelCache {
    /// Drops the channel's rule, because another policy is in force.
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

/// The bytes as text. Bytes that are not UTF-8 are replaced by U+FFFD.
pub(crate) fn text(bytes: &[u8]) -> Arc<str> {
    Arc::from(String::from_utf8_lossy(bytes))
}

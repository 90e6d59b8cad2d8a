//! A channel's name and rule, remembered from message to message.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::policy::{Policy, Rule};

/// The last channel seen in one direction: a service mostly uses the same one again, and then its name is not decoded,
/// allocated or matched against globs a second time.
#[derive(Debug, Default)]
pub(super) struct ChannelMemo {
    bytes: Vec<u8>,
    known: Option<(Arc<str>, Rule)>,
}

impl ChannelMemo {
    /// The rule may have changed.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }

    pub(super) fn look_up(&mut self, channel: &[u8], policy: &Policy) -> (&Arc<str>, Rule) {
        if self.bytes != channel {
            self.known = None;
            self.bytes.clear();
            self.bytes.extend_from_slice(channel);
        }
        let (name, rule) = self.known.get_or_insert_with(|| (text(channel), policy.rule(channel)));
        (name, *rule)
    }
}

/// Bytes that are not UTF-8 are replaced by U+FFFD.
pub(super) fn text(bytes: &[u8]) -> Arc<str> {
    Arc::from(String::from_utf8_lossy(bytes))
}

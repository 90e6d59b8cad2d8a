//! The topics that clients subscribe to: channels, patterns and shard channels.

use redistributed_core::service::SubscriptionKind;

/// A channel, a pattern or a shard channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic {
    /// Which of the three it is. The same name may be used for each kind.
    pub kind: SubscriptionKind,
    /// The name of the channel, or the pattern.
    pub name: Box<[u8]>,
}

impl Topic {
    /// Makes a topic with a copy of `name`.
    pub fn new(kind: SubscriptionKind, name: &[u8]) -> Self {
        Self { kind, name: name.into() }
    }
}

/// The letter that stands for `kind` where proxies write topics for each other.
pub(super) fn kind_letter(kind: SubscriptionKind) -> char {
    match kind {
        SubscriptionKind::Channel => 'c',
        SubscriptionKind::Pattern => 'p',
        SubscriptionKind::Shard => 's',
    }
}

/// The inverse of [`kind_letter`].
pub(super) fn kind_from_letter(letter: u8) -> Option<SubscriptionKind> {
    match letter {
        b'c' => Some(SubscriptionKind::Channel),
        b'p' => Some(SubscriptionKind::Pattern),
        b's' => Some(SubscriptionKind::Shard),
        _ => None,
    }
}

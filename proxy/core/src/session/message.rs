//! An array or push that may be a message or a confirmation: what its elements are for.

use alloc::vec::Vec;

use super::command::Word;
use crate::service::SubscriptionKind;

/// An array or push that may be a message or a confirmation.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) push: bool,
    /// Whether it is a message, if it looks like one.
    pub(super) deliverable: bool,
    /// Elements, the first included.
    pub(super) count: u64,
    pub(super) index: u64,
    pub(super) word: Word,
    pub(super) shape: Shape,
    pub(super) pattern: Vec<u8>,
    pub(super) channel: Vec<u8>,
    pub(super) pattern_too_long: bool,
    pub(super) channel_too_long: bool,
    pub(super) holding: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Shape {
    #[default]
    Unknown,
    Message {
        sharded: bool,
    },
    PatternMessage,
    Confirmation {
        kind: SubscriptionKind,
        subscribe: bool,
    },
}

impl Message {
    pub(super) fn begin(&mut self, push: bool, count: u64, deliverable: bool) {
        self.push = push;
        self.deliverable = deliverable;
        self.count = count;
        self.index = 0;
        self.word.clear();
        self.shape = Shape::Unknown;
        self.pattern.clear();
        self.channel.clear();
        self.pattern_too_long = false;
        self.channel_too_long = false;
        self.holding = false;
    }

    pub(super) fn role(&self) -> Role {
        match (self.index, self.shape) {
            (0, _) => Role::Word,
            (1, Shape::Message { .. }) | (2, Shape::PatternMessage) => Role::Channel,
            (1, Shape::PatternMessage) => Role::Pattern,
            (1, Shape::Confirmation { .. }) => Role::Name,
            (2, Shape::Message { .. }) | (3, Shape::PatternMessage) => Role::Payload,
            _ => Role::Unread,
        }
    }

    pub(super) fn copy(&mut self, piece: &[u8]) {
        match self.role() {
            Role::Word => self.word.push(piece),
            Role::Pattern if !self.pattern_too_long => self.pattern.extend_from_slice(piece),
            Role::Channel | Role::Name if !self.channel_too_long => self.channel.extend_from_slice(piece),
            _ => {}
        }
    }

    /// The first element says what the others are, if their number fits.
    pub(super) fn word_ends(&mut self) {
        use SubscriptionKind::{Channel, Pattern, Shard};
        let confirmation = |kind, subscribe| Shape::Confirmation { kind, subscribe };
        let shape = match (self.word.as_bytes(), self.count) {
            (b"message", 3) => Shape::Message { sharded: false },
            (b"smessage", 3) => Shape::Message { sharded: true },
            (b"pmessage", 4) => Shape::PatternMessage,
            (b"subscribe", 3) => confirmation(Channel, true),
            (b"psubscribe", 3) => confirmation(Pattern, true),
            (b"ssubscribe", 3) => confirmation(Shard, true),
            (b"unsubscribe", 3) => confirmation(Channel, false),
            (b"punsubscribe", 3) => confirmation(Pattern, false),
            (b"sunsubscribe", 3) => confirmation(Shard, false),
            _ => Shape::Unknown,
        };
        let is_message = matches!(shape, Shape::Message { .. } | Shape::PatternMessage);
        self.shape = if is_message && !self.deliverable { Shape::Unknown } else { shape };
    }

    /// The pattern that it came for, if that is not too long.
    pub(super) fn pattern(&self) -> Option<&[u8]> {
        (self.shape == Shape::PatternMessage && !self.pattern_too_long).then_some(&*self.pattern)
    }

    pub(super) fn is_sharded(&self) -> bool {
        self.shape == Shape::Message { sharded: true }
    }

    /// What the end of the frame means: a message is no reply, an array that only looked like one is.
    pub(super) fn meaning(&self) -> Meaning {
        let is_message = matches!(self.shape, Shape::Message { .. } | Shape::PatternMessage);
        if self.push || is_message { Meaning::Nothing } else { Meaning::Reply }
    }
}

/// What an element is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Word,
    Pattern,
    Channel,
    /// Of a confirmation: a channel or a pattern.
    Name,
    Payload,
    Unread,
}

/// What the end of a frame means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A reply has been given.
    Reply,
    /// Nothing: a push, or an attribute of the reply that follows.
    Nothing,
}

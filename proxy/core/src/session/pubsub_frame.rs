//! The arrays and pushes that may be a message or a confirmation, and the roles of their elements.

use alloc::vec::Vec;

use crate::commands::Word;
use crate::pairing::{Frame, Messages};
use crate::policy::MAX_CHANNEL_LEN;
use crate::rewrite::Message;
use crate::service::SubscriptionKind::{self, Channel, Pattern, Shard};

/// Longest pattern that a span names, in bytes.
pub(super) const MAX_PATTERN_LEN: usize = MAX_CHANNEL_LEN;

/// An array or push that may be a message or a confirmation, while it is being read.
#[derive(Debug)]
pub(super) struct PubSubFrame {
    pub(super) push: bool,
    /// Whether the frame is a message if it looks like one.
    pub(super) messages: Messages,
    /// What the frame is if it looks like neither.
    otherwise: Frame,
    /// The number of elements, the first included.
    pub(super) count: u64,
    pub(super) index: u64,
    pub(super) shape: Shape,
    word: Word,
    pattern: Name,
    channel: Name,
}

/// The kind of a frame by its first element.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Shape {
    /// The frame is neither a message nor a confirmation, or its first element has not been read.
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
    /// A push of Redis Enterprise and Redis Cloud before a maintenance: a number, a time in seconds, and the address to which
    /// the client is to move.
    Moving,
}

/// The role of an element.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The first element, which decides the shape.
    Word,
    Pattern,
    Channel,
    /// The channel or the pattern of a confirmation.
    Name,
    Payload,
    /// The address of a `MOVING` push.
    Address,
    Unread,
}

/// A channel's name or a pattern, which is kept unless it is too long.
#[derive(Debug, Default)]
struct Name {
    bytes: Vec<u8>,
    too_long: bool,
}

impl Shape {
    /// The shape of a frame of `count` elements that begins with `word`, if `messages` allows it.
    #[inline]
    pub(super) fn new(word: &[u8], count: u64, messages: Messages) -> Self {
        let confirmation = |kind, subscribe| Self::Confirmation { kind, subscribe };
        let may_be_message = messages != Messages::None;
        match (word, count) {
            (b"message", 3) if may_be_message => Self::Message { sharded: false },
            (b"smessage", 3) if may_be_message => Self::Message { sharded: true },
            (b"pmessage", 4) if may_be_message => Self::PatternMessage,
            _ if messages == Messages::Own => Self::Unknown,
            (b"subscribe", 3) => confirmation(Channel, true),
            (b"psubscribe", 3) => confirmation(Pattern, true),
            (b"ssubscribe", 3) => confirmation(Shard, true),
            (b"unsubscribe", 3) => confirmation(Channel, false),
            (b"punsubscribe", 3) => confirmation(Pattern, false),
            (b"sunsubscribe", 3) => confirmation(Shard, false),
            _ => Self::Unknown,
        }
    }

    /// Whether a frame of `count` elements can be a message or a confirmation.
    pub(super) fn is_possible(count: u64) -> bool {
        matches!(count, 3 | 4)
    }

    pub(super) fn is_message(self) -> bool {
        matches!(self, Self::Message { .. } | Self::PatternMessage)
    }
}

impl PubSubFrame {
    pub(super) fn new() -> Self {
        Self {
            push: false,
            messages: Messages::None,
            otherwise: Frame::Reply,
            count: 0,
            index: 0,
            shape: Shape::Unknown,
            word: Word::default(),
            pattern: Name::default(),
            channel: Name::default(),
        }
    }

    pub(super) fn begin(&mut self, push: bool, count: u64, messages: Messages, otherwise: Frame) {
        (self.push, self.count, self.messages, self.otherwise) = (push, count, messages, otherwise);
        self.index = 0;
        self.shape = Shape::Unknown;
        self.word.clear();
        self.pattern.begin(0, 0);
        self.channel.begin(0, 0);
    }

    /// Whether the frame is a `MOVING` push if its first element says so.
    pub(super) fn may_be_moving(&self) -> bool {
        self.push && self.count == 4 && self.index == 0
    }

    /// Ends a first element that is a line.
    pub(super) fn moving_line_ends(&mut self) {
        self.shape = if self.word.as_bytes() == b"MOVING\r\n" { Shape::Moving } else { Shape::Unknown };
    }

    /// The role of the element that is being read.
    pub(super) fn role(&self) -> Role {
        match (self.index, self.shape) {
            (0, _) => Role::Word,
            (1, Shape::Message { .. }) | (2, Shape::PatternMessage) => Role::Channel,
            (1, Shape::PatternMessage) => Role::Pattern,
            (1, Shape::Confirmation { .. }) => Role::Name,
            (2, Shape::Message { .. }) | (3, Shape::PatternMessage) => Role::Payload,
            (3, Shape::Moving) => Role::Address,
            _ => Role::Unread,
        }
    }

    /// An element of `len` bytes begins.
    pub(super) fn element_begins(&mut self, len: u64) {
        match self.role() {
            Role::Pattern => self.pattern.begin(len, MAX_PATTERN_LEN),
            Role::Channel | Role::Name => self.channel.begin(len, MAX_CHANNEL_LEN),
            Role::Word | Role::Payload | Role::Address | Role::Unread => {}
        }
    }

    /// Keeps the next bytes of the element that is being read, if they are needed.
    pub(super) fn copy(&mut self, piece: &[u8]) {
        match self.role() {
            Role::Word => self.word.push(piece),
            Role::Pattern => self.pattern.push(piece),
            Role::Channel | Role::Name => self.channel.push(piece),
            Role::Payload | Role::Address | Role::Unread => {}
        }
    }

    /// The first element is complete and decides the shape.
    pub(super) fn word_ends(&mut self) {
        self.shape = match self.word.as_bytes() {
            b"MOVING" if self.may_be_moving() => Shape::Moving,
            word => Shape::new(word, self.count, self.messages),
        };
    }

    /// The channel or the pattern of a confirmation, if it is not too long.
    pub(super) fn name(&self) -> Option<&[u8]> {
        self.channel.get()
    }

    /// The head of the message, if the frame is one.
    pub(super) fn message(&self) -> Message<'_> {
        let pattern = self.pattern.get().filter(|_| self.shape == Shape::PatternMessage);
        Message { channel: self.channel.get(), pattern, sharded: self.shape == Shape::Message { sharded: true } }
    }

    /// What the frame is, once it has turned out to be neither a message nor a confirmation.
    pub(super) fn otherwise(&self) -> Frame {
        if self.shape.is_message() && self.otherwise == Frame::Reply { Frame::Unasked } else { self.otherwise }
    }
}

impl Name {
    fn begin(&mut self, len: u64, limit: usize) {
        self.bytes.clear();
        self.too_long = usize::try_from(len).map_or(true, |len| len > limit);
    }

    fn push(&mut self, piece: &[u8]) {
        if !self.too_long {
            self.bytes.extend_from_slice(piece);
        }
    }

    fn get(&self) -> Option<&[u8]> {
        (!self.too_long).then_some(&*self.bytes)
    }
}

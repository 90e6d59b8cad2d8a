//! The multibulk request that is being read, as far as it has been read.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::commands::{self, MAX_WORDS, Plan, Word};
use crate::rewrite::{Decision, Publish};
use crate::session::client_name::ClientNameReader;
use crate::trace::{CommandId, UnixNanos};

/// The multibulk request that is being read.
#[derive(Debug)]
pub(super) struct Partial {
    /// The number of arguments, the command's name included.
    pub(super) count: u64,
    /// The position of the argument that is being read.
    pub(super) index: u64,
    pub(super) words: [Word; MAX_WORDS],
    /// How many of the first arguments are copied to `words`.
    pub(super) words_wanted: u64,
    pub(super) publish: Option<PartialPublish>,
    pub(super) channel: Vec<u8>,
    /// Whether the request is held back because it may be an `XADD` that gets a context.
    pub(super) is_held: bool,
    /// Reads the arguments of a command that can name the connection.
    pub(super) client_name: Option<Box<ClientNameReader>>,
    pub(super) start: UnixNanos,
}

/// What is known so far of a request that is a publish.
#[derive(Debug, Default)]
pub(super) struct PartialPublish {
    pub(super) sharded: bool,
    pub(super) channel_too_long: bool,
    /// Whether the payload is held back for the decision.
    pub(super) admitted: bool,
    pub(super) decision: Decision,
    /// What the publish is called where its reply is reported.
    pub(super) command: Option<CommandId>,
}

impl Partial {
    pub(super) fn begin(&mut self, count: u64) {
        self.count = count;
        self.index = 0;
        self.words_wanted = 1;
        self.publish = None;
        self.client_name = None;
        self.channel.clear();
        self.words.iter_mut().for_each(Word::clear);
    }

    /// Whether the command adds items to a list, a sorted set or a stream.
    pub(super) fn adds_items(&self) -> bool {
        let [name, ..] = &self.words;
        commands::find(name.as_bytes()).is_some_and(|command| command.pushes.is_some())
    }

    /// Whether the argument that comes next is the payload of a publish.
    pub(super) fn is_at_payload(&self) -> bool {
        self.index == 2 && self.publish.is_some()
    }

    /// Keeps the next bytes of the argument that is being read, if they are needed.
    pub(super) fn copy(&mut self, piece: &[u8]) {
        if let Some(client_name) = &mut self.client_name {
            client_name.copy(piece);
        }
        if self.index < self.words_wanted {
            if let Some(word) = usize::try_from(self.index).ok().and_then(|index| self.words.get_mut(index)) {
                word.push(piece);
            }
        } else if self.index == 1
            && let Some(PartialPublish { channel_too_long: false, .. }) = self.publish
        {
            self.channel.extend_from_slice(piece);
        }
    }

    pub(super) fn name_ends(&mut self) {
        let [name, ..] = &self.words;
        let command = commands::find(name.as_bytes());
        self.words_wanted = command.map_or(1, |command| command.words);
        let naming = command.and_then(|command| command.naming);
        self.client_name = naming.map(|naming| Box::new(ClientNameReader::new(naming)));
        if let Some(Plan::Publish { sharded }) = command.and_then(|command| command.plan(self.count)) {
            self.publish = Some(PartialPublish { sharded, ..PartialPublish::default() });
        }
    }
}

impl PartialPublish {
    pub(super) fn head<'a>(&self, channel: &'a [u8], start: UnixNanos) -> Publish<'a> {
        let channel = (!self.channel_too_long).then_some(channel);
        Publish { channel, sharded: self.sharded, start }
    }
}

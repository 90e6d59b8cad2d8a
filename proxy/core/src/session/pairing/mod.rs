//! Replies and the commands they answer.
//!
//! Redis answers in order, so a queue of what was asked tells what the next reply means. Three things bend this, and
//! each is settled when a reply arrives, because only then is it known what the server did:
//!
//! - `CLIENT REPLY OFF` and `SKIP` answer nothing if they succeed, and then others answer nothing either. If the next
//!   reply is an error for them they were refused; otherwise they took effect, and entries are passed over.
//!   What an entry that is passed over did is still followed: it changed the protocol, opened a transaction, or was
//!   refused because of RESP2's subscriber mode.
//! - Between `MULTI` and `EXEC` every command is answered by `+QUEUED` and moves to the transaction. The header of
//!   `EXEC`'s array is then a frame of its own, and its elements are paired with the transaction's entries exactly as
//!   pipelined replies are. So a subscription, a protocol change or a missing element inside a transaction needs no
//!   rule of its own.
//! - Subscriptions are confirmed by several frames or by one error; in RESP3 the confirmations are pushes.
//!
//! Entries that are not described are counted in runs, so that a long pipeline of ordinary commands takes no memory.
//! Where the stream cannot be explained the pairing is lost: nothing is described any more, nothing is held up.

mod open_spans;
mod replies;
mod silent;
mod spans;

use alloc::collections::VecDeque;

use super::Call;
use super::command::{Command, Protocol, ReplyMode};
use super::pubsub::PubSub;
use crate::service::{Subscription, SubscriptionKind, Witness};
use crate::trace::{SpanRecord, UnixNanos};
use open_spans::{OpenSpan, OpenSpans};
use spans::end_unpaired;

/// Most spans of one connection that wait for a reply; further ones end with the request.
pub(super) const MAX_OPEN_SPANS: usize = 16_384;

/// Most entries of one connection, and most of its transaction; beyond it the pairing is lost. An entry has 32 bytes.
pub(super) const MAX_ENTRIES: usize = 65_536;

/// Above this capacity, in entries, an empty queue is given back.
const KEPT_CAPACITY: usize = 64;

/// A request that is not answered yet.
#[derive(Debug)]
struct Entry {
    expect: Expect,
    span: Option<OpenSpan>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// So many commands in a row with one reply each.
    Replies(u64),
    /// So many publishes in a row: an integer or an error answers each.
    Publishes(u64),
    /// So many publishes in a row whose number of receivers is evidence.
    Witnessed {
        token: u64,
        receivers: u32,
        run: u32,
    },
    /// One command whose reply may be long in coming.
    MayBlock,
    /// Confirmations still to come; `None` if their number depends on the subscriptions at that time.
    Confirmations {
        kind: SubscriptionKind,
        subscribe: bool,
        left: Option<u64>,
    },
    Multi,
    Exec,
    Discard,
    Reset,
    Hello(Option<Protocol>),
    ClientReply(ReplyMode),
    /// A `CLIENT REPLY SKIP` that took effect within a transaction: it silences the next command.
    Skipping,
    Monitor,
    Sync,
    Select(u32),
    /// No reply, except `+QUEUED` in a transaction.
    Silent,
    /// From here on requests are not understood.
    Unknown,
}

/// One complete reply, as far as it is read. Lines are without type byte and CRLF, and possibly cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply<'a> {
    Status(&'a [u8]),
    Error(&'a [u8]),
    Integer(Option<u64>),
    Null,
    Other,
}

/// A transaction that the server has opened.
#[derive(Debug, Default)]
struct Transaction {
    entries: VecDeque<Entry>,
    count: u64,
    span: Option<OpenSpan>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pairing {
    pub(super) pubsub: PubSub,
    queue: VecDeque<Entry>,
    /// Commands of a running `EXEC` whose elements are still to come.
    executing: VecDeque<Entry>,
    executing_span: Option<OpenSpan>,
    /// Open between the replies of `MULTI` and of `EXEC`.
    transaction: Option<Transaction>,
    /// How many of its own messages the connection may get right behind a transaction, although that has ended
    /// subscriber mode.
    own_messages: u64,
    /// The server is a Redis older than 7.2: own messages come before the reply to their publish.
    own_messages_come_first: bool,
    /// `CLIENT REPLY OFF` is in force.
    muted: bool,
    monitoring: bool,
    authenticated: bool,
    database: u32,
    lost: bool,
    spans: OpenSpans,
    /// When a publish began, if nothing else was unanswered then: the next reply is for it.
    timed: Option<UnixNanos>,
    pending_subscriptions: usize,
    /// How many [`Expect::MayBlock`] are in the queue.
    pending_blocking: usize,
    /// Whether the client has sent `MULTI` and not yet what ends it.
    queueing: bool,
    /// Whether subscriptions are reported.
    reporting: bool,
    /// What the last `CLIENT REPLY` that was sent will have done, unless it is refused.
    requested: ReplyMode,
}

impl Pairing {
    pub(super) fn new() -> Self {
        Self {
            pubsub: PubSub::new(),
            queue: VecDeque::new(),
            executing: VecDeque::new(),
            executing_span: None,
            transaction: None,
            own_messages: 0,
            own_messages_come_first: false,
            muted: false,
            monitoring: false,
            authenticated: false,
            database: 0,
            lost: false,
            spans: OpenSpans::default(),
            timed: None,
            pending_subscriptions: 0,
            pending_blocking: 0,
            queueing: false,
            reporting: false,
            requested: ReplyMode::On,
        }
    }

    /// As if the server had accepted `AUTH` and `SELECT`.
    pub(super) fn logged_in(&mut self, database: u32) {
        self.authenticated = true;
        self.database = database;
    }

    /// Whether the server has answered something that it only does after authentication.
    pub(super) fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// The selected database, on the server's word.
    pub(super) fn database(&self) -> u32 {
        self.database
    }

    /// Whether replies can no longer be told apart.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Whether the next reply belongs to `SYNC` or `PSYNC`.
    pub(super) fn awaits_sync(&self) -> bool {
        self.transaction.is_none() && self.executing.is_empty() && self.front_is(Expect::Sync)
    }

    /// Whether the next reply is that of the open transaction's `EXEC`. Under `CLIENT REPLY OFF` it has none.
    pub(super) fn awaits_exec(&self) -> bool {
        self.transaction.is_some() && self.front_is(Expect::Exec) && !self.muted
    }

    /// Whether an array may be a confirmation of a subscription.
    pub(super) fn awaits_confirmation(&self) -> bool {
        self.pending_subscriptions > 0 || self.awaits_nothing() || self.lost
    }

    /// Whether an array cannot be a reply: no command is unanswered.
    fn awaits_nothing(&self) -> bool {
        !self.lost && self.queue.is_empty() && self.executing.is_empty()
    }

    /// Whether a RESP2 array that looks like a message is one. Nothing that is allowed in subscriber mode answers so,
    /// but a command of a running transaction may, unless an integer is due or replies are off. From Redis 7.2 on a
    /// transaction that subscribes, publishes and unsubscribes gets its messages when subscriber mode is over.
    pub(super) fn expects_messages(&self) -> bool {
        let no_array_is_due = self.muted
            || self
                .executing
                .front()
                .is_none_or(|entry| entry.expect.is_publish() || entry.expect == Expect::ClientReply(ReplyMode::Off));
        self.pubsub.protocol == Protocol::Resp2
            && (self.pubsub.is_subscribed() && no_array_is_due || self.awaits_nothing() || self.may_get_own_messages())
    }

    /// Whether the transaction that has just ended published, while it was subscribed, more than came so far.
    fn may_get_own_messages(&self) -> bool {
        !self.lost && self.own_messages > 0 && self.executing.is_empty()
    }

    /// A RESP2 message has come.
    pub(super) fn message(&mut self) {
        self.own_messages = self.own_messages.saturating_sub(1);
        // Nobody else's message comes inside a transaction.
        self.own_messages_come_first |= !self.executing.is_empty();
    }

    /// Whether a RESP2 array that looks like a message certainly is one: subscriber mode, and no transaction's replies.
    pub(super) fn expects_only_messages(&self) -> bool {
        self.refuses_most() && !self.awaits_exec()
    }

    fn front_is(&self, expect: Expect) -> bool {
        self.queue.front().is_some_and(|entry| entry.expect == expect)
    }
}

/// Requests.
impl Pairing {
    /// A request has been read; `span` is open and ends with the reply.
    pub(super) fn request(&mut self, command: Command, span: Option<SpanRecord>, call: &mut Call<'_>) {
        match command {
            Command::Multi => self.queueing = true,
            Command::Exec | Command::Discard | Command::Reset => self.queueing = false,
            Command::ClientReply(ReplyMode::Off | ReplyMode::Skip) => self.unaccountable(call),
            _ => {}
        }
        self.expect(command, Expect::from(command), span, call);
    }

    /// A publish has been read; `span` is open and ends with the reply, which is evidence if there is a `witness`.
    pub(super) fn publish(&mut self, span: Option<SpanRecord>, witness: Option<Witness>, call: &mut Call<'_>) {
        let expect = match witness {
            None => Expect::Publishes(1),
            Some(Witness { receivers, token }) => Expect::Witnessed { token, receivers, run: 1 },
        };
        self.expect(Command::Publish { sharded: false }, expect, span, call);
    }

    /// Whether a publish that is sent now will be executed as soon as it comes, and its reply told apart.
    pub(super) fn answers_promptly(&self) -> bool {
        let certain = !self.lost && self.requested == ReplyMode::On && !self.muted && !self.monitoring;
        certain && !self.queueing && self.pending_blocking == 0 && self.queue.len() < MAX_ENTRIES / 2
    }

    fn expect(&mut self, command: Command, expect: Expect, span: Option<SpanRecord>, call: &mut Call<'_>) {
        let replies = self.requested;
        match command {
            Command::ClientReply(ReplyMode::Skip) if replies == ReplyMode::Off => {}
            Command::ClientReply(mode) => self.requested = mode,
            Command::Reset => self.requested = ReplyMode::On,
            _ if replies == ReplyMode::Skip => self.requested = ReplyMode::On,
            _ => {}
        }
        if self.lost {
            return end_unpaired(span, call);
        }
        let span = match span {
            Some(span) if replies != ReplyMode::On || self.spans.len() >= MAX_OPEN_SPANS => {
                end_unpaired(Some(span), call);
                None
            }
            span => span.map(|span| self.spans.put(span)),
        };
        self.push(Entry { expect, span }, call);
    }

    /// The next request is a publish, whose first byte came at `start`.
    pub(super) fn time(&mut self, start: UnixNanos) {
        // The queue first: within a pipeline that settles it.
        let alone = self.queue.is_empty() && self.awaits_nothing() && self.transaction.is_none();
        if alone && self.requested == ReplyMode::On && !self.muted {
            self.timed = Some(start);
        }
    }

    /// A request has been read that has one reply and no effect that matters here.
    pub(super) fn ordinary_request(&mut self, call: &mut Call<'_>) {
        if self.requested == ReplyMode::On
            && let Some(Entry { expect: Expect::Replies(run), span: None }) = self.queue.back_mut()
        {
            *run += 1; // the queue is empty once the pairing is lost
        } else {
            self.request(Command::Other, None, call);
        }
    }

    /// A request without a command (`*0`, a blank line). It is not answered, but some servers let it use up a
    /// `CLIENT REPLY SKIP` (Redis 7.0, Valkey 9.1) and others do not (Redis 8.2).
    pub(super) fn empty_request(&mut self, call: &mut Call<'_>) {
        if self.requested == ReplyMode::Skip && !self.lost {
            self.unknown_from_here(call);
        }
    }

    /// What follows on the client's side is not understood: replies can be paired up to here.
    pub(super) fn unknown_from_here(&mut self, call: &mut Call<'_>) {
        self.unaccountable(call);
        if !self.lost {
            self.push(Entry { expect: Expect::Unknown, span: None }, call);
        }
    }

    fn push(&mut self, entry: Entry, call: &mut Call<'_>) {
        if self.queue.back_mut().is_some_and(|last| last.takes_in(&entry)) {
            return;
        }
        if self.queue.len() >= MAX_ENTRIES {
            return self.lose_with(entry.span, call);
        }
        self.pending_subscriptions += usize::from(matches!(entry.expect, Expect::Confirmations { .. }));
        self.pending_blocking += usize::from(entry.expect == Expect::MayBlock);
        self.queue.push_back(entry);
    }
}

impl Entry {
    /// Takes `next` into this entry's run, if it belongs there.
    fn takes_in(&mut self, next: &Self) -> bool {
        match (&mut self.expect, next.expect) {
            (Expect::Replies(run), Expect::Replies(more)) | (Expect::Publishes(run), Expect::Publishes(more))
                if self.span.is_none() && next.span.is_none() =>
            {
                *run += more;
                true
            }
            (
                Expect::Witnessed { token, receivers, run },
                Expect::Witnessed { token: next_token, receivers: next_receivers, run: 1 },
            ) if self.span.is_none() && next.span.is_none() && (*token, *receivers) == (next_token, next_receivers) => {
                *run += 1;
                true
            }
            _ => false,
        }
    }
}

impl Expect {
    fn is_publish(self) -> bool {
        matches!(self, Self::Publishes(_) | Self::Witnessed { .. })
    }
}

/// Subscriptions, for those who count them.
impl Pairing {
    pub(super) fn report_subscriptions(&mut self) {
        self.reporting = true;
    }

    /// A confirmation has come. `name` is `None` if it is too long to be kept.
    pub(super) fn report_confirmation(
        &mut self,
        kind: SubscriptionKind,
        begun: bool,
        name: Option<&[u8]>,
        count: u64,
        call: &mut Call<'_>,
    ) {
        match name {
            _ if !self.reporting => {}
            None => self.unaccountable(call),
            Some(name) => {
                let name = name.to_vec();
                call.out.subscriptions.push(Subscription::Confirmed { kind, begun, name, count });
            }
        }
    }

    /// What the connection is subscribed to, or gets, can no longer be vouched for.
    pub(super) fn unaccountable(&mut self, call: &mut Call<'_>) {
        if core::mem::take(&mut self.reporting) {
            call.out.subscriptions.push(Subscription::Unaccountable);
        }
    }
}

impl From<Command> for Expect {
    fn from(command: Command) -> Self {
        match command {
            Command::Other => Self::Replies(1),
            Command::MayBlock => Self::MayBlock,
            Command::Publish { .. } => Self::Publishes(1),
            Command::Subscribe { kind, names } => Self::Confirmations { kind, subscribe: true, left: Some(names) },
            Command::Unsubscribe { kind, names } => {
                Self::Confirmations { kind, subscribe: false, left: (names > 0).then_some(names) }
            }
            Command::Multi => Self::Multi,
            Command::Exec => Self::Exec,
            Command::Discard => Self::Discard,
            Command::Reset => Self::Reset,
            Command::Hello(protocol) => Self::Hello(protocol),
            Command::ClientReply(mode) => Self::ClientReply(mode),
            Command::Monitor => Self::Monitor,
            Command::Sync => Self::Sync,
            Command::Silent => Self::Silent,
            Command::Select(database) => Self::Select(database),
        }
    }
}

/// The queue.
impl Pairing {
    fn front(&self) -> Option<Expect> {
        self.executing.front().or(self.queue.front()).map(|entry| entry.expect)
    }

    fn front_mut(&mut self) -> Option<&mut Entry> {
        self.executing.front_mut().or(self.queue.front_mut())
    }

    /// Takes the next entry, or one of a run.
    fn pop_front(&mut self) -> Option<Entry> {
        match self.front_mut().map(|entry| &mut entry.expect) {
            Some(Expect::Replies(count @ 2..)) => {
                *count -= 1;
                return Some(Entry { expect: Expect::Replies(1), span: None });
            }
            Some(Expect::Publishes(count @ 2..)) => {
                *count -= 1;
                return Some(Entry { expect: Expect::Publishes(1), span: None });
            }
            Some(Expect::Witnessed { token, receivers, run: run @ 2.. }) => {
                *run -= 1;
                let expect = Expect::Witnessed { token: *token, receivers: *receivers, run: 1 };
                return Some(Entry { expect, span: None });
            }
            _ => {}
        }
        let queue = if self.executing.is_empty() { &mut self.queue } else { &mut self.executing };
        let entry = queue.pop_front()?;
        give_back(queue);
        self.pending_subscriptions -= usize::from(matches!(entry.expect, Expect::Confirmations { .. }));
        self.pending_blocking -= usize::from(entry.expect == Expect::MayBlock);
        Some(entry)
    }
}

/// An idle connection keeps no memory of a long pipeline.
fn give_back(queue: &mut VecDeque<Entry>) {
    if queue.is_empty() && queue.capacity() > KEPT_CAPACITY {
        *queue = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::super::Output;
    use super::*;
    use crate::trace::UnixNanos;

    #[test]
    fn an_emptied_queue_gives_its_memory_back() {
        let mut out = Output::default();
        let call = &mut Call { now: UnixNanos(1), out: &mut out };
        let mut pairing = Pairing::new();
        for _ in 0..1000 {
            pairing.request(Command::Select(0), None, call);
            pairing.ordinary_request(call);
        }
        for _ in 0..2000 {
            pairing.reply(Reply::Status(b"OK"), call);
        }
        assert!(pairing.queue.is_empty() && pairing.queue.capacity() <= KEPT_CAPACITY);
    }
}

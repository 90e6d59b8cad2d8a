//! Replies and the commands they answer.
//!
//! Redis answers in order, so a queue of what was asked tells what the next reply means. Three things bend this, and
//! each is settled when a reply arrives, because only then is it known what the server did:
//!
//! - `CLIENT REPLY OFF` and `SKIP` answer nothing if they succeed, and then others answer nothing either. If the next
//!   reply is an error for them they were refused; otherwise they took effect, and entries are passed over.
//! - Between `MULTI` and `EXEC` every command is answered by `+QUEUED` and moves to the transaction. The header of
//!   `EXEC`'s array is then a frame of its own, and its elements are paired with the transaction's entries exactly as
//!   pipelined replies are. So a subscription, a protocol change or a missing element inside a transaction needs no
//!   rule of its own.
//! - Subscriptions are confirmed by several frames or by one error; in RESP3 the confirmations are pushes.
//!
//! Entries that are not described are counted in runs, so that a long pipeline of ordinary commands takes no memory.
//! Where the stream cannot be explained the pairing is lost: nothing is described any more, nothing is held up.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;

use super::Call;
use super::command::{Command, Protocol, ReplyMode, SubscriptionKind};
use super::counts::Counter;
use super::pubsub::PubSub;
use crate::trace::{ErrorType, Operation, SpanRecord, UNKNOWN_COMMAND, UnixNanos};

/// Most spans of one connection that wait for a reply; further ones end with the request.
pub(super) const MAX_OPEN_SPANS: usize = 16_384;

/// Most entries of one connection, and most of its transaction; beyond it the pairing is lost. An entry has 40 bytes.
pub(super) const MAX_ENTRIES: usize = 65_536;

/// Above this capacity, in entries, an empty queue is given back.
const KEPT_CAPACITY: usize = 64;

/// A request that is not answered yet.
#[derive(Debug)]
struct Entry {
    expect: Expect,
    /// Boxed, so that the queue is small for the many entries without one.
    span: Option<Box<SpanRecord>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// So many commands in a row with one reply each.
    Replies(u64),
    /// So many publishes in a row: an integer or an error answers each.
    Publishes(u64),
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
    span: Option<Box<SpanRecord>>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pairing {
    pub(super) pubsub: PubSub,
    queue: VecDeque<Entry>,
    /// Commands of a running `EXEC` whose elements are still to come.
    executing: VecDeque<Entry>,
    executing_span: Option<Box<SpanRecord>>,
    /// Open between the replies of `MULTI` and of `EXEC`.
    transaction: Option<Transaction>,
    /// `CLIENT REPLY OFF` is in force.
    muted: bool,
    monitoring: bool,
    authenticated: bool,
    database: u32,
    lost: bool,
    open_spans: usize,
    pending_subscriptions: usize,
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
            muted: false,
            monitoring: false,
            authenticated: false,
            database: 0,
            lost: false,
            open_spans: 0,
            pending_subscriptions: 0,
            requested: ReplyMode::On,
        }
    }

    /// Whether the server has answered something that it only does after authentication.
    pub(super) fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// The selected database, on the server's word.
    pub(super) fn database(&self) -> u32 {
        self.database
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
        self.pending_subscriptions > 0 || self.awaits_nothing()
    }

    /// Whether an array cannot be a reply: no command is unanswered.
    fn awaits_nothing(&self) -> bool {
        !self.lost && self.queue.is_empty() && self.executing.is_empty()
    }

    /// Whether a RESP2 array that looks like a message is one. Nothing that is allowed in subscriber mode answers so,
    /// but a command of a running transaction may, unless an integer is due or replies are off. From Redis 7.2 on a
    /// transaction that subscribes, publishes and unsubscribes gets its message when subscriber mode is over.
    pub(super) fn expects_messages(&self) -> bool {
        let no_array_is_due = self.muted
            || self
                .executing
                .front()
                .is_none_or(|entry| matches!(entry.expect, Expect::Publishes(_) | Expect::ClientReply(ReplyMode::Off)));
        self.pubsub.protocol == Protocol::Resp2
            && (self.pubsub.is_subscribed() && no_array_is_due || self.awaits_nothing())
    }

    fn front_is(&self, expect: Expect) -> bool {
        self.queue.front().is_some_and(|entry| entry.expect == expect)
    }
}

/// Requests.
impl Pairing {
    /// A request has been read; `span` is open and ends with the reply.
    pub(super) fn request(&mut self, command: Command, span: Option<SpanRecord>, call: &mut Call<'_>) {
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
            Some(span) if replies != ReplyMode::On || self.open_spans >= MAX_OPEN_SPANS => {
                end_unpaired(Some(span), call);
                None
            }
            span => span.map(Box::new),
        };
        self.open_spans += usize::from(span.is_some());
        self.push(Entry { expect: Expect::from(command), span }, call);
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
            _ => false,
        }
    }
}

impl From<Command> for Expect {
    fn from(command: Command) -> Self {
        match command {
            Command::Other => Self::Replies(1),
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

/// Replies.
impl Pairing {
    /// An array comes next. Outside subscriber mode it is behind what was sent before it, so that a `HELLO` or `MULTI`
    /// without an answer has taken effect.
    pub(super) fn array_begins(&mut self, call: &mut Call<'_>) {
        if !self.lost && !self.in_subscriber_mode() {
            self.pass_over_silent(Reply::Other, call);
        }
    }

    /// The header of the array that answers `EXEC`: its `count` elements come next, each as a reply.
    pub(super) fn exec_begins(&mut self, count: u64, call: &mut Call<'_>) {
        self.pop_front();
        let Some(transaction) = self.transaction.take_if(|transaction| transaction.count == count) else {
            return self.lose(call);
        };
        self.executing_span = transaction.span;
        self.executing = transaction.entries;
        self.after_element(call);
    }

    /// One reply that is neither a message nor a confirmation.
    pub(super) fn reply(&mut self, reply: Reply<'_>, call: &mut Call<'_>) {
        if self.is_ordinary_reply(reply) {
            return;
        }
        if self.lost {
            if reply == Reply::Status(b"RESET") {
                self.pubsub.reset();
            }
            return;
        }
        if self.monitoring && is_monitor_feed(reply) {
            return;
        }
        let error = matches!(reply, Reply::Error(_));
        self.settle(reply, call);
        let Some(entry) = self.pop_front() else {
            // Redis speaks unasked only to say goodbye: too many clients, protected mode, a protocol error.
            if !error {
                self.lose(call);
            }
            return;
        };
        if entry.expect == Expect::Unknown {
            return self.lose(call);
        }
        if !error && entry.expect != Expect::Reset {
            self.authenticated = true;
        }
        if self.transaction.is_some() {
            self.transaction_reply(entry, reply, call);
        } else {
            self.plain_reply(entry, reply, call);
        }
        self.after_element(call);
    }

    /// Takes a reply to a command that has no span and no effect here, outside of all that bends the order: nearly all.
    fn is_ordinary_reply(&mut self, reply: Reply<'_>) -> bool {
        let in_order = self.transaction.is_none() && self.executing.is_empty() && self.executing_span.is_none();
        if !in_order || self.muted || self.monitoring {
            return false;
        }
        let Some(Entry { expect: Expect::Replies(run), span: None }) = self.queue.front_mut() else { return false };
        self.authenticated |= !matches!(reply, Reply::Error(_));
        *run -= 1;
        if *run == 0 {
            self.queue.pop_front();
            give_back(&mut self.queue);
        }
        true
    }

    /// A frame `subscribe`, `unsubscribe` or their kin, with the count it reports. False if it must be the reply of an
    /// ordinary command that looks so.
    pub(super) fn confirmation(
        &mut self,
        kind: SubscriptionKind,
        subscribe: bool,
        count: u64,
        push: bool,
        call: &mut Call<'_>,
    ) -> bool {
        if push {
            self.pubsub.protocol = Protocol::Resp3; // not known otherwise if the pairing was lost before HELLO
        }
        // In subscriber mode nothing else is answered so; a transaction's commands and RESP3's may be.
        let certain = push || self.refuses_most() || self.awaits_nothing();
        if self.lost {
            if certain {
                self.pubsub.confirm(kind, count);
            }
            return certain;
        }
        if !self.settle_for_confirmation(kind, subscribe, call) {
            // A slot that moved away unsubscribes by itself; pushes of any kind disturb nothing.
            if certain {
                self.pubsub.confirm(kind, count);
            }
            return certain;
        }
        let subscriptions = self.pubsub.count(kind);
        self.pubsub.confirm(kind, count);
        self.authenticated = true;
        if let Some(Entry { expect: Expect::Confirmations { left, .. }, .. }) = self.front_mut() {
            let now_left = left.unwrap_or(subscriptions.max(1)) - 1;
            *left = Some(now_left);
            if now_left == 0
                && let Some(span) = self.pop_front().and_then(|entry| entry.span)
            {
                self.end_span(*span, None, call);
            }
        }
        self.after_element(call);
        true
    }

    /// No further reply will be paired: open spans end now, with `error` if there is one.
    pub(super) fn close(&mut self, error: Option<&'static str>, call: &mut Call<'_>) {
        for mut span in self.take_spans() {
            if error.is_none() && matches!(span.operation, Operation::Publish { .. }) {
                call.out.counts.count(Counter::SpansUnpaired);
            }
            span.end = call.now;
            span.error = error.map(ErrorType::named);
            call.out.spans.push(span);
        }
        self.lost = true;
    }

    /// Replies can no longer be told apart.
    pub(super) fn lose(&mut self, call: &mut Call<'_>) {
        if !self.lost {
            call.out.counts.count(Counter::PairingLost);
            self.close(None, call);
        }
    }

    /// The answer to a command between `MULTI` and `EXEC`.
    fn transaction_reply(&mut self, mut entry: Entry, reply: Reply<'_>, call: &mut Call<'_>) {
        match (entry.expect, reply) {
            (Expect::Exec, Reply::Null) => self.abort(ErrorType::named(ErrorType::NOT_EXECUTED), call),
            (Expect::Exec, Reply::Error(line)) => self.abort(ErrorType::from_redis_error(line), call),
            (Expect::Discard, Reply::Status(_)) => self.discard(),
            (_, Reply::Status(b"QUEUED")) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.count += 1;
                    let is_command = |span: &SpanRecord| matches!(span.operation, Operation::Command { .. });
                    // The transaction's span stands for its commands.
                    let command = entry.span.take_if(|span| is_command(span));
                    name_batch(transaction.span.as_deref_mut(), transaction.count, command.as_deref());
                    self.open_spans -= usize::from(command.is_some());
                    let is_taken = transaction.entries.back_mut().is_some_and(|last| last.takes_in(&entry));
                    if !is_taken && transaction.entries.len() >= MAX_ENTRIES {
                        return self.lose_with(entry.span, call);
                    }
                    if !is_taken {
                        self.pending_subscriptions += usize::from(matches!(entry.expect, Expect::Confirmations { .. }));
                        transaction.entries.push_back(entry);
                    }
                }
            }
            _ => self.plain_reply(entry, reply, call),
        }
    }

    fn plain_reply(&mut self, entry: Entry, reply: Reply<'_>, call: &mut Call<'_>) {
        let mut span = entry.span;
        if let Reply::Error(line) = reply {
            if let Some(mut span) = span {
                if let Operation::Command { name, .. } = &mut span.operation
                    && line.starts_with(b"ERR unknown command")
                {
                    *name = UNKNOWN_COMMAND.into();
                }
                self.end_span(*span, Some(ErrorType::from_redis_error(line)), call);
            }
            if let Expect::ClientReply(_) = entry.expect {
                self.requested = ReplyMode::On;
            }
            return;
        }
        match (entry.expect, reply) {
            (Expect::Replies(_), _) => {}
            (Expect::Publishes(_), Reply::Integer(count)) => {
                if let Some(SpanRecord { operation: Operation::Publish { receivers, .. }, .. }) = span.as_deref_mut() {
                    *receivers = count;
                }
            }
            (Expect::Multi, Reply::Status(_)) if self.transaction.is_none() => {
                self.transaction = Some(Transaction { span: span.take(), ..Transaction::default() });
            }
            (Expect::Reset, Reply::Status(b"RESET")) => self.reset(),
            (Expect::Hello(protocol), _) => {
                self.pubsub.protocol = protocol.unwrap_or(self.pubsub.protocol);
            }
            (Expect::ClientReply(ReplyMode::On) | Expect::Discard, Reply::Status(_)) => {}
            (Expect::Monitor, Reply::Status(_)) => self.monitoring = true,
            (Expect::Select(database), Reply::Status(_)) => self.database = database,
            _ => return self.lose_with(span, call),
        }
        if let Some(span) = span {
            self.end_span(*span, None, call);
        }
    }

    /// Passes over what is not answered, so that the front of the queue is what `reply` answers.
    fn settle(&mut self, reply: Reply<'_>, call: &mut Call<'_>) {
        self.pass_over_silent(reply, call);
        // Only CLIENT REPLY ON and RESET answer under OFF, so that subscriptions before them were refused.
        while self.muted && matches!(self.front(), Some(Expect::Confirmations { .. })) {
            self.pass_over_front(call);
            self.pass_over_silent(reply, call);
        }
        if mem::take(&mut self.muted) && self.transaction.is_some() && self.front() != Some(Expect::Reset) {
            self.lose(call); // CLIENT REPLY ON was queued: what answers it comes with EXEC
        }
    }

    /// Passes over what is not answered and not confirmed either. `reply` is what comes next.
    fn pass_over_silent(&mut self, reply: Reply<'_>, call: &mut Call<'_>) {
        while let Some(front) = self.front() {
            match front {
                Expect::Skipping => {
                    self.pop_front();
                    self.skip_one(call);
                }
                Expect::ClientReply(ReplyMode::On) if self.muted && self.refuses_most() => self.pass_over_front(call),
                Expect::ClientReply(ReplyMode::On) | Expect::Reset | Expect::Confirmations { .. } => return,
                _ if self.muted => self.pass_over_front(call),
                Expect::Silent | Expect::ClientReply(_) if self.transaction.is_some() => return,
                Expect::Silent if !self.is_refused(reply, b"'replconf") => drop(self.pop_front()),
                Expect::ClientReply(ReplyMode::Off) if !matches!(reply, Reply::Error(_)) => {
                    self.pop_front();
                    self.muted = true;
                }
                Expect::ClientReply(ReplyMode::Skip) if !self.is_refused(reply, b"'client") => {
                    self.pop_front();
                    self.skip_one(call);
                }
                _ => return,
            }
        }
    }

    /// `CLIENT REPLY SKIP` took effect: the next command is not answered, if it is one that can be silenced.
    fn skip_one(&mut self, call: &mut Call<'_>) {
        match self.front() {
            Some(Expect::Confirmations { .. } | Expect::Skipping) => {}
            // It replaces the SKIP, unless it is refused.
            Some(Expect::ClientReply(_)) if !self.refuses_most() => {}
            Some(_) => self.pass_over_front(call),
            None => self.lose(call),
        }
    }

    /// Passes over what is not answered if that leads to a subscription which this confirmation answers.
    fn settle_for_confirmation(&mut self, kind: SubscriptionKind, subscribe: bool, call: &mut Call<'_>) -> bool {
        let answers = |expect: Expect| matches!(expect, Expect::Confirmations { kind: k, subscribe: s, .. } if (k, s) == (kind, subscribe));
        let (mut muted, mut skip) = (self.muted, false);
        let mut reachable = false;
        let executing = self.executing.iter().map(|entry| (entry.expect, false));
        let queued = self.queue.iter().map(|entry| (entry.expect, self.in_subscriber_mode()));
        for (expect, refused) in executing.chain(queued) {
            match expect {
                _ if answers(expect) => {
                    reachable = true;
                    break;
                }
                Expect::ClientReply(_) if skip && refused => skip = false,
                Expect::Reset if skip => skip = false,
                Expect::ClientReply(ReplyMode::On) if muted && refused => {}
                Expect::ClientReply(ReplyMode::On) | Expect::Reset | Expect::Unknown => break,
                _ if muted => {}
                Expect::Silent => {}
                Expect::ClientReply(ReplyMode::Off) => muted = true,
                Expect::ClientReply(ReplyMode::Skip) | Expect::Skipping => skip = true,
                Expect::Replies(1) | Expect::Publishes(1) if skip => skip = false,
                Expect::Multi | Expect::Exec | Expect::Discard | Expect::Hello(_) | Expect::Select(_) if skip => {
                    skip = false;
                }
                _ => break,
            }
        }
        while reachable && self.front().is_some_and(|front| !answers(front)) {
            match self.front() {
                Some(Expect::ClientReply(ReplyMode::Off)) => {
                    self.pop_front();
                    self.muted = true;
                }
                Some(Expect::ClientReply(ReplyMode::Skip) | Expect::Skipping | Expect::Silent) => {
                    drop(self.pop_front())
                }
                _ => self.pass_over_front(call),
            }
        }
        reachable
    }

    /// Whether the command at the front is refused unless it subscribes, unsubscribes, pings or resets. A transaction's
    /// commands are not: the rule is checked when they are queued.
    fn refuses_most(&self) -> bool {
        self.executing.is_empty() && self.in_subscriber_mode()
    }

    /// Whether `reply` is an error of the command at the front, which answers nothing else, and not of a later command
    /// whose reply is the first to be seen. `NOPERM` names the command, as `'client|reply'` or, before Redis 7, as
    /// `'client'`.
    fn is_refused(&self, reply: Reply<'_>, quoted: &[u8]) -> bool {
        let Reply::Error(line) = reply else { return false };
        let is_named = || line.windows(quoted.len()).any(|window| window.eq_ignore_ascii_case(quoted));
        self.refuses_most() || line.starts_with(b"NOAUTH") || line.starts_with(b"NOPERM") && is_named()
    }

    /// RESP2's subscriber mode.
    fn in_subscriber_mode(&self) -> bool {
        self.pubsub.protocol == Protocol::Resp2 && self.pubsub.is_subscribed()
    }

    /// The command at the front had no answer; it took effect unless it was refused.
    fn pass_over_front(&mut self, call: &mut Call<'_>) {
        let refused = self.refuses_most();
        let Some(entry) = self.pop_front() else { return };
        match entry.expect {
            Expect::Multi | Expect::Hello(_) | Expect::Select(_) | Expect::Sync | Expect::Monitor if refused => {}
            Expect::Multi if self.transaction.is_some() => {} // nested: refused
            Expect::Multi => self.transaction = Some(Transaction::default()),
            Expect::Exec => {
                for span in self.drop_transaction() {
                    self.end_span(span, None, call);
                }
            }
            Expect::Discard => self.discard(),
            Expect::Reset => self.reset(),
            Expect::Hello(protocol) => self.pubsub.protocol = protocol.unwrap_or(self.pubsub.protocol),
            Expect::Select(database) => self.database = database,
            Expect::Sync | Expect::Monitor | Expect::Unknown => self.lose(call),
            _ => {}
        }
        if let Some(span) = entry.span {
            self.end_span(*span, None, call);
        }
    }

    /// Passes over what is no element of `EXEC`, and ends it when its last element has come.
    fn after_element(&mut self, call: &mut Call<'_>) {
        while let Some(entry) = self.executing.front() {
            match entry.expect {
                Expect::Silent => drop(self.pop_front()),
                // It silences not the next element but the command that follows the transaction.
                Expect::ClientReply(ReplyMode::Skip) => {
                    self.pop_front();
                    self.queue.push_front(Entry { expect: Expect::Skipping, span: None });
                }
                _ => break,
            }
        }
        if self.executing.is_empty()
            && let Some(span) = self.executing_span.take()
        {
            self.end_span(*span, None, call);
        }
    }

    /// The transaction will never run, though the service asked for it.
    fn abort(&mut self, error: ErrorType, call: &mut Call<'_>) {
        for span in self.drop_transaction() {
            self.end_span(span, Some(error.clone()), call);
        }
    }

    /// The transaction will never run, because the service says so: nothing was sent, and no span tells of it.
    fn discard(&mut self) {
        self.open_spans = self.open_spans.saturating_sub(self.drop_transaction().len());
    }

    fn drop_transaction(&mut self) -> Vec<SpanRecord> {
        let Some(transaction) = self.transaction.take() else { return Vec::new() };
        let is_subscription = |entry: &&Entry| matches!(entry.expect, Expect::Confirmations { .. });
        self.pending_subscriptions -= transaction.entries.iter().filter(is_subscription).count();
        transaction
            .entries
            .into_iter()
            .filter_map(|entry| entry.span)
            .chain(transaction.span)
            .map(|span| *span)
            .collect()
    }

    fn reset(&mut self) {
        self.discard();
        self.pubsub.reset();
        self.muted = false;
        self.monitoring = false;
        self.authenticated = false;
        self.database = 0;
    }

    fn lose_with(&mut self, span: Option<Box<SpanRecord>>, call: &mut Call<'_>) {
        end_unpaired(span.map(|span| *span), call);
        self.lose(call);
    }

    fn end_span(&mut self, mut span: SpanRecord, error: Option<ErrorType>, call: &mut Call<'_>) {
        self.open_spans = self.open_spans.saturating_sub(1);
        span.end = call.now;
        span.error = error;
        call.out.spans.push(span);
    }

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
            _ => {}
        }
        let queue = if self.executing.is_empty() { &mut self.queue } else { &mut self.executing };
        let entry = queue.pop_front()?;
        give_back(queue);
        self.pending_subscriptions -= usize::from(matches!(entry.expect, Expect::Confirmations { .. }));
        Some(entry)
    }

    fn take_spans(&mut self) -> Vec<SpanRecord> {
        let transaction = self.transaction.take().unwrap_or_default();
        let entries = mem::take(&mut self.executing).into_iter();
        let entries = entries.chain(transaction.entries).chain(mem::take(&mut self.queue));
        let spans = entries.filter_map(|entry| entry.span).chain(transaction.span).chain(self.executing_span.take());
        self.open_spans = 0;
        self.pending_subscriptions = 0;
        spans.map(|span| *span).collect()
    }
}

/// An idle connection keeps no memory of a long pipeline.
fn give_back(queue: &mut VecDeque<Entry>) {
    if queue.is_empty() && queue.capacity() > KEPT_CAPACITY {
        *queue = VecDeque::new();
    }
}

/// Ends a span whose reply will not be seen.
fn end_unpaired(span: Option<SpanRecord>, call: &mut Call<'_>) {
    if let Some(mut span) = span {
        call.out.counts.count(Counter::SpansUnpaired);
        span.end = UnixNanos(span.end.0.max(call.now.0));
        call.out.spans.push(span);
    }
}

/// Names a transaction after its commands: `MULTI SET` if all are `SET`, else `MULTI`. A publish, which has a span of
/// its own, and a command without one are `None`.
fn name_batch(transaction: Option<&mut SpanRecord>, count: u64, command: Option<&SpanRecord>) {
    let Some(SpanRecord { operation: Operation::Command { name, batch_size, .. }, .. }) = transaction else { return };
    *batch_size = (count > 1).then_some(count);
    let queued = match command.map(|span| &span.operation) {
        Some(Operation::Command { name, .. }) => Some(&**name),
        _ => None,
    };
    match (queued, name.strip_prefix("MULTI ")) {
        (Some(queued), _) if count == 1 => *name = alloc::format!("MULTI {queued}").into(),
        (queued, Some(first)) if queued != Some(first) => *name = "MULTI".into(),
        _ => {}
    }
}

/// A line of `MONITOR`'s feed: `<seconds>.<micros> [<db> <address>] "COMMAND" …`.
fn is_monitor_feed(reply: Reply<'_>) -> bool {
    let Reply::Status(line) = reply else { return false };
    let stamp = line.split(|&byte| byte == b' ').next().unwrap_or_default();
    line.get(stamp.len()..).is_some_and(|rest| rest.starts_with(b" ["))
        && stamp.contains(&b'.')
        && stamp.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::super::Output;
    use super::*;

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

//! The pairing of replies with the commands that they answer.
//!
//! Redis answers in order, so a queue of the unanswered requests tells what the next reply means. There are three
//! exceptions. Each is resolved when a reply arrives, because only then is it known what the server did:
//!
//! - `CLIENT REPLY OFF` and `SKIP` have no reply if they take effect, and then other commands have none either. An error
//!   that fits them shows that they were refused. Otherwise they took effect, and the entries without a reply are passed
//!   over. The effect of such an entry is still followed: it may have changed the protocol, opened a transaction, or been
//!   refused because of RESP2's subscriber mode.
//! - Between `MULTI` and `EXEC` every command is answered by `+QUEUED`, and its entry moves to the transaction. The header
//!   of `EXEC`'s array is then a frame of its own, and its elements are paired with the transaction's entries exactly as
//!   pipelined replies are. So a subscription, a protocol change or a missing element inside a transaction needs no
//!   rule of its own.
//! - Subscriptions are confirmed by several frames or by one error. In RESP3 the confirmations are pushes.
//!
//! Like requests without spans are one entry with a count, so that a long pipeline of ordinary commands takes no memory.
//! If the stream cannot be explained the pairing is lost. Open spans then end, later ones end with their requests, and all
//! bytes still go on.

mod client_names;
mod lost;
mod next;
mod open_spans;
mod own_messages;
mod queue;
mod replies;
mod silenced;
mod spans;
mod subscriptions;

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use client_names::ClientNames;
use lost::Doubt;
pub(crate) use next::{Frame, Messages, Next};
use open_spans::{OpenSpan, OpenSpans};
use own_messages::OwnMessages;
use queue::Entry;
use spans::end_unpaired;
use subscriptions::Subscriptions;

use crate::commands::{Answer, NameTicket, Protocol, ReplyMode};
use crate::output::Call;
use crate::service::{Event, ExpectedReceivers, Inference, SubscriptionChange, SubscriptionKind};
use crate::trace::{CommandId, SpanId, SpanRecord, UnixNanos};

/// Most spans of one connection that wait for a reply, and most bytes that they take. Further ones end with their request.
const MAX_OPEN_SPANS: usize = 16_384;
const MAX_OPEN_BYTES: usize = 6 << 20;

/// The bytes of open spans that a connection may have although memory is scarce.
const BYTES_WHEN_SCARCE: usize = 64 * 1024;

/// Most entries in the queue of one connection, and most in its transaction. With more the pairing is lost. An
/// entry has 32 bytes.
const MAX_ENTRIES: usize = 65_536;

/// What a publish is known by where its message comes back.
#[derive(Debug, Default)]
pub(crate) struct Published<'a> {
    /// The channel; `None` if its name is too long, or the command was not read in detail.
    pub(crate) channel: Option<&'a [u8]>,
    pub(crate) sharded: bool,
    /// The span whose context was added.
    pub(crate) injected: Option<SpanId>,
    /// What the publish is called where its reply is reported.
    pub(crate) command: Option<CommandId>,
}

/// A complete reply, as far as it is read. Lines are without type byte and CRLF, and only their beginning may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    Status(&'a [u8]),
    Error(&'a [u8]),
    Integer(Option<u64>),
    Null,
    Other,
}

/// What the client has sent in the transaction that it has begun.
#[derive(Clone, Copy, Debug, Default)]
struct Queueing {
    /// Whether it may make a RESP2 subscriber of the connection, which then gets its own messages.
    to_itself: bool,
    scripts: bool,
}

/// A transaction that the server has opened.
#[derive(Debug, Default)]
struct Transaction {
    entries: VecDeque<Entry>,
    count: u64,
    span: Option<OpenSpan>,
}

/// The requests of a connection that are not answered yet, and the state that their replies have led to.
#[derive(Debug)]
pub(crate) struct Pairing {
    subscriptions: Subscriptions,
    queue: VecDeque<Entry>,
    /// The commands of a running `EXEC` whose elements are still to come.
    executing: VecDeque<Entry>,
    executing_span: Option<OpenSpan>,
    /// The transaction that is open, from the reply of `MULTI` to that of `EXEC`.
    transaction: Option<Transaction>,
    /// Whether the client has sent a script in the running transaction.
    executing_scripts: bool,
    own_messages: OwnMessages,
    /// Whether `CLIENT REPLY OFF` is in force.
    muted: bool,
    monitoring: bool,
    authenticated: bool,
    database: u32,
    /// The database that the client has asked for last.
    asked_database: u32,
    lost: bool,
    doubt: Doubt,
    spans: OpenSpans,
    names: ClientNames,
    /// The command that the last reply has answered, if its reply is to be reported, and the number of the event that
    /// is its span if it has ended.
    answered: Option<(CommandId, usize)>,
    /// The number of the event that is the span of a command that has added an entry to a stream, whose reply was read last.
    sent: Option<usize>,
    /// When a publish began, if no other request was unanswered then, so that the next reply is for it.
    timed: Option<UnixNanos>,
    pending_subscriptions: usize,
    /// How many entries of the queue are commands that may block.
    pending_late: usize,
    /// Whether the client has ever sent a command from whose reply contexts of entries may be removed.
    reads_entries: bool,
    /// What the client has sent since `MULTI`, until it sends the command that ends the transaction.
    queueing: Option<Queueing>,
    /// Whether the subscriptions are known for certain, so that their changes are reported.
    tracked: bool,
    /// The reply mode after the last request that the client has sent, unless the server refuses a `CLIENT REPLY`.
    requested: ReplyMode,
}

impl Pairing {
    pub(crate) fn new() -> Self {
        Self {
            subscriptions: Subscriptions::new(),
            queue: VecDeque::new(),
            executing: VecDeque::new(),
            executing_span: None,
            transaction: None,
            executing_scripts: false,
            own_messages: OwnMessages::default(),
            muted: false,
            monitoring: false,
            authenticated: false,
            database: 0,
            asked_database: 0,
            lost: false,
            doubt: Doubt::default(),
            spans: OpenSpans::default(),
            names: ClientNames::default(),
            answered: None,
            sent: None,
            timed: None,
            pending_subscriptions: 0,
            pending_late: 0,
            reads_entries: false,
            queueing: None,
            tracked: true,
            requested: ReplyMode::On,
        }
    }

    /// Sets the state of a connection on which the server has accepted `AUTH` and `SELECT`.
    pub(crate) fn logged_in(&mut self, database: u32) {
        self.authenticated = true;
        self.database = database;
        self.asked_database = database;
    }

    /// Whether the server has answered a command as it only does after authentication.
    pub(crate) fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// Whether every request that has been read is answered, as far as can be told.
    pub(crate) fn is_settled(&self) -> bool {
        !self.lost && self.queue.is_empty() && self.executing.is_empty()
    }

    /// Whether the client has begun a transaction and not ended it.
    pub(crate) fn is_queueing(&self) -> bool {
        self.queueing.is_some()
    }

    /// The number of the database that is selected when all has been executed that the client has sent.
    pub(crate) fn asked_database(&self) -> u32 {
        self.asked_database
    }

    /// The span of the transaction whose replies are being read.
    pub(crate) fn executing_span(&mut self) -> Option<&mut SpanRecord> {
        self.spans.get(self.executing_span.as_ref()?)
    }

    /// The number of the selected database, as the server has confirmed it.
    pub(crate) fn database(&self) -> u32 {
        self.database
    }
}

/// What the requests of the client add to the queue.
impl Pairing {
    /// A request has been read. `span` is its open span, which ends with the reply, and `command` what it is called where its reply
    /// is reported.
    pub(crate) fn request(
        &mut self,
        mut answer: Answer,
        span: Option<SpanRecord>,
        command: Option<CommandId>,
        call: &mut Call<'_>,
    ) {
        match &mut answer {
            Answer::Multi => drop(self.queueing.get_or_insert_default()),
            Answer::Exec { scripts } => *scripts = self.queueing.take().is_some_and(|queueing| queueing.scripts),
            Answer::Discard => self.queueing = None,
            Answer::Reset => {
                self.queueing = None;
                self.asked_database = 0;
            }
            Answer::Select(database) => self.asked_database = *database,
            Answer::Entries { .. } => self.reads_entries = true,
            Answer::ClientReply(ReplyMode::Off | ReplyMode::Skip) => self.untracked(call),
            Answer::Confirmations { subscribe: true, .. } | Answer::Hello(..) => {
                self.queueing.as_mut().into_iter().for_each(|queueing| queueing.to_itself = true);
            }
            Answer::Publishes(_) => {
                return self.publish(span, None, &Published { command, ..Published::default() }, call);
            }
            Answer::Script => {
                self.expect(Answer::Replies(1), span, command, call);
                self.queueing.as_mut().into_iter().for_each(|queueing| queueing.scripts = true);
                return self.doubt.script_sent();
            }
            _ => {}
        }
        self.expect(answer, span, command, call);
    }

    /// The request that is read next, which is answered by `answer`, asks for a name of the connection; `None` takes it away.
    /// Returns its answer with that.
    pub(crate) fn asks_for_name(&mut self, answer: Answer, name: Option<Arc<str>>) -> Answer {
        match answer {
            Answer::Hello(protocol, _) => Answer::Hello(protocol, Some(self.names.ask(name))),
            Answer::Replies(1) => Answer::SetName(self.names.ask(name)),
            other => other,
        }
    }

    /// A publish has been read. `span` is its open span, which ends with the reply. The reply has to confirm the number of
    /// receivers if one is `expected`.
    pub(crate) fn publish(
        &mut self,
        span: Option<SpanRecord>,
        expected: Option<ExpectedReceivers>,
        to: &Published<'_>,
        call: &mut Call<'_>,
    ) {
        let to_itself = self.queueing.is_some_and(|queueing| queueing.to_itself);
        let answer = match expected {
            None if to_itself && !self.lost => {
                Answer::PublishesToItself { channel: self.own_messages.keep_channel(to.channel, to.sharded) }
            }
            None => Answer::Publishes(1),
            Some(ExpectedReceivers { evidence, count, .. }) => Answer::ExpectedReceivers { evidence, count, run: 1 },
        };
        if let Some(injected) = to.injected.filter(|_| to_itself) {
            self.own_messages.keep_span(injected);
        }
        self.expect(answer, span, to.command, call);
    }

    /// Whether the server will execute a publish that is sent now as soon as it arrives, and its reply will
    /// be told from others.
    pub(crate) fn answers_promptly(&self) -> bool {
        self.queueing.is_none() && self.answers_promptly_or_at_exec()
    }

    /// Whether the server will execute a publish that is sent now as soon as it and, in a transaction, the `EXEC` arrive, and
    /// its reply will be told from others. Behind a subscription in the same transaction the connection itself may be a receiver
    /// more, whom nobody knows of yet.
    pub(crate) fn answers_promptly_or_at_exec(&self) -> bool {
        let to_itself = self.queueing.is_some_and(|queueing| queueing.to_itself);
        let certain = !self.lost && self.requested == ReplyMode::On && !self.muted && !self.monitoring && !to_itself;
        certain && self.pending_late == 0 && self.queue.len() < MAX_ENTRIES / 2
    }

    fn expect(&mut self, answer: Answer, span: Option<SpanRecord>, command: Option<CommandId>, call: &mut Call<'_>) {
        let replies = self.requested;
        match answer {
            Answer::ClientReply(ReplyMode::Skip) if replies == ReplyMode::Off => {}
            Answer::ClientReply(mode) => self.requested = mode,
            Answer::Reset => self.requested = ReplyMode::On,
            _ if replies == ReplyMode::Skip => self.requested = ReplyMode::On,
            _ => {}
        }
        if self.lost {
            self.doubt.request(answer, self.queueing.is_some(), replies == ReplyMode::Skip);
            return end_unpaired(span, call);
        }
        let span = if span.is_some() && (replies != ReplyMode::On || !self.has_room_for_a_span(call)) {
            end_unpaired(span, call);
            None
        } else {
            self.spans.put(span)
        };
        // Without a reply there is none to report.
        let command = command.filter(|_| replies == ReplyMode::On);
        self.push(Entry { answer, span, command }, call);
    }

    fn has_room_for_a_span(&self, call: &Call<'_>) -> bool {
        let most = if call.env.memory_is_scarce { BYTES_WHEN_SCARCE } else { MAX_OPEN_BYTES };
        self.spans.bytes() < most && self.spans.len() < MAX_OPEN_SPANS
    }

    /// The bytes that open spans, unanswered requests and what is kept of transactions take.
    pub(crate) fn bytes(&self) -> usize {
        let queued = self.transaction.as_ref().map_or(0, |transaction| transaction.entries.capacity());
        let entries = self.queue.capacity() + self.executing.capacity() + queued;
        self.spans.reserved_bytes() + self.own_messages.bytes() + entries * size_of::<Entry>()
    }

    /// The next request is a publish whose first byte arrived at `start`.
    pub(crate) fn time(&mut self, start: UnixNanos) {
        // The queue is asked first, because within a pipeline it is not empty.
        let alone = self.queue.is_empty() && self.awaits_nothing() && self.transaction.is_none();
        if alone && self.requested == ReplyMode::On && !self.muted {
            self.timed = Some(start);
        }
    }

    /// A request has been read that has one reply and no effect that has to be followed.
    pub(crate) fn ordinary_request(&mut self, call: &mut Call<'_>) {
        if self.requested == ReplyMode::On
            && let Some(Entry { answer: Answer::Replies(run), span: None, command: None }) = self.queue.back_mut()
        {
            *run += 1; // the queue is empty once the pairing is lost
        } else {
            self.expect(Answer::Replies(1), None, None, call);
        }
    }

    /// A request without a command has been read (`*0`, a blank line). It has no reply. In some servers it ends the
    /// effect of a `CLIENT REPLY SKIP` (Redis 7.0, Valkey 9.1), and in others it does not (Redis 8.2).
    pub(crate) fn empty_request(&mut self, call: &mut Call<'_>) {
        if self.requested == ReplyMode::Skip && !self.lost {
            self.untracked(call);
            self.push(Entry::plain(Answer::Unknown), call);
        }
    }

    /// The requests from here on are not understood, so replies can be paired only up to here.
    pub(crate) fn unknown_from_here(&mut self, call: &mut Call<'_>) {
        self.untracked(call);
        self.doubt.unknown_request();
        if !self.lost {
            self.push(Entry::plain(Answer::Unknown), call);
        }
    }
}

/// What a greeting and a name change.
impl Pairing {
    /// `HELLO` has taken effect.
    fn greeted(&mut self, protocol: Option<Protocol>, name: Option<NameTicket>, call: &mut Call<'_>) {
        self.subscriptions.protocol = protocol.unwrap_or(self.subscriptions.protocol);
        if let Some(name) = name {
            self.name_answered(name, true, call);
        }
    }

    /// A request for a name has been executed, or refused.
    fn name_answered(&mut self, name: NameTicket, is_executed: bool, call: &mut Call<'_>) {
        let name = self.names.answered(name, is_executed);
        call.out.events.extend(name.map(Event::ClientNamed));
    }
}

/// What messages and confirmations from the server change.
impl Pairing {
    /// A message has arrived, as a push in RESP3.
    pub(crate) fn message(&mut self, push: bool) {
        if !push {
            self.own_messages.came();
        }
        // Inside a transaction only the connection's own messages come.
        if !self.executing.is_empty() {
            self.own_messages.come_first = Some(true);
        }
    }

    /// Reports a confirmation. `name` is `None` if it is too long to be kept.
    pub(crate) fn report_confirmation(
        &mut self,
        kind: SubscriptionKind,
        begun: bool,
        name: Option<&[u8]>,
        count: u64,
        call: &mut Call<'_>,
    ) {
        if let Some(inference) = call.env.inference.as_deref_mut() {
            let changed = if begun { Inference::subscribed } else { Inference::unsubscribed };
            changed(inference, call.env.now);
        }
        match name {
            _ if !self.tracked => {}
            None => self.untracked(call),
            Some(name) => {
                let change = SubscriptionChange::Confirmed { kind, begun, name: name.to_vec(), count };
                call.out.events.push(Event::Subscription(change));
            }
        }
    }

    /// The connection's subscriptions, or the messages that it gets, are no longer known for certain.
    pub(crate) fn untracked(&mut self, call: &mut Call<'_>) {
        if let Some(inference) = call.env.inference.as_deref_mut() {
            inference.unsubscribed(call.env.now);
        }
        if core::mem::take(&mut self.tracked) {
            call.out.events.push(Event::Subscription(SubscriptionChange::Untracked));
        }
    }
}

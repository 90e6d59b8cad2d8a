//! What the replies of a connection hand over of lists, sorted sets and streams (`--follow`): one CONSUMER span for each item, and
//! what the inference of causes is told of it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;

use super::Parts;
use super::capture;
use super::items::{carried, derived, entry_id, is_first, named, named_id};
use crate::commands::{self, Answer};
use crate::handover::{self, Ack, Group, Item, Read, Shape};
use crate::policy::Mode;
use crate::queue_names;
use crate::rewrite::{Consumer, untraced};
use crate::service::{
    Attribution, Bulks, EntryId, Event, ObservedAck, ObservedItem, ObservedRead, Passage, PendingEntry, Reading, Told,
};
use crate::trace::{Change, CommandId, ConsumerGroup, Operation};

/// Most reads of a connection whose replies are waited for. The oldest makes room for further ones.
const MAX_READS: usize = 64;

/// Most bytes that are kept of the reply to a read that does not come at once.
const MAX_KEPT: usize = 256 * 1024;

/// The longest key, and the longest names of a group and of a consumer together, in bytes, that are kept until the reply comes.
const MAX_NAME_LEN: usize = 1024;

/// The commands of a connection whose replies hand work over, as long as they are not answered.
#[derive(Debug, Default)]
pub(super) struct Reads(VecDeque<Waiting>);

/// A command that is not answered yet.
#[derive(Debug)]
pub(super) struct Waiting {
    command: CommandId,
    shape: Shape,
    /// The key that it names, where the reply does not tell it.
    key: Box<[u8]>,
    /// Whether the key is the name of a queue, and what is handed over are its jobs or their ids.
    has_jobs: bool,
    /// Whether the command has ended the work on another job as well, and so is any other command to the inference.
    finishes: bool,
    group: Option<GroupOfRead>,
}

impl Waiting {
    fn new(command: CommandId, read: &Read<'_>, group: Option<GroupOfRead>) -> Self {
        let &Read { shape, has_jobs, finishes, .. } = read;
        Self { command, shape, key: read.key.as_ref().into(), has_jobs, finishes, group }
    }
}

/// Who gets the entries of a stream.
#[derive(Debug)]
struct GroupOfRead {
    database: u32,
    /// The name of the group, followed by that of the consumer.
    names: Box<[u8]>,
    /// The length of the name of the group.
    group_len: usize,
    needs_no_ack: bool,
}

impl GroupOfRead {
    /// `None` if the names are too long.
    fn new(group: &Group<'_>, database: u32) -> Option<Self> {
        let Group { name, consumer, needs_no_ack } = *group;
        let names = (name.len() + consumer.len() <= MAX_NAME_LEN).then(|| [name, consumer].concat().into())?;
        Some(Self { database, names, group_len: name.len(), needs_no_ack })
    }

    /// The name of the group and that of the consumer.
    fn names(&self) -> (&[u8], &[u8]) {
        self.names.split_at_checked(self.group_len).unwrap_or_default()
    }

    /// What spans show of it, unless the name of the group is not UTF-8.
    fn shown(&self) -> Option<Arc<ConsumerGroup>> {
        let (name, consumer) = self.names();
        let consumer = core::str::from_utf8(consumer).ok().filter(|name| !name.is_empty());
        let name = core::str::from_utf8(name).ok()?;
        Some(Arc::new(ConsumerGroup { name: name.into(), consumer: consumer.map(Box::from) }))
    }

    /// What the acknowledgement of this entry will name, if it needs one. `NOACK` is only about entries that are new.
    fn pending(&self, item: &Item<'_>) -> Option<PendingEntry<'_>> {
        let id = item.id.filter(|_| !self.needs_no_ack || item.is_redelivery).and_then(EntryId::parse)?;
        Some(PendingEntry { database: self.database, group: self.names().0, id, is_redelivery: item.is_redelivery })
    }
}

impl Reads {
    /// Most bytes that are kept of a reply that begins now.
    pub(super) fn most_kept(&self, memory_is_scarce: bool) -> usize {
        if self.0.is_empty() || memory_is_scarce { capture::MAX_LEN } else { MAX_KEPT }
    }

    /// Takes the command that was answered, if it is one of these. Those before it will not be answered any more.
    pub(super) fn take(&mut self, answered: CommandId) -> Option<Waiting> {
        let at = self.0.iter().position(|read| read.command == answered)?;
        let read = self.0.drain(..=at).next_back();
        if self.0.is_empty() {
            self.0 = VecDeque::new();
        }
        read
    }

    fn push(&mut self, read: Waiting) {
        if self.0.len() >= MAX_READS {
            self.0.pop_front();
        }
        self.0.push_back(read);
    }

    /// The bytes of memory that are taken. It is asked after each call, mostly of nobody who reads from queues.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        if self.0.capacity() == 0 {
            return 0;
        }
        let names = |read: &Waiting| read.group.as_ref().map_or(0, |group| group.names.len());
        let of_read = |read: &Waiting| read.key.len() + names(read);
        self.0.capacity() * size_of::<Waiting>() + self.0.iter().map(of_read).sum::<usize>()
    }
}

/// What is known of the command `name` if it takes items out of a list, a sorted set or a stream as work to do. `None` if it is like
/// any other command. In a transaction it is, because the whole transaction has one cause.
pub(super) fn of_read(answer: Answer, name: &[u8], frame: &[u8], parts: &mut Parts<'_>) -> Option<Box<Attribution>> {
    let shape = commands::find(name)?.hands_over?;
    if parts.pairing.is_queueing() {
        return None;
    }
    let waits = matches!(answer, Answer::LateReplies(_));
    let read = Read::of_request(shape, waits, frame)?;
    if read.key.len() > MAX_NAME_LEN || read.finishes || (!waits && is_move_of_queues(&read, parts)) {
        return None;
    }
    let now = parts.call.env.now;
    let takes_work = read.takes_work || parts.call.env.policy.is_queue(&read.key);
    let observed = ObservedRead { key: &read.key, takes_work };
    let command = match parts.call.env.inference.as_deref_mut()?.reads(now, &observed) {
        Reading::Work(command) => {
            listen(&read, frame, parts);
            let group = read.group.and_then(|group| GroupOfRead::new(&group, parts.pairing.asked_database()));
            parts.reads.push(Waiting::new(command, &read, group));
            command
        }
        Reading::Reply(command) => return Some(of_reply(command)),
        Reading::Other => return None,
    };
    // Streams need no such proof.
    if waits && shape != Shape::Entries {
        let database = parts.pairing.asked_database();
        let inference = parts.call.env.inference.as_deref_mut();
        inference
            .into_iter()
            .for_each(|inference| inference.waits(now, database, Bulks::new(handover::keys(shape, frame))));
    }
    Some(of_reply(command))
}

/// What is known of a command of which only the reply is wanted.
fn of_reply(command: CommandId) -> Box<Attribution> {
    Box::new(Attribution { command: Some(command), ..Attribution::default() })
}

/// Whether a read that does not wait only moves an item to another queue, from which it is handed over later.
fn is_move_of_queues(read: &Read<'_>, parts: &mut Parts<'_>) -> bool {
    let Some(to) = read.moves_to.filter(|to| **to != *read.key) else { return false };
    let (now, database) = (parts.call.env.now, parts.pairing.asked_database());
    let inference = parts.call.env.inference.as_deref_mut();
    queue_names::is_known(to) || inference.is_some_and(|inference| inference.is_waited_for(now, database, to))
}

/// Says where other proxies tell the contexts of what this read may hand over.
fn listen(read: &Read<'_>, frame: &[u8], parts: &mut Parts<'_>) {
    let policy = &**parts.call.env.policy;
    if !policy.hears_contexts() {
        return;
    }
    let database = parts.pairing.asked_database();
    let queue = read.names_queue.then_some(&*read.key);
    let keys = queue.is_none().then(|| handover::keys(read.shape, frame));
    for key in queue.into_iter().chain(keys.into_iter().flatten()) {
        let companion = parts.companions.of(database, key, policy);
        if let (Some(companion), Some(inference)) = (companion, parts.call.env.inference.as_deref_mut()) {
            inference.listens(companion);
        }
    }
}

/// Waits for the job that comes with the reply to a script which ends the work on another one, if the command `name` is one. It is
/// `command` to the inference, as any other.
pub(super) fn of_finish(command: Option<CommandId>, name: &[u8], frame: &[u8], parts: &mut Parts<'_>) {
    if commands::find(name).and_then(|row| row.hands_over) != Some(Shape::Script) || parts.pairing.is_queueing() {
        return;
    }
    let read = Read::of_request(Shape::Script, false, frame);
    let read = read.filter(|read| read.finishes && read.key.len() <= MAX_NAME_LEN);
    if let (Some(read), Some(command)) = (read, command) {
        parts.reads.push(Waiting::new(command, &read, None));
    }
}

/// Tells the inference of the items in `frame`, the beginning of the reply to this read, and begins their spans.
pub(super) fn hand_over(read: &Waiting, frame: &[u8], parts: &mut Parts<'_>) {
    let mut handed = handover::items(read.shape, frame);
    let policy = &**parts.call.env.policy;
    if policy.hides_fields() {
        let hidden = |item: &&mut Item<'_>| policy.has_fields(item.key.unwrap_or(&read.key));
        handed.items.iter_mut().filter(hidden).for_each(|item| item.take_added_off(&policy.keys));
    }
    handed.items.retain(|item| !is_marker(read, item));
    if read.has_jobs && read.shape != Shape::Job {
        // A move hands over nothing but the job's id.
        handed.items.iter_mut().for_each(|item| item.job = item.values.as_slice().first().copied());
    }
    if read.finishes && !takes_next(read, !handed.items.is_empty(), parts) {
        return;
    }
    let group = read.group.as_ref().filter(|_| !parts.call.env.policy.hide_channel_names);
    let group = group.and_then(GroupOfRead::shown);
    for item in &handed.items {
        hand_item_over(read, item, group.as_ref(), parts);
    }
    let now = parts.call.env.now;
    if handed.is_incomplete
        && let Some(inference) = parts.call.env.inference.as_deref_mut()
    {
        inference.missed(now);
    }
}

/// Tells the inference that the command was answered which has ended the work on another job, and that it has taken the next one if
/// there is one. Returns whether that is work.
fn takes_next(read: &Waiting, is_there: bool, parts: &mut Parts<'_>) -> bool {
    let now = parts.call.env.now;
    let Some(inference) = parts.call.env.inference.as_deref_mut() else { return false };
    inference.replied(now, read.command, Bulks::new([]));
    is_there && matches!(inference.reads(now, &ObservedRead { key: &read.key, takes_work: true }), Reading::Work(_))
}

/// Whether the item is no work, but only tells the service that there is some.
fn is_marker(read: &Waiting, item: &Item<'_>) -> bool {
    let key = item.key.unwrap_or(&read.key);
    read.shape != Shape::Job
        && item.id.is_none()
        && item.values.as_slice().first().is_some_and(|element| handover::is_marker(key, read.has_jobs, element))
}

/// Hands an item over, of which spans tell this group.
fn hand_item_over(read: &Waiting, item: &Item<'_>, group: Option<&Arc<ConsumerGroup>>, parts: &mut Parts<'_>) {
    let (now, policy) = (parts.call.env.now, &**parts.call.env.policy);
    let key = item.key.unwrap_or(&read.key);
    let mut carried = carried(item, policy);
    // As of messages, where a service is only observed an item has a span only if it carries a context.
    let is_traced = policy.enabled && (carried.is_some() || policy.mode != Mode::Observe);
    // Otherwise it begins the trace that follows from what names it, if something does.
    let derived = if is_traced && carried.is_none() { derived(key, item, parts) } else { None };
    let shares_trace = derived.is_some_and(|derived| item.id.is_some() || is_first(&derived, Passage::Taken, parts));
    // Unless the proxy of who has added it has told the context, or tells it soon.
    let named = match derived {
        Some(derived) => named(derived, key, item, parts),
        None if is_traced && carried.is_none() && read.shape.is_of_list() => named_id(key, item, parts),
        None => None,
    };
    let told = match (&named, parts.call.env.inference.as_deref_mut()) {
        (Some(named), Some(inference)) => inference.told(now, named),
        _ => Told::Nothing,
    };
    let awaits = named.filter(|_| told == Told::NothingYet);
    if let Told::Context(context) = told {
        carried = Some(context);
    }
    let derived = derived.filter(|_| carried.is_none());
    let own = is_traced.then(|| match derived {
        Some(named) => Consumer::named(named, shares_trace, policy, parts.call.env.ids),
        None => Consumer::of(carried.as_ref(), policy, parts.call.env.ids),
    });
    let context = own.map(|span| span.passed_on());
    let id = context.as_ref().map_or_else(|| parts.call.env.ids.span_id(), |context| context.span.span_id);
    let first_delivery = parts.call.env.inference.as_deref_mut().and_then(|inference| {
        let (entry, pending) = (item.id.unwrap_or_default(), read.group.as_ref().and_then(|group| group.pending(item)));
        let context = context.as_ref();
        inference.handed_over(now, &ObservedItem { id, context, key, entry, values: item.values, pending, awaits })
    });
    // The conventions do not want the number of messages (`messaging.batch.message_count`) on a span of a single one.
    let operation = || Operation::Item {
        queue: policy.key_template(key).map(Arc::from),
        group: group.cloned(),
        id: item.id.and_then(entry_id),
        body_size: item.size,
    };
    let record = match own {
        Some(span) => (span.is_sampled || parts.call.env.watched || awaits.is_some())
            .then(|| span.record(now, Change::None, operation())),
        None => parts.call.env.watched.then(|| untraced(None, Some(id), now, Change::None, operation())),
    };
    let Some(mut record) = record else { return };
    record.link = record.link.or(derived);
    if awaits.is_some() {
        record.inferred.get_or_insert_default().awaits_context = true;
    }
    if item.is_redelivery {
        let inferred = record.inferred.get_or_insert_default();
        (inferred.is_redelivery, inferred.first_delivery) = (true, first_delivery);
    }
    parts.call.out.events.push(Event::Delivered(record));
}

/// Tells the inference of the entries of streams that the request called `name` acknowledges, if it is such a one. `frame` is its
/// beginning in RESP.
pub(super) fn acknowledged(name: &[u8], frame: &[u8], parts: &mut Parts<'_>) {
    let Some(Ack { key, group, ids, is_incomplete }) = Ack::of_request(name, frame) else { return };
    let (now, database) = (parts.call.env.now, parts.pairing.asked_database());
    if let Some(inference) = parts.call.env.inference.as_deref_mut() {
        inference.acknowledged(now, &ObservedAck { database, key, group, ids: &ids, is_incomplete });
    }
}

//! An inference that answers as it is told to, and a conversation with it.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use redistributed_core::policy::{Commands, Follow};
use redistributed_core::service::{
    Attribution, Bulks, Inference, MAX_VALUES, NamedItem, ObservedAck, ObservedCommand, ObservedDelivery, ObservedItem,
    ObservedRead, Passage, Reading,
};
use redistributed_core::trace::ids::CountingIds;
use redistributed_core::trace::{CommandId, Context, SpanContext, SpanId, SpanRecord, UnixNanos};
use redistributed_core::{Policy, Side};

use super::{CAUSE, OTHER, UNSAMPLED_CAUSE, span};
use crate::support::{Driver, injecting, multibulk};

/// An inference that writes down what it is told, and answers by what a command's last argument says.
#[derive(Debug, Default)]
struct Scripted {
    told: Arc<Mutex<Vec<String>>>,
    databases: Arc<Mutex<Vec<u32>>>,
    commands: u32,
    /// Whether no item is the first of its kind.
    repeats: Arc<Mutex<bool>>,
    /// Whether each subscription began or ended.
    changes: Arc<Mutex<Vec<bool>>>,
    /// The keys at which the client has waited.
    waited: Vec<(u32, Vec<u8>)>,
}

impl Scripted {
    fn note(&self, line: String) {
        self.told.lock().unwrap().push(line);
    }
}

fn text(bulks: &[&[u8]]) -> String {
    bulks.iter().map(|bulk| bulk.escape_ascii().to_string()).collect::<Vec<_>>().join(" ")
}

impl Inference for Scripted {
    fn command(&mut self, _now: UnixNanos, command: &ObservedCommand<'_>) -> Attribution {
        let arguments = command.arguments.as_slice();
        self.commands += 1;
        self.databases.lock().unwrap().push(command.database);
        self.note(format!("{} {} {}", self.commands, command.name.escape_ascii(), text(arguments)));
        let mut attribution =
            Attribution { command: NonZeroU32::new(self.commands).map(CommandId), ..Attribution::default() };
        let asks =
            |word: &[u8]| arguments.iter().any(|argument| argument.windows(word.len()).any(|found| found == word));
        if asks(b"caused") {
            attribution.cause = Some((Context::from(span(CAUSE)), "token"));
        } else if asks(b"quiet") {
            attribution.cause = Some((Context::from(span(UNSAMPLED_CAUSE)), "token"));
        } else if asks(b"batch") {
            attribution.links = vec![span(CAUSE), span(OTHER)];
        } else if asks(b"later") {
            attribution.is_undecided = true;
        }
        attribution
    }

    /// What is read from a key is work, or an answer, if the key says so.
    fn reads(&mut self, _now: UnixNanos, read: &ObservedRead<'_>) -> Reading {
        self.commands += 1;
        let command = CommandId(NonZeroU32::new(self.commands).unwrap());
        self.note(format!("{} reads {} {}", self.commands, read.key.escape_ascii(), read.takes_work));
        match read.key {
            key if key.starts_with(b"queue") => Reading::Work(command),
            key if key.starts_with(b"answer") => Reading::Reply(command),
            _ => Reading::Other,
        }
    }

    /// An entry that was delivered before has its first delivery at [`OTHER`].
    fn handed_over(&mut self, _now: UnixNanos, item: &ObservedItem<'_>) -> Option<SpanContext> {
        let traced = item.context.is_some_and(|context| context.span.span_id == item.id);
        let (key, entry) = (item.key.escape_ascii(), item.entry.escape_ascii());
        let mut line = format!("item {key} {entry} {} traced={traced}", text(item.values.as_slice()));
        if let Some(pending) = &item.pending {
            let again = if pending.is_redelivery { " again" } else { "" };
            line += &format!(" pending={}/{}/{}{again}", pending.database, pending.group.escape_ascii(), pending.id);
        }
        self.note(line);
        item.pending.filter(|pending| pending.is_redelivery).map(|_| span(OTHER))
    }

    fn acknowledged(&mut self, _now: UnixNanos, ack: &ObservedAck<'_>) {
        let ids: String = ack.ids.iter().map(|id| format!(" {id}")).collect();
        let rest = if ack.is_incomplete { " ..." } else { "" };
        let (key, group) = (ack.key.escape_ascii(), ack.group.escape_ascii());
        self.note(format!("acknowledged {}/{key}/{group}{ids}{rest}", ack.database));
    }

    fn missed(&mut self, _now: UnixNanos) {
        self.note("missed".to_owned());
    }

    fn is_first(&mut self, _item: SpanId, _passage: Passage) -> bool {
        !*self.repeats.lock().unwrap()
    }

    fn not_added(&mut self, _item: SpanId) {
        self.note("not added".to_owned());
    }

    fn adds_id(&mut self, _now: UnixNanos, _item: &NamedItem, _by: SpanId) -> bool {
        true
    }

    fn waits(&mut self, _now: UnixNanos, database: u32, keys: Bulks<'_, MAX_VALUES>) {
        self.waited.extend(keys.as_slice().iter().map(|key| (database, key.to_vec())));
    }

    fn is_waited_for(&mut self, _now: UnixNanos, database: u32, key: &[u8]) -> bool {
        self.waited.iter().any(|(known, waited)| *known == database && waited == key)
    }

    fn injected(&mut self, publish: CommandId, _span: SpanId) {
        self.note(format!("{} injected", publish.0));
    }

    fn replied(&mut self, _now: UnixNanos, command: CommandId, values: Bulks<'_, MAX_VALUES>) -> Vec<SpanContext> {
        self.note(format!("{} answered {}", command.0, text(values.as_slice())));
        let wrote = |word: &[u8]| values.as_slice().contains(&word);
        [(wrote(b"by-cause"), CAUSE), (wrote(b"by-other"), OTHER)]
            .into_iter()
            .filter(|(is_so, _)| *is_so)
            .map(|(_, text)| span(text))
            .collect()
    }

    fn delivered(&mut self, _now: UnixNanos, delivery: &ObservedDelivery<'_>) {
        let traced = delivery.context.is_some_and(|context| context.span.span_id == delivery.id);
        let publish = delivery.publish.map(|publish| publish.span_id.to_string());
        let awaits = delivery.awaits.map(|named| {
            let pattern = named.pattern.map(|pattern| pattern.escape_ascii().to_string());
            let derived = named.derived.map(|derived| derived.span_id);
            let (name, holds_id) = (named.name, named.holds_id);
            format!(" awaits={name} holds_id={holds_id} pattern={pattern:?} derived={derived:?}")
        });
        self.note(format!(
            "delivered {} {} traced={traced} publish={publish:?}{}",
            delivery.channel.escape_ascii(),
            delivery.payload.escape_ascii(),
            awaits.unwrap_or_default()
        ));
    }

    fn hears_of_messages(&self) -> bool {
        true
    }

    fn subscribed(&mut self, _now: UnixNanos) {
        self.changes.lock().unwrap().push(true);
    }

    fn unsubscribed(&mut self, _now: UnixNanos) {
        self.changes.lock().unwrap().push(false);
    }
}

pub(crate) struct Conversation {
    pub(crate) driver: Driver,
    ids: CountingIds,
    by_byte: bool,
    told: Arc<Mutex<Vec<String>>>,
    databases: Arc<Mutex<Vec<u32>>>,
    changes: Arc<Mutex<Vec<bool>>>,
    repeats: Arc<Mutex<bool>>,
}

impl Conversation {
    pub(crate) fn new(policy: Policy, by_byte: bool) -> Self {
        let mut driver = Driver::new(&Arc::new(policy));
        let inference = Scripted::default();
        let (told, databases) = (Arc::clone(&inference.told), Arc::clone(&inference.databases));
        let (changes, repeats) = (Arc::clone(&inference.changes), Arc::clone(&inference.repeats));
        driver.set_inference(Box::new(inference));
        Self { driver, ids: CountingIds::default(), by_byte, told, databases, changes, repeats }
    }

    pub(crate) fn feed(&mut self, from: Side, bytes: &[u8]) {
        if self.by_byte {
            bytes.iter().for_each(|byte| self.driver.feed(from, &[*byte], &mut self.ids));
        } else {
            self.driver.feed(from, bytes, &mut self.ids);
        }
    }

    pub(crate) fn client(&mut self, words: &[&str]) {
        self.feed(Side::Client, &multibulk(words));
    }

    pub(crate) fn server(&mut self, bytes: &str) {
        self.feed(Side::Server, bytes.as_bytes());
    }

    /// What the inference was told since the last call.
    pub(crate) fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap())
    }

    /// From now on each item has been there before.
    pub(crate) fn repeats(&self) {
        *self.repeats.lock().unwrap() = true;
    }

    /// Whether each subscription has begun or ended since the last call.
    pub(crate) fn changes(&self) -> Vec<bool> {
        std::mem::take(&mut self.changes.lock().unwrap())
    }

    /// The databases of the commands that the inference was told of.
    pub(crate) fn databases(&self) -> Vec<u32> {
        std::mem::take(&mut self.databases.lock().unwrap())
    }

    pub(crate) fn spans(&mut self) -> Vec<SpanRecord> {
        std::mem::take(&mut self.driver.spans)
    }
}

pub(crate) fn following(commands: Commands) -> Policy {
    Policy { follow: Follow::Parent, commands, ..injecting() }
}

pub(crate) fn both_ways(policy: &Policy, run: impl Fn(Conversation)) {
    for by_byte in [false, true] {
        run(Conversation::new(policy.clone(), by_byte));
    }
}

//! What is still to be told to other proxies.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redistributed_core::carrier::ContextKeys;
use redistributed_core::carrier::out_of_band::{CompanionChannel, Notice, notices_of};
use redistributed_core::trace::{Companion, SpanId, SpanRecord, TraceId};
use tokio::sync::Notify;

use crate::entropy;
use crate::telemetry::SpanListener;
use crate::telemetry::stats::{ProxyCounter, Stats};

/// The most notices that wait to be told. Further ones are dropped and counted.
const MAX_QUEUED: usize = 8192;

/// The length in bytes from which on a message gets no further notice.
const MESSAGE_LEN: usize = 8 * 1024;

/// How long nothing is told of a key after nobody has received what was told.
const SILENCE: Duration = Duration::from_secs(1);

/// The same for a channel, on which somebody may be waiting for a reply from the moment when he has subscribed.
const SILENCE_OF_CHANNEL: Duration = Duration::from_millis(50);

/// The most keys of which it is known that nobody listens.
const MAX_SILENT: usize = 4096;

/// Notices in the order of the spans that they come from.
#[derive(Debug)]
pub struct Outbox {
    /// The number of this proxy among those that tell each other which ids were taken.
    number: SpanId,
    stats: Arc<Stats>,
    state: Mutex<State>,
    added: Notify,
}

#[derive(Debug, Default)]
struct State {
    queued: Vec<(CompanionChannel, Notice)>,
    /// The keys that nobody has listened to, and until when nothing is told of them.
    silent: HashMap<CompanionChannel, Instant>,
}

/// A message on a companion channel.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) companion: CompanionChannel,
    pub(super) channel: Vec<u8>,
    pub(super) payload: Vec<u8>,
    /// The number of its notices.
    pub(super) notices: u64,
}

impl Outbox {
    /// An outbox with nothing in it.
    pub(super) fn new(stats: Arc<Stats>) -> Arc<Self> {
        let random = entropy::secret_key();
        let number = random.first_chunk().and_then(|bytes| SpanId::from_bytes(*bytes)).unwrap_or(SpanId::MIN);
        Arc::new(Self { number, stats, state: Mutex::default(), added: Notify::new() })
    }

    /// The number of this proxy among those that tell each other which ids were taken.
    pub(super) fn number(&self) -> SpanId {
        self.number
    }

    /// The service has taken an id of this name from the list with this companion.
    pub fn taken(&self, companion: Companion, name: TraceId) {
        self.queue(&CompanionChannel::Key(companion), std::iter::once(Notice::of_taken(name, self.number)));
    }

    /// Waits until there is something to tell, and takes all of it.
    pub(super) async fn take(&self) -> Vec<(CompanionChannel, Notice)> {
        loop {
            self.added.notified().await;
            let queued = std::mem::take(&mut self.lock().queued);
            if !queued.is_empty() {
                return queued;
            }
        }
    }

    /// Nobody has received what was told on this channel.
    pub(super) fn silence(&self, companion: &CompanionChannel, now: Instant) {
        let mut state = self.lock();
        if state.silent.len() >= MAX_SILENT {
            state.silent.retain(|_, until| *until > now);
        }
        if state.silent.len() < MAX_SILENT {
            let silence = if let CompanionChannel::Key(_) = companion { SILENCE } else { SILENCE_OF_CHANNEL };
            state.silent.insert(companion.clone(), now + silence);
        }
    }

    fn queue(&self, companion: &CompanionChannel, notices: impl Iterator<Item = Notice>) {
        let mut state = self.lock();
        if let Some(until) = state.silent.get(companion) {
            if *until > Instant::now() {
                return;
            }
            state.silent.remove(companion);
        }
        let mut dropped = 0;
        for notice in notices {
            if state.queued.len() < MAX_QUEUED {
                state.queued.push((companion.clone(), notice));
            } else {
                dropped += 1;
            }
        }
        drop(state);
        self.added.notify_one();
        if dropped > 0 {
            self.stats.add(ProxyCounter::ContextsNotTold, dropped);
        }
    }

    /// A panic elsewhere leaves the lists whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SpanListener for Outbox {
    fn span_ended(&self, span: &SpanRecord) {
        if let Some((companion, notices)) = notices_of(span) {
            self.queue(&companion, notices);
        }
    }
}

/// The messages that tell all of this: those about one key or channel together, in their order.
pub(super) fn messages<'a>(
    queued: impl Iterator<Item = (&'a CompanionChannel, &'a Notice)>,
    keys: &ContextKeys,
) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    let mut open: HashMap<&CompanionChannel, usize> = HashMap::new();
    for (companion, notice) in queued {
        let index = match open.get(companion) {
            Some(&index) if messages[index].payload.len() < MESSAGE_LEN => index,
            _ => {
                let (channel, payload) = (companion.name(), Vec::new());
                messages.push(Message { companion: companion.clone(), channel, payload, notices: 0 });
                open.insert(companion, messages.len() - 1);
                messages.len() - 1
            }
        };
        let Message { channel, payload, notices, .. } = &mut messages[index];
        notice.write(channel, keys, payload);
        *notices += 1;
    }
    messages
}

#[cfg(test)]
mod tests {
    use redistributed_core::carrier::out_of_band::{About, notices};
    use redistributed_core::trace::{Companion, Context, Operation, Sent, SpanContext, UnixNanos};

    use super::*;

    fn key(number: u64) -> CompanionChannel {
        CompanionChannel::Key(Companion(number))
    }

    fn span(id: u64) -> SpanContext {
        let text = format!("00-{id:032x}-00f067aa0ba902b7-01");
        SpanContext::parse_traceparent(text.as_bytes()).unwrap()
    }

    fn notice(id: u64) -> Notice {
        Notice { name: span(id).trace_id, context: Some(Context::from(span(id))), about: About::Item }
    }

    fn ended(companion: u64, id: u64) -> SpanRecord {
        let companion = Some(Companion(companion));
        let sent = Sent { companion, is_named_by_item: true, ..Sent::default() };
        SpanRecord::new(span(id), UnixNanos(1), Operation::Send(Box::new(sent)))
    }

    #[test]
    fn what_is_told_of_one_key_shares_messages_of_a_limited_length() {
        let keys = ContextKeys::default();
        let queued: Vec<_> = (1..=600).map(|id| (key(id % 2), notice(id))).collect();
        let messages = messages(queued.iter().map(|(of, notice)| (of, notice)), &keys);
        for companion in [key(0), key(1)] {
            let of_key: Vec<_> = messages.iter().filter(|message| message.companion == companion).collect();
            let told = of_key.iter().flat_map(|message| notices(&message.channel, &message.payload, &keys));
            let expected = queued.iter().filter(|(of, _)| *of == companion).map(|(_, notice)| notice.clone());
            assert_eq!(told.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
            assert_eq!(of_key.iter().map(|message| message.notices).sum::<u64>(), 300);
            assert!(of_key.len() > 1 && of_key.iter().all(|message| message.payload.len() < MESSAGE_LEN + 100));
        }
    }

    #[tokio::test]
    async fn nothing_is_told_for_a_while_where_nobody_listens() {
        let outbox = Outbox::new(Arc::default());
        outbox.span_ended(&ended(1, 5));
        assert_eq!(outbox.take().await, [(key(1), notice(5))]);
        outbox.silence(&key(1), Instant::now());
        outbox.span_ended(&ended(1, 6));
        outbox.span_ended(&ended(2, 7));
        assert_eq!(outbox.take().await, [(key(2), notice(7))]);
        let long_ago = Instant::now().checked_sub(2 * SILENCE).expect("the machine runs for longer");
        outbox.silence(&key(1), long_ago);
        outbox.span_ended(&ended(1, 8));
        assert_eq!(outbox.take().await, [(key(1), notice(8))]);
    }

    #[tokio::test]
    async fn what_is_too_much_is_dropped_and_counted() {
        let stats = Arc::new(Stats::default());
        let outbox = Outbox::new(Arc::clone(&stats));
        for id in 1..=MAX_QUEUED as u64 + 3 {
            outbox.span_ended(&ended(1, id));
        }
        assert_eq!(outbox.take().await.len(), MAX_QUEUED);
        assert_eq!(stats.get(ProxyCounter::ContextsNotTold), 3);
    }
}

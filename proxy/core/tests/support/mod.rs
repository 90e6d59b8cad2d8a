//! What the session's tests share: a driver that feeds a session and collects all that leaves it, and RESP builders.
#![allow(dead_code, reason = "each test uses its part")]

use std::sync::Arc;

use redistributed_core::policy::Mode;
use redistributed_core::service::{Audience, Environment, Event, Inference, SubscriptionChange};
use redistributed_core::trace::ids::CountingIds;
use redistributed_core::trace::{SpanRecord, UnixNanos};
use redistributed_core::{Counter, Output, Policy, Session, Side};

/// The default policy but for the mode, so that each publish gets a context.
pub(crate) fn injecting() -> Policy {
    Policy { mode: Mode::Inject, ..Policy::default() }
}

/// A session with everything that has left it so far.
pub(crate) struct Driver {
    session: Session,
    policy: Arc<Policy>,
    audience: Option<Arc<dyn Audience>>,
    inference: Option<Box<dyn Inference>>,
    output: Output,
    /// Whether calls are looked ahead in, as the program does.
    pub(crate) sees_ahead: bool,
    /// Whether operations are watched or measured.
    pub(crate) watched: bool,
    /// The time of the last call. Each call gets the next nanosecond.
    clock: u64,
    pub(crate) to_server: Vec<u8>,
    pub(crate) to_client: Vec<u8>,
    /// The spans of publishes and other commands.
    pub(crate) spans: Vec<SpanRecord>,
    pub(crate) deliveries: Vec<SpanRecord>,
    pub(crate) counts: [u64; Counter::NAMES.len()],
    pub(crate) subscriptions: Vec<SubscriptionChange>,
    pub(crate) contradicted: Vec<u64>,
}

impl Driver {
    pub(crate) fn new(policy: &Arc<Policy>) -> Self {
        Self {
            session: Session::new(),
            policy: Arc::clone(policy),
            audience: None,
            inference: None,
            output: Output::default(),
            sees_ahead: false,
            watched: false,
            clock: 0,
            to_server: Vec::new(),
            to_client: Vec::new(),
            spans: Vec::new(),
            deliveries: Vec::new(),
            counts: [0; Counter::NAMES.len()],
            subscriptions: Vec::new(),
            contradicted: Vec::new(),
        }
    }

    /// Sets the audience that knows the receivers of what is published.
    pub(crate) fn set_audience(&mut self, audience: Arc<dyn Audience>) {
        self.audience = Some(audience);
    }

    /// Sets what knows the causes of commands.
    pub(crate) fn set_inference(&mut self, inference: Box<dyn Inference>) {
        self.inference = Some(inference);
    }

    pub(crate) fn feed(&mut self, from: Side, input: &[u8], ids: &mut CountingIds) {
        self.clock += 1;
        self.output.clear();
        let (sees_ahead, watched) = (self.sees_ahead, self.watched);
        let inference = self.inference.as_deref_mut();
        let known = environment(self.clock, &self.policy, self.audience.as_deref(), ids);
        let env = Environment { sees_ahead, watched, inference, ..known };
        self.session.receive(from, input, env, &mut self.output);
        self.collect(from, input);
    }

    pub(crate) fn set_policy(&mut self, policy: &Arc<Policy>) {
        self.policy = Arc::clone(policy);
    }

    pub(crate) fn end_of_stream(&mut self, from: Side) {
        self.clock += 1;
        self.output.clear();
        self.session.end_of_stream(from, &mut self.output);
        self.collect(from, &[]);
    }

    pub(crate) fn close(&mut self) {
        self.clock += 1;
        self.output.clear();
        let mut ids = CountingIds::default();
        let env = environment(self.clock, &self.policy, None, &mut ids);
        self.session.close(env, &mut self.output);
        self.collect(Side::Client, &[]);
    }

    fn collect(&mut self, from: Side, input: &[u8]) {
        let to = match from {
            Side::Client => &mut self.to_server,
            Side::Server => &mut self.to_client,
        };
        let before = to.len();
        self.output.chunks(input).for_each(|chunk| to.extend_from_slice(chunk));
        assert_eq!(to.len() - before, self.output.byte_len(), "byte_len is the sum of the chunks");
        for event in self.output.events.drain(..) {
            if let Event::SpanEnded(span) | Event::Delivered(span) = &event {
                assert!(span.start <= span.end && span.end.0 <= self.clock, "times of {span:?} at {}", self.clock);
            }
            match event {
                Event::SpanEnded(span) => self.spans.push(span),
                Event::Delivered(span) => self.deliveries.push(span),
                Event::Subscription(change) => self.subscriptions.push(change),
                Event::Contradicted(evidence) => self.contradicted.push(evidence),
                Event::RoundTrip(_) | Event::PublishedAt(_) | Event::ClientNamed(_) => {}
            }
        }
        self.output.counts.nonzero().for_each(|(index, value)| self.counts[index] += value);
    }
}

/// The environment of a call at `now`.
pub(crate) fn environment<'a>(
    now: u64,
    policy: &'a Arc<Policy>,
    audience: Option<&'a (dyn Audience + 'static)>,
    ids: &'a mut CountingIds,
) -> Environment<'a> {
    Environment { audience, ..Environment::new(UnixNanos(now), policy, ids) }
}

/// Appends `$<len>␍<bytes>␍`.
pub(crate) fn bulk(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// A request of these words, as clients send it.
pub(crate) fn multibulk<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    words.iter().for_each(|word| bulk(word.as_ref(), &mut out));
    out
}

/// A source of pseudo-random numbers that the seed determines (SplitMix64).
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `bound` − 1.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn one_in(&mut self, chance: usize) -> bool {
        self.below(chance) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

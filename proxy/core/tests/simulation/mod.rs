//! Clients with a session each ([`client`]) and a small model of Redis ([`redis`]).
//!
//! A seed decides what the clients send, how the bytes are cut and in which order everything happens. A second model
//! gets the same commands in the same order without sessions. Each client must see exactly the bytes that the second model
//! sends it. Each message must have a consumer span whose parent is the span of the publish. Each publish whose reply was
//! seen must have the number of receivers that the model gave.
//!
//! Some clients are wild: they send what nobody can pair, and answers of scripts that look like messages. Such a client is
//! alone, so that each message is one that it has published itself, and of it only the bytes are compared.
//!
//! The answers of the model with [`Redis::own_push_first`] were compared with those of Redis 7.0.15 over 108 seeds. They
//! differ only in the order of hash tables and the texts of errors.
//!
//! `SIM_SEED=17 cargo test --workspace --test core simulation::` runs one seed again.

mod client;
mod redis;

use std::collections::BTreeMap;
use std::sync::Arc;

use redistributed_core::carrier::trailer;
use redistributed_core::trace::ids::CountingIds;
use redistributed_core::trace::sampler::Root;
use redistributed_core::trace::{Operation, Sampler, SpanId, TraceId};
use redistributed_core::{Counter, Policy};

use crate::support::{Rng, injecting};
use client::Client;
use redis::Redis;

const SEEDS: u64 = 400;
const STEPS: usize = 600;

/// Wild clients are alone and send little, because after the first thing that makes the pairing uncertain the rest tells less.
/// `SIM_WILD=100000` tries more.
const WILD_SEEDS: u64 = 1_500;
const WILD_STEPS: usize = 100;

#[test]
fn every_client_sees_what_it_would_see_without_sessions() {
    if let Ok(seed) = std::env::var("SIM_SEED") {
        return Simulation::new(seed.parse().unwrap(), false).run();
    }
    for seed in 0..SEEDS {
        Simulation::new(seed, false).run();
    }
}

#[test]
fn a_wild_client_sees_what_it_would_see_without_a_session() {
    let seeds = match std::env::var("SIM_SEED") {
        Ok(seed) => seed.parse().unwrap()..seed.parse::<u64>().unwrap() + 1,
        Err(_) => 0..std::env::var("SIM_WILD").map_or(WILD_SEEDS, |seeds| seeds.parse().unwrap()),
    };
    for seed in seeds {
        Simulation::new(seed, true).run();
    }
}

/// The words of a command.
type Words = Vec<Vec<u8>>;

/// The span of a publish, as its message's trailer names it.
type Origin = (TraceId, SpanId);

struct Simulation {
    seed: u64,
    rng: Rng,
    ids: CountingIds,
    clients: Vec<Client>,
    /// Gets what the sessions make of the requests.
    redis: Redis,
    /// Gets the requests as the clients sent them.
    reference: Redis,
    sampled: bool,
    wild: bool,
}

impl Simulation {
    fn new(seed: u64, wild: bool) -> Self {
        let mut rng = Rng(seed);
        let sampled = !rng.one_in(4);
        let own_push_first = rng.one_in(2);
        let root = if sampled { Root::AlwaysOn } else { Root::AlwaysOff };
        let policy = Arc::new(Policy { sampler: Sampler { parent_based: true, root }, ..injecting() });
        let count = if wild { 1 } else { 2 + rng.below(3) };
        Self {
            seed,
            rng,
            ids: CountingIds::default(),
            clients: (0..count).map(|_| Client::new(&policy, wild)).collect(),
            redis: Redis::new(count, own_push_first),
            reference: Redis::new(count, own_push_first),
            sampled,
            wild,
        }
    }

    fn run(mut self) {
        let steps = if self.wild { WILD_STEPS } else { STEPS };
        for step in 0..steps {
            let id = self.rng.below(self.clients.len());
            match self.rng.below(4) {
                0 => self.clients[id].send(&mut self.rng, self.redis.own_push_first),
                1 => self.clients[id].forward_requests(self.rng.below(40), &mut self.ids),
                2 => drop(self.execute(id)),
                _ => self.clients[id].forward_replies(self.rng.below(60), &mut self.ids),
            }
            self.compare(step);
        }
        for id in 0..self.clients.len() {
            self.clients[id].forward_requests(usize::MAX, &mut self.ids);
            while self.execute(id) {}
            assert!(self.clients[id].is_done(), "seed {}: every command has arrived", self.seed);
        }
        for id in 0..self.clients.len() {
            self.clients[id].forward_replies(usize::MAX, &mut self.ids);
        }
        self.compare(STEPS);
        if !self.wild {
            self.check_spans();
        }
    }

    /// Lets both models run the next command of a connection, if it has arrived.
    fn execute(&mut self, id: usize) -> bool {
        let Some((words, sent)) = self.clients[id].arrive() else { return false };
        if words != sent {
            let [name, channel, payload] = &words[..] else { panic!("seed {}: only a publish changes", self.seed) };
            let added = trailer::find(payload).unwrap();
            assert_eq!(
                [name, channel, &payload[..added.range.start].to_vec()].map(|w| &w[..]),
                [&sent[0][..], &sent[1], &sent[2]]
            );
        }
        self.redis.command(id, &words);
        self.reference.command(id, &sent);
        for (client, connection) in self.clients.iter_mut().zip(&mut self.redis.connections) {
            client.replies.append(&mut connection.out);
        }
        true
    }

    fn compare(&self, step: usize) {
        for (id, (client, connection)) in self.clients.iter().zip(&self.reference.connections).enumerate() {
            let (got, expected) = (&client.session.to_client, &connection.out);
            if !expected.starts_with(got) || step == STEPS && expected.len() != got.len() {
                let same = got.iter().zip(expected).take_while(|(a, b)| a == b).count();
                let shown = |bytes: &[u8]| {
                    bytes[same.saturating_sub(200)..bytes.len().min(same + 120)].escape_ascii().to_string()
                };
                panic!(
                    "seed {} step {step} client {id}: differs at {same}\nexpected {}\ngot      {}\ncommands {}",
                    self.seed,
                    shown(expected),
                    shown(got),
                    connection.log.join(" | "),
                );
            }
            assert!(
                self.wild || client.session.counts[Counter::PairingLost as usize] == 0,
                "seed {} step {step} client {id}: lost after {}",
                self.seed,
                connection.log.join(" | ")
            );
        }
    }

    fn check_spans(&self) {
        let seed = self.seed;
        let mut receivers: BTreeMap<Origin, u64> = BTreeMap::new();
        let mut without = 0;
        for client in &self.clients {
            let unpaired = client.session.counts[Counter::SpansUnpaired as usize];
            for span in &client.session.spans {
                let Operation::Publish { receivers: seen, .. } = &span.operation else { panic!("only publishes") };
                let key = (span.context.trace_id, span.context.span_id);
                match (seen, self.redis.published.get(&key)) {
                    (Some(seen), Some((count, _))) => assert_eq!(seen, count, "seed {seed}: receivers of {span:?}"),
                    (None, Some((_, visible))) => without += u64::from(*visible),
                    (Some(_), None) => panic!("seed {seed}: {span:?} has receivers and was never run"),
                    (None, None) => {}
                }
                assert!(receivers.insert(key, seen.unwrap_or_default()).is_none(), "seed {seed}: one span a publish");
            }
            assert!(without <= unpaired, "seed {seed}: {without} seen replies without receivers, {unpaired} unpaired");
            without = 0;
        }
        for (id, (client, connection)) in self.clients.iter().zip(&self.redis.connections).enumerate() {
            let told: Vec<_> =
                client.session.deliveries.iter().map(|span| (span.context.trace_id, span.parent)).collect();
            let expected: Vec<_> = connection.delivered.iter().map(|(trace, span)| (*trace, Some(*span))).collect();
            let expected = if self.sampled { expected } else { Vec::new() };
            assert_eq!(told, expected, "seed {seed} client {id}: each message has a span, its parent is the publish");
        }
    }
}

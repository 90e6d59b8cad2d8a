//! The same bytes from several publishers, with and without proxies, to subscriptions that begin and end, by chance. Redis is
//! simulated, and so is the network, which holds up no message for as long as a window has to be quiet. Whatever is matched has
//! to be true.

use super::*;

/// The names of what is published in an episode: one.
const NAME: u64 = 1;

/// The longest that the network holds up a message, in milliseconds, without an id and with one.
const HELD_UP: [u64; 2] = [45, 8];

/// A source of numbers that are the same in each run (xorshift64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    fn one_in(&mut self, number: u64) -> bool {
        self.below(number) == 0
    }

    fn one_of(&mut self, choices: &[u64]) -> u64 {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// What comes to the proxy of the subscribers.
enum Comes {
    Message { delivery: u64, subscriber: usize },
    Told(Notice),
    Begun(usize),
    Ended(usize),
}

/// A subscriber, as Redis and the network see it.
struct Subscriber {
    is_subscribed: bool,
    may_change: bool,
    /// When the last that was sent to it comes.
    last: u64,
    lateness: Arc<Lateness>,
}

impl Subscriber {
    /// When something comes that Redis sends now, behind all that it has sent before.
    fn comes(&mut self, now: u64, held_up: u64, chance: &mut Chance) -> u64 {
        self.last = self.last.max(now + chance.below(held_up));
        self.last
    }
}

/// One burst of the same bytes, and what comes of it.
struct Episode {
    holds_id: bool,
    coming: Vec<(u64, Comes)>,
    /// Who has published each message, by the id of its delivery.
    truth: Vec<u64>,
}

impl Episode {
    fn new(chance: &mut Chance) -> (Self, Vec<Subscriber>) {
        let holds_id = chance.one_in(3);
        let mut episode = Self { holds_id, coming: Vec::new(), truth: Vec::new() };
        // That those who subscribe to bytes with an id do it in the moment when the bytes come again is not guarded against.
        let changes = !holds_id && chance.one_in(3);
        let subscriber = |is_subscribed| {
            let lateness = Arc::<Lateness>::default();
            Subscriber { is_subscribed, may_change: changes, last: 0, lateness }
        };
        let mut subscribers: Vec<_> = (0..=chance.below(2)).map(|_| subscriber(!changes || chance.one_in(2))).collect();
        // A publisher with a proxy, or with another one, or with one without.
        let publishers = [1, 1, 2, 3][chance.below(4) as usize];
        let (mut now, mut told, gaps) = (1_000, Vec::new(), [0, 0, 0, 1, 3, 10, 40, 90, 240]);
        let most = gaps.len() as u64 - chance.below(6);
        for publish in 0..=chance.below(8) {
            now += chance.one_of(&gaps[..most as usize]);
            for (number, subscriber) in subscribers.iter_mut().enumerate() {
                if subscriber.may_change && chance.one_in(6) {
                    subscriber.is_subscribed = !subscriber.is_subscribed;
                    let change = if subscriber.is_subscribed { Comes::Begun(number) } else { Comes::Ended(number) };
                    episode.coming.push((subscriber.comes(now, HELD_UP[0], chance), change));
                    // What is published next is for a subscription that is young, or not any more.
                    now += chance.one_of(&[0, 20, 70, 110, 260, 300]);
                }
            }
            let held_up = HELD_UP[usize::from(holds_id)];
            for (number, subscriber) in subscribers.iter_mut().enumerate().filter(|(_, one)| one.is_subscribed) {
                let delivery = episode.truth.len() as u64;
                let comes = Comes::Message { delivery, subscriber: number };
                episode.coming.push((subscriber.comes(now, held_up, chance), comes));
                episode.truth.push(publish);
            }
            let connection = match publishers {
                1 => 1,
                2 => 1 + chance.below(2),
                _ => chance.below(2),
            };
            // What somebody without a proxy publishes, a script does, or a lost connection takes along, is not told.
            if connection > 0 && !chance.one_in(15) {
                let notice = notice_of(NAME, 100 + publish, connection, publish as u32 * 3);
                let waits = if chance.one_in(4) { 100 + chance.below(50) } else { chance.below(5) };
                told.push((now + waits, notice.clone()));
                told.extend(chance.one_in(4).then_some((now + waits + chance.below(20), notice)));
            }
        }
        told.sort_by_key(|(when, _)| *when);
        let mut last = 0;
        for (when, notice) in told {
            last = last.max(when + chance.below(20));
            episode.coming.push((last, Comes::Told(notice)));
        }
        episode.coming.sort_by_key(|(when, _)| *when);
        (episode, subscribers)
    }

    /// Returns how many messages there were, and how many of them were matched. Each of these has the context of its publish.
    fn run(self, subscribers: &[Subscriber], phase: u64) -> (usize, usize) {
        let (mut messages, mut coming, mut matched) = (Messages::default(), self.coming.into_iter().peekable(), 0);
        let holds_id = self.holds_id;
        for now in 1_000..6_000 {
            while let Some((_, comes)) = coming.next_if(|(when, _)| *when <= now) {
                match comes {
                    Comes::Message { delivery, subscriber } => {
                        let lateness = Arc::clone(&subscribers[subscriber].lateness);
                        let message = Message { holds_id, lateness, ..message(delivery, subscriber as u32) };
                        messages.delivered(at(now), REDIS, name(NAME), message);
                    }
                    Comes::Told(notice) => messages.heard(at(now), REDIS, vec![notice]),
                    Comes::Begun(subscriber) => subscribers[subscriber].lateness.subscribed(at(now)),
                    Comes::Ended(subscriber) => subscribers[subscriber].lateness.ended(at(now)),
                }
            }
            if now % 10 != phase {
                continue;
            }
            for (delivery, found) in taken(&mut messages, now) {
                if let Some(found) = found {
                    assert_eq!(found, context(100 + self.truth[delivery as usize]), "{:?}", self.truth);
                    matched += 1;
                }
            }
        }
        assert!(messages.is_empty() && coming.peek().is_none());
        (self.truth.len(), matched)
    }
}

#[test]
fn whatever_is_matched_is_true() {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let (mut all, mut matched, mut repeated) = (0, 0, 0);
    for _ in 0..5_000 {
        let (episode, subscribers) = Episode::new(&mut chance);
        let is_repeated = episode.truth.len() > 2;
        let (messages, found) = episode.run(&subscribers, chance.below(10));
        all += messages;
        matched += found;
        repeated += if is_repeated { found } else { 0 };
    }
    println!("{matched} of {all} messages were matched, {repeated} of them in bursts");
    assert!(matched * 4 > all && repeated * 5 > all, "{matched} and {repeated} of {all}");
}

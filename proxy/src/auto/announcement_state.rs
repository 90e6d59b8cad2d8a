//! What this proxy has announced over one connection, and which subscriptions bring that up to date.
//!
//! An announcement lives as long as the connection that subscribes to it: nothing is written to Redis, nothing has to
//! expire, and no clock is shared. A count that has decreased is withdrawn at once, and one that has increased is announced
//! soon after. The old announcement of a topic always ends before the new one begins.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::announcement::{Announcement, AnnouncerId, Heartbeat, check_channel};
use super::news;
use super::topic::Topic;
use crate::redis::Requests;

/// The largest number of topics that are announced at once; the others wait for the next heartbeat. The confirmations of so
/// many stay far below what Redis lets a subscriber leave unread (8 MiB).
const MAX_TOPICS_AT_ONCE: usize = 4096;

/// The largest number of answers to those who asked for a check that stay in place.
const MAX_ANSWERS: usize = 256;

/// The announcements of one announcer.
#[derive(Debug)]
pub(super) struct AnnouncementState {
    announcer: AnnouncerId,
    /// The sequence number of the latest heartbeat; 0 before the first.
    sequence: u64,
    /// The serial number of the latest announcement of subscribers; 0 before the first.
    serial: u64,
    /// The channel of the latest heartbeat.
    heartbeat: Option<Vec<u8>>,
    /// The count that is announced for each topic, with the channel of the announcement.
    announced: HashMap<Arc<Topic>, (u32, Vec<u8>)>,
    /// The topics that are to be announced with another count, and that count.
    pending: HashMap<Arc<Topic>, u32>,
    /// The channels of the latest answers to those who asked for a check, each with the sequence number of the heartbeat
    /// before it.
    answers: VecDeque<(u64, Vec<u8>)>,
}

/// The channels to unsubscribe from and to subscribe to, in the order of the fields.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    unsubscribe_first: Vec<Vec<u8>>,
    subscribe: Vec<Vec<u8>>,
    unsubscribe_last: Vec<Vec<u8>>,
}

impl AnnouncementState {
    pub(super) fn new(announcer: AnnouncerId) -> Self {
        Self {
            announcer,
            sequence: 0,
            serial: 0,
            heartbeat: None,
            announced: HashMap::new(),
            pending: HashMap::new(),
            answers: VecDeque::new(),
        }
    }

    /// The announcer, as its announcements name it.
    pub(super) fn announcer(&self) -> AnnouncerId {
        self.announcer
    }

    /// The channel of the latest heartbeat.
    pub(super) fn latest_heartbeat(&self) -> Option<&[u8]> {
        self.heartbeat.as_deref()
    }

    /// Records how many subscribers are to be announced for each of these topics from now on.
    pub(super) fn set_counts(&mut self, counts: impl IntoIterator<Item = (Arc<Topic>, u32)>) {
        self.pending.extend(counts);
    }

    /// Withdraws the announcements whose count is too high, and returns their topics.
    pub(super) fn withdraw_decreased(&mut self) -> (Vec<Arc<Topic>>, Changes) {
        let (mut topics, mut channels) = (Vec::new(), Vec::new());
        for (topic, count) in &self.pending {
            if self.announced.get(topic).is_some_and(|(announced, _)| announced > count) {
                channels.extend(self.announced.remove(topic).map(|(_, channel)| channel));
                topics.push(Arc::clone(topic));
            }
        }
        (topics, Changes { unsubscribe_first: channels, ..Changes::default() })
    }

    /// Announces the counts that have increased.
    pub(super) fn announce(&mut self) -> Changes {
        let mut changes = Changes::default();
        let topics: Vec<_> = self.pending.keys().take(MAX_TOPICS_AT_ONCE).cloned().collect();
        for topic in topics {
            let count = self.pending.remove(&topic).unwrap_or_default();
            let announced = self.announced.get(&topic).map_or(0, |(announced, _)| *announced);
            if announced == count {
                continue;
            }
            self.serial += 1;
            let announcement = Announcement::Subscribers { topic: Topic::clone(&topic), serial: self.serial, count };
            let channel = announcement.to_channel(self.announcer);
            changes.subscribe.push(channel.clone());
            let previous = self.announced.insert(topic, (count, channel));
            changes.unsubscribe_first.extend(previous.map(|(_, channel)| channel));
        }
        changes
    }

    /// Announces the counts that have increased, and a new heartbeat. What has decreased must have been withdrawn before:
    /// that is what a heartbeat promises.
    pub(super) fn heartbeat(&mut self, interval: Duration, search_limit: u64) -> Changes {
        let mut changes = self.announce();
        if self.sequence == 0 {
            changes.subscribe.extend([news::CHANNEL.to_vec(), check_channel(self.announcer)]);
        }
        // Who asked has had an interval to see the answer.
        let over = self.answers.iter().take_while(|(sequence, _)| *sequence < self.sequence).count();
        changes.unsubscribe_last.extend(self.answers.drain(..over).map(|(_, answer)| answer));
        self.sequence += 1;
        let heartbeat = Heartbeat { sequence: self.sequence, interval, search_limit };
        let heartbeat = Announcement::from(heartbeat).to_channel(self.announcer);
        changes.subscribe.push(heartbeat.clone());
        changes.unsubscribe_last.extend(self.heartbeat.replace(heartbeat));
        changes
    }

    /// Answers those who asked for a check with these tokens. What has decreased must have been withdrawn before.
    pub(super) fn answer(&mut self, tokens: impl IntoIterator<Item = u64>) -> Changes {
        let mut changes = Changes::default();
        for token in tokens {
            let answer = Announcement::Checked { token }.to_channel(self.announcer);
            changes.subscribe.push(answer.clone());
            self.answers.push_back((self.sequence, answer));
        }
        let surplus = self.answers.len().saturating_sub(MAX_ANSWERS);
        changes.unsubscribe_last.extend(self.answers.drain(..surplus).map(|(_, answer)| answer));
        changes
    }
}

impl Changes {
    pub(super) fn requests(&self) -> Requests {
        let mut requests = Requests::new();
        for (command, channels) in [
            (&b"UNSUBSCRIBE"[..], &self.unsubscribe_first),
            (b"SUBSCRIBE", &self.subscribe),
            (b"UNSUBSCRIBE", &self.unsubscribe_last),
        ] {
            // UNSUBSCRIBE without arguments would end all subscriptions.
            if !channels.is_empty() {
                let words: Vec<_> = std::iter::once(command).chain(channels.iter().map(Vec::as_slice)).collect();
                requests.push(words);
            }
        }
        requests
    }
}

#[cfg(test)]
mod tests {
    use redistributed_core::service::SubscriptionKind::Channel;

    use super::*;

    const PREFIX: &str = "__redistributed:1:0000000000000001";

    fn topic(name: &str) -> Arc<Topic> {
        Arc::new(Topic::new(Channel, name.as_bytes()))
    }

    fn heartbeat(state: &mut AnnouncementState) -> Changes {
        let mut changes = state.heartbeat(Duration::from_secs(1), 9);
        changes.subscribe.sort();
        changes
    }

    /// Channels of announcer 1, given without their prefix.
    fn channels<const N: usize>(suffixes: [&str; N]) -> Vec<Vec<u8>> {
        suffixes.map(|suffix| format!("{PREFIX}:{suffix}").into()).into()
    }

    #[test]
    fn the_first_heartbeat_also_subscribes_to_news_and_to_requests_for_checks() {
        let mut state = AnnouncementState::new(AnnouncerId(1));
        let mut subscribe = channels(["b:1:1000:9"]);
        subscribe.extend([b"__redistributed:check:0000000000000001".to_vec(), news::CHANNEL.to_vec()]);
        assert_eq!(heartbeat(&mut state), Changes { subscribe, ..Changes::default() });
        let (subscribe, unsubscribe_last) = (channels(["b:2:1000:9"]), channels(["b:1:1000:9"]));
        assert_eq!(heartbeat(&mut state), Changes { subscribe, unsubscribe_last, ..Changes::default() });
    }

    #[test]
    fn an_increase_is_announced_and_the_old_announcement_ends_first() {
        let mut state = AnnouncementState::new(AnnouncerId(1));
        heartbeat(&mut state);
        state.set_counts([(topic("a"), 1)]);
        assert_eq!(state.withdraw_decreased(), (vec![], Changes::default()));
        assert_eq!(heartbeat(&mut state).subscribe, channels(["b:2:1000:9", "c:1:1:a"]));
        state.set_counts([(topic("a"), 2)]);
        assert_eq!(state.withdraw_decreased(), (vec![], Changes::default()));
        let unsubscribe_first = channels(["c:1:1:a"]);
        let changes = Changes { unsubscribe_first, subscribe: channels(["c:2:2:a"]), ..Changes::default() };
        assert_eq!(state.announce(), changes, "without a heartbeat too");
        assert_eq!(heartbeat(&mut state).subscribe, channels(["b:3:1000:9"]), "it has been announced");
    }

    #[test]
    fn an_answer_stays_in_place_for_an_interval() {
        let mut state = AnnouncementState::new(AnnouncerId(1));
        heartbeat(&mut state);
        let answers = Changes { subscribe: channels(["k:7", "k:8"]), ..Changes::default() };
        assert_eq!(state.answer([7, 8]), answers);
        assert_eq!(heartbeat(&mut state).unsubscribe_last, channels(["b:1:1000:9"]));
        state.answer([9]);
        assert_eq!(heartbeat(&mut state).unsubscribe_last, channels(["k:7", "k:8", "b:2:1000:9"]));
        let surplus = state.answer(10..10 + MAX_ANSWERS as u64).unsubscribe_last;
        assert_eq!(surplus, channels(["k:9"]), "no more than so many answers");
    }

    #[test]
    fn a_decrease_is_withdrawn_at_once_and_the_rest_is_announced_with_the_heartbeat() {
        let mut state = AnnouncementState::new(AnnouncerId(1));
        state.set_counts([(topic("a"), 3)]);
        heartbeat(&mut state);
        state.set_counts([(topic("a"), 2)]);
        let unsubscribe_first = channels(["c:1:3:a"]);
        let changes = Changes { unsubscribe_first, ..Changes::default() };
        assert_eq!(state.withdraw_decreased(), (vec![topic("a")], changes));
        assert_eq!(state.withdraw_decreased(), (vec![], Changes::default()), "it has been withdrawn");
        assert_eq!(heartbeat(&mut state).subscribe, channels(["b:2:1000:9", "c:2:2:a"]));
        state.set_counts([(topic("a"), 0)]);
        state.withdraw_decreased();
        assert_eq!(heartbeat(&mut state).subscribe, channels(["b:3:1000:9"]), "a count of 0 is not announced");
    }

    #[test]
    fn a_count_that_is_back_where_it_was_costs_nothing() {
        let mut state = AnnouncementState::new(AnnouncerId(1));
        heartbeat(&mut state);
        state.set_counts([(topic("a"), 1)]);
        state.set_counts([(topic("a"), 0)]);
        state.withdraw_decreased();
        assert_eq!(heartbeat(&mut state).subscribe, channels(["b:2:1000:9"]));
    }

    #[test]
    fn many_topics_are_announced_over_several_heartbeats() {
        let mut state = AnnouncementState::new(AnnouncerId(1));
        heartbeat(&mut state);
        state.set_counts((0..=MAX_TOPICS_AT_ONCE).map(|index| (topic(&index.to_string()), 1)));
        for expected in [MAX_TOPICS_AT_ONCE, 1, 0] {
            assert_eq!(heartbeat(&mut state).subscribe.len(), expected + 1);
        }
    }
}

//! What proxies tell each other at once, by messages on [`CHANNEL`]: that subscriptions have ended, and that others are
//! announced now.
//!
//! A proxy that publishes on a topic whose subscriptions have ended adds no more contexts there until the receivers have been
//! proven anew. So a subscriber without a proxy that takes the place of one that has just left is not mistaken for it. A
//! proxy that learns of a new announcement takes a snapshot at once, instead of with the next interval. Correctness depends
//! on neither. A forged message can keep contexts away or cause a snapshot, and nothing else.
//!
//! ```text
//! c6:ordersp3:a*b   ended: a channel and a pattern: the letter of the kind, the length of the name in bytes, a colon, the name
//! *                 ended: any topic; there are too many to name
//! +44:__redistr...  announced: channels of announcements, each as its length in bytes, a colon and the name
//! +                 announced: there are too many to name
//! ```

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::topic::{Topic, kind_from_letter, kind_letter};

/// The channel on which proxies tell each other.
pub const CHANNEL: &[u8] = b"__redistributed:news:1";

/// The largest number of names in one message.
const MAX_NAMES: usize = 256;

/// The content of one message.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// Subscriptions have ended.
    Withdrawn(Withdrawal),
    /// These announcements have begun; none are named if they are too many.
    Announced(Vec<Vec<u8>>),
}

impl News {
    /// Parses the payload of a message.
    pub fn parse(payload: &[u8]) -> Self {
        match payload.strip_prefix(b"+").map(split_names) {
            Some(Some(names)) => Self::Announced(names),
            Some(None) => Self::Announced(Vec::new()),
            None => Self::Withdrawn(Withdrawal::parse(payload)),
        }
    }
}

/// The payload of the message that names announcements that have begun, or none if they are too many.
fn encode_announced(names: &[Vec<u8>]) -> Vec<u8> {
    let mut payload = b"+".to_vec();
    for name in names.iter().filter(|_| names.len() <= MAX_NAMES) {
        payload.extend_from_slice(format!("{}:", name.len()).as_bytes());
        payload.extend_from_slice(name);
    }
    payload
}

fn split_names(mut payload: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    while !payload.is_empty() {
        let (name, rest) = split_name(payload)?;
        names.push(name.to_vec());
        payload = rest;
    }
    Some(names)
}

/// The subscriptions that another proxy has told to have ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Withdrawal {
    /// Subscriptions to these topics have ended.
    Topics(Vec<Topic>),
    /// Subscriptions to any topic may have ended: the message did not name them, or could not be parsed.
    Any,
}

impl Withdrawal {
    /// The payload of the message that names `topics`, or all topics if they are too many.
    pub fn encode(topics: &HashSet<Arc<Topic>>) -> Vec<u8> {
        if topics.len() > MAX_NAMES {
            return b"*".to_vec();
        }
        let mut payload = Vec::new();
        for topic in topics {
            let (letter, len) = (kind_letter(topic.kind), topic.name.len());
            payload.extend_from_slice(format!("{letter}{len}:").as_bytes());
            payload.extend_from_slice(&topic.name);
        }
        payload
    }

    /// Parses the payload of a message.
    pub fn parse(mut payload: &[u8]) -> Self {
        let mut topics = Vec::new();
        while !payload.is_empty() {
            let Some((topic, rest)) = split_topic(payload) else { return Self::Any };
            topics.push(topic);
            payload = rest;
        }
        Self::Topics(topics)
    }
}

fn split_topic(payload: &[u8]) -> Option<(Topic, &[u8])> {
    let (&letter, rest) = payload.split_first()?;
    let kind = kind_from_letter(letter)?;
    let (name, rest) = split_name(rest)?;
    Some((Topic::new(kind, name), rest))
}

/// A name after its length and a colon, and what follows.
fn split_name(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = payload.iter().position(|&byte| byte == b':')?;
    let len = std::str::from_utf8(payload.get(..colon)?).ok()?.parse().ok()?;
    payload.get(colon + 1..)?.split_at_checked(len)
}

/// The news that are still to be published.
#[derive(Debug, Default)]
pub struct NewsQueue {
    queued: Mutex<Queued>,
    added: Notify,
}

#[derive(Debug, Default)]
struct Queued {
    withdrawn: HashSet<Arc<Topic>>,
    announced: Vec<Vec<u8>>,
}

impl NewsQueue {
    /// Queues topics that are no longer announced, or with fewer subscribers than before.
    pub fn withdrawn(&self, topics: impl IntoIterator<Item = Arc<Topic>>) {
        self.change(|queued| queued.withdrawn.extend(topics));
    }

    /// Queues announcements that Redis has confirmed.
    pub fn announced(&self, channels: impl IntoIterator<Item = Vec<u8>>) {
        // One more than can be named says as much as all of them.
        self.change(|Queued { announced, .. }| {
            let room = (MAX_NAMES + 1).saturating_sub(announced.len());
            // A heartbeat comes again with each confirmation.
            let new = channels.into_iter().filter(|channel| !announced.contains(channel)).take(room);
            let new: Vec<_> = new.collect();
            announced.extend(new);
        });
    }

    /// Waits until there is something to publish, and takes the payloads of all messages.
    pub async fn take(&self) -> Vec<Vec<u8>> {
        loop {
            self.added.notified().await;
            let Queued { withdrawn, announced } =
                std::mem::take(&mut *self.queued.lock().unwrap_or_else(PoisonError::into_inner));
            let mut payloads = Vec::new();
            if !withdrawn.is_empty() {
                payloads.push(Withdrawal::encode(&withdrawn));
            }
            if !announced.is_empty() {
                payloads.push(encode_announced(&announced));
            }
            if !payloads.is_empty() {
                return payloads;
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut Queued)) {
        let mut queued = self.queued.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut queued);
        if !queued.withdrawn.is_empty() || !queued.announced.is_empty() {
            self.added.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use redistributed_core::service::SubscriptionKind::{Channel, Pattern, Shard};

    use super::*;

    #[test]
    fn topics_are_parsed_from_the_message_that_names_them() {
        let topics = [Topic::new(Channel, b"orders"), Topic::new(Pattern, b"a*:1c2:\xff"), Topic::new(Shard, b"")];
        let topics: HashSet<_> = topics.into_iter().map(Arc::new).collect();
        let Withdrawal::Topics(parsed) = Withdrawal::parse(&Withdrawal::encode(&topics)) else {
            panic!("the message does not name the topics")
        };
        assert_eq!(parsed.into_iter().map(Arc::new).collect::<HashSet<_>>(), topics);
        assert_eq!(Withdrawal::parse(b"c6:ordersp3:a*b"), {
            Withdrawal::Topics(vec![Topic::new(Channel, b"orders"), Topic::new(Pattern, b"a*b")])
        });
    }

    #[test]
    fn a_message_with_too_many_topics_or_none_that_can_be_parsed_concerns_any_topic() {
        let many = (0..=MAX_NAMES).map(|index| Arc::new(Topic::new(Channel, index.to_string().as_bytes()))).collect();
        assert_eq!(Withdrawal::parse(&Withdrawal::encode(&many)), Withdrawal::Any);
        for payload in [&b"x"[..], b"c", b"c5:abc", b"c-1:", b"c99999999999999999999:", b"c1:ab", b"{\"a\":1}"] {
            assert_eq!(Withdrawal::parse(payload), Withdrawal::Any, "{}", payload.escape_ascii());
        }
    }

    #[test]
    fn announcements_are_parsed_from_the_message_that_names_them() {
        let names = vec![b"__redistributed:1:x".to_vec(), b"a:1\xff".to_vec()];
        assert_eq!(encode_announced(&names), b"+19:__redistributed:1:x4:a:1\xff");
        assert_eq!(News::parse(&encode_announced(&names)), News::Announced(names));
        let many: Vec<_> = (0..=MAX_NAMES).map(|index| index.to_string().into_bytes()).collect();
        assert_eq!(encode_announced(&many), b"+");
        for payload in [&b"+"[..], b"+x", b"+5:abc", b"+-1:"] {
            assert_eq!(News::parse(payload), News::Announced(vec![]), "{}", payload.escape_ascii());
        }
        assert_eq!(News::parse(b"*"), News::Withdrawn(Withdrawal::Any));
    }

    #[tokio::test]
    async fn news_queued_one_after_the_other_are_taken_together() {
        let queue = NewsQueue::default();
        queue.withdrawn([]);
        queue.announced([b"one".to_vec()]);
        queue.withdrawn([Arc::new(Topic::new(Channel, b"a"))]);
        queue.announced([b"two".to_vec()]);
        assert_eq!(queue.take().await, [b"c1:a".to_vec(), b"+3:one3:two".to_vec()]);
        queue.announced((0..=2 * MAX_NAMES).map(|index| index.to_string().into_bytes()));
        assert_eq!(queue.take().await, [b"+".to_vec()]);
    }
}

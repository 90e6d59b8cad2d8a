//! How a proxy tells the others at once that subscriptions have ended: by a message on [`CHANNEL`].
//!
//! A proxy that publishes on one of the topics named adds no more contexts there until the receivers have been proven anew. So
//! a subscriber without a proxy that takes the place of one that has just left is not mistaken for it. Correctness does
//! not depend on these messages. They shorten the time until the next snapshot, and a forged one can only keep contexts
//! away.
//!
//! ```text
//! c6:ordersp3:a*b   a channel and a pattern: the letter of the kind, the length of the name in bytes, a colon, the name
//! *                 any topic: there are too many to name
//! ```

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::topic::{Topic, kind_from_letter, kind_letter};

/// The channel on which withdrawals are published.
pub const CHANNEL: &[u8] = b"__redistributed:retracted:1";

/// The largest number of topics in one message.
const MAX_TOPICS: usize = 256;

/// The content of one message.
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
        if topics.len() > MAX_TOPICS {
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
    let colon = rest.iter().position(|&byte| byte == b':')?;
    let len = std::str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
    let (name, rest) = rest[colon + 1..].split_at_checked(len)?;
    Some((Topic::new(kind, name), rest))
}

/// The topics whose withdrawal is still to be published.
#[derive(Debug, Default)]
pub struct WithdrawalQueue {
    topics: Mutex<HashSet<Arc<Topic>>>,
    added: Notify,
}

impl WithdrawalQueue {
    /// Queues topics that are no longer announced, or with fewer subscribers than before.
    pub fn push(&self, topics: impl IntoIterator<Item = Arc<Topic>>) {
        let mut queued = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        queued.extend(topics);
        if !queued.is_empty() {
            self.added.notify_one();
        }
    }

    /// Waits until a topic is queued, and takes all of them.
    pub async fn take(&self) -> HashSet<Arc<Topic>> {
        loop {
            self.added.notified().await;
            let topics = std::mem::take(&mut *self.topics.lock().unwrap_or_else(PoisonError::into_inner));
            if !topics.is_empty() {
                return topics;
            }
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
        let many = (0..=MAX_TOPICS).map(|index| Arc::new(Topic::new(Channel, index.to_string().as_bytes()))).collect();
        assert_eq!(Withdrawal::parse(&Withdrawal::encode(&many)), Withdrawal::Any);
        for payload in [&b"x"[..], b"c", b"c5:abc", b"c-1:", b"c99999999999999999999:", b"c1:ab", b"{\"a\":1}"] {
            assert_eq!(Withdrawal::parse(payload), Withdrawal::Any, "{}", payload.escape_ascii());
        }
    }

    #[tokio::test]
    async fn topics_queued_one_after_the_other_are_taken_together() {
        let queue = WithdrawalQueue::default();
        queue.push([]);
        let [a, b] = ["a", "b"].map(|name| Arc::new(Topic::new(Channel, name.as_bytes())));
        queue.push([a.clone()]);
        queue.push([b.clone()]);
        assert_eq!(queue.take().await, [a, b].into());
    }
}

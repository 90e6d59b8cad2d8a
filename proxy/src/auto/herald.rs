//! Tells other proxies at once that a subscription has ended here, so that they need not wait for their next snapshot.
//!
//! A message on [`CHANNEL`], from a connection of its own: the one that announces is a subscriber and may not publish.
//! Whoever publishes on such a channel adds no context there until its subscribers have been proven anew. So nobody can
//! take the place of a subscriber who has just left, and be mistaken for it. Nothing depends on these messages: they
//! shorten a moment, and a forged one can only keep contexts away.
//!
//! ```text
//! c6:orders p3:a*b       channels, patterns and shard channels, each with its kind and length (without the space)
//! *                      too many to name
//! ```

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use redistributed_core::service::SubscriptionKind;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::marker::Name;
use super::{Doing, Evidence, Trouble};
use crate::redis::{Connection, Error};

/// The channel of these messages.
pub const CHANNEL: &[u8] = b"__redistributed:retracted:1";

/// Most names in one message.
const MAX_NAMES: usize = 256;

/// What is still to be told.
#[derive(Debug, Default)]
pub struct Retractions {
    names: Mutex<HashSet<Arc<Name>>>,
    some: Notify,
}

/// What a message says.
#[derive(Debug, PartialEq, Eq)]
pub enum Retracted {
    /// Of these.
    Names(Vec<Name>),
    /// Of so many that they are not named, or the message cannot be read.
    Anything,
}

impl Retractions {
    /// These are announced no more, or with fewer subscribers.
    pub fn add(&self, names: impl IntoIterator<Item = Arc<Name>>) {
        let mut kept = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(names);
        if !kept.is_empty() {
            self.some.notify_one();
        }
    }

    fn take(&self) -> HashSet<Arc<Name>> {
        std::mem::take(&mut self.names.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Retracted {
    fn write(names: &HashSet<Arc<Name>>) -> Vec<u8> {
        if names.len() > MAX_NAMES {
            return b"*".to_vec();
        }
        let mut payload = Vec::new();
        for name in names {
            let letter = match name.kind {
                SubscriptionKind::Channel => 'c',
                SubscriptionKind::Pattern => 'p',
                SubscriptionKind::Shard => 's',
            };
            payload.extend_from_slice(format!("{letter}{}:", name.text.len()).as_bytes());
            payload.extend_from_slice(&name.text);
        }
        payload
    }

    /// Reads a message's payload.
    pub fn read(mut payload: &[u8]) -> Self {
        let mut names = Vec::new();
        while !payload.is_empty() {
            let Some((name, rest)) = first(payload) else { return Self::Anything };
            names.push(name);
            payload = rest;
        }
        Self::Names(names)
    }
}

fn first(payload: &[u8]) -> Option<(Name, &[u8])> {
    let (letter, rest) = payload.split_first()?;
    let kind = match letter {
        b'c' => SubscriptionKind::Channel,
        b'p' => SubscriptionKind::Pattern,
        b's' => SubscriptionKind::Shard,
        _ => return None,
    };
    let colon = rest.iter().position(|&byte| byte == b':')?;
    let len = std::str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
    let (text, rest) = rest[colon + 1..].split_at_checked(len)?;
    Some((Name::new(kind, text), rest))
}

/// Tells for as long as it is polled.
pub(super) async fn run(evidence: Arc<Evidence>) {
    const DOING: Doing = Doing {
        what: "telling of subscriptions that have ended",
        without: "other proxies learn of them only by their next snapshot",
    };
    let mut trouble = Trouble::default();
    let mut connection = None;
    loop {
        evidence.retractions.some.notified().await;
        let names = evidence.retractions.take();
        if names.is_empty() {
            continue;
        }
        match tell(&evidence, &mut connection, &Retracted::write(&names)).await {
            Ok(()) => trouble.settled(&evidence, DOING),
            Err(error) => {
                connection = None;
                trouble.report(&evidence, &error, DOING);
                // What is not told is seen by the next snapshot.
                sleep(trouble.delay(&error, evidence.settings.interval)).await;
            }
        }
    }
}

async fn tell(evidence: &Evidence, connection: &mut Option<Connection>, payload: &[u8]) -> Result<(), Error> {
    let words = [&b"PUBLISH"[..], CHANNEL, payload];
    if let Some(connection) = connection {
        match connection.call(&words).await {
            // Redis may have closed a connection that was idle for long.
            Err(Error::Closed | Error::Broken(_)) => {}
            answer => return answer.map(drop),
        }
    }
    let connection = connection.insert(evidence.connect().await?.0);
    connection.call(&words).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(kind: SubscriptionKind, text: &[u8]) -> Arc<Name> {
        Arc::new(Name::new(kind, text))
    }

    #[test]
    fn what_is_written_is_read_back() {
        let names: HashSet<_> = [
            name(SubscriptionKind::Channel, b"orders"),
            name(SubscriptionKind::Pattern, b"a*:1c2:\xff"),
            name(SubscriptionKind::Shard, b""),
        ]
        .into();
        let Retracted::Names(read) = Retracted::read(&Retracted::write(&names)) else { panic!("names were written") };
        assert_eq!(read.into_iter().map(Arc::new).collect::<HashSet<_>>(), names);
    }

    #[test]
    fn what_cannot_be_read_or_named_means_everything() {
        let many = (0..=MAX_NAMES).map(|index| name(SubscriptionKind::Channel, index.to_string().as_bytes())).collect();
        assert_eq!(Retracted::read(&Retracted::write(&many)), Retracted::Anything);
        for payload in [&b"x"[..], b"c", b"c5:abc", b"c-1:", b"c99999999999999999999:", b"c1:ab", b"{\"a\":1}"] {
            assert_eq!(Retracted::read(payload), Retracted::Anything, "{}", payload.escape_ascii());
        }
    }
}

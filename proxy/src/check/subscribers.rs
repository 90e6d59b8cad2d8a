//! Who would see contexts: subscribers that may not be behind a proxy.
//!
//! From outside a connection of a service and one of its proxy look alike. Proxies that announce what is subscribed through
//! them (in mode `auto`, and with `--announce`) are counted against what Redis counts: who is left over is behind none.
//! Where nobody announces anything, this says who subscribes, from where, and on which of the channels a context is added.

use std::collections::{BTreeSet, HashMap, HashSet};

use redistributed_core::Policy;
use redistributed_core::service::SubscriptionKind;

use super::Findings;
use super::redis::code;
use crate::auto::announcement::{Announcement, AnnouncerId, RESERVED_PREFIX};
use crate::auto::topic::Topic;
use crate::redis::{Connection, Error, Reply};

/// What is named of a longer list.
const SHOWN: usize = 10;

/// Says who subscribes, and what they would see.
pub(super) async fn check(connection: &mut Connection, policy: &Policy, findings: &mut Findings) {
    match overview(connection).await {
        Ok(overview) => overview.tell(policy, findings),
        Err(error) => findings.note(format!("who subscribes cannot be found out: {}", code(&error))),
    }
}

/// What Redis says of its subscriptions.
struct Overview {
    /// Of channels that have subscribers, those of shards too: name and number. Without those by which proxies announce.
    channels: Vec<(Topic, i64)>,
    patterns: i64,
    announced: Announced,
    /// Addresses, with the names that the clients gave themselves; `None` if it may not be asked for.
    clients: Option<BTreeSet<String>>,
}

async fn overview(connection: &mut Connection) -> Result<Overview, Error> {
    let mut channels = counted(connection, SubscriptionKind::Channel, b"CHANNELS", b"NUMSUB").await?;
    let announced = Announced::take(&mut channels);
    // Servers before 7.0 have none.
    let shards = counted(connection, SubscriptionKind::Shard, b"SHARDCHANNELS", b"SHARDNUMSUB").await;
    channels.extend(shards.unwrap_or_default());
    let patterns = connection.call(&[b"PUBSUB", b"NUMPAT"]).await?.integer().unwrap_or_default();
    let clients = match connection.call(&[b"CLIENT", b"LIST", b"TYPE", b"PUBSUB"]).await {
        Ok(list) => Some(clients(&String::from_utf8_lossy(list.text().unwrap_or_default()))),
        Err(Error::Refused(_)) => None,
        Err(error) => return Err(error),
    };
    Ok(Overview { channels, patterns, announced, clients })
}

async fn counted(
    connection: &mut Connection,
    kind: SubscriptionKind,
    list: &[u8],
    count: &[u8],
) -> Result<Vec<(Topic, i64)>, Error> {
    let reply = connection.call(&[b"PUBSUB", list]).await?;
    let names: Vec<Vec<u8>> =
        reply.elements().unwrap_or_default().iter().filter_map(Reply::text).map(<[u8]>::to_vec).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let words: Vec<&[u8]> = [&b"PUBSUB"[..], count].into_iter().chain(names.iter().map(Vec::as_slice)).collect();
    let reply = connection.call(&words).await?;
    let pairs = reply.elements().unwrap_or_default().as_chunks::<2>().0;
    Ok(pairs.iter().filter_map(|[name, count]| Some((Topic::new(kind, name.text()?), count.integer()?))).collect())
}

/// What proxies say of the subscriptions that go through them.
#[derive(Default)]
struct Announced {
    proxies: HashSet<AnnouncerId>,
    /// Connections.
    subscribers: HashMap<Topic, i64>,
}

impl Announced {
    /// Takes the announcements out of `channels`. Those of versions that are not known are only left out.
    fn take(channels: &mut Vec<(Topic, i64)>) -> Self {
        let mut announced = Self::default();
        channels.retain(|(channel, _)| {
            if let Some((proxy, announcement)) = Announcement::parse(&channel.name) {
                announced.proxies.insert(proxy);
                if let Announcement::Subscribers { topic, count, .. } = announcement {
                    *announced.subscribers.entry(topic).or_default() += i64::from(count);
                }
            }
            !channel.name.starts_with(RESERVED_PREFIX)
        });
        announced
    }

    fn patterns(&self) -> i64 {
        let patterns = self.subscribers.keys().filter(|name| name.kind == SubscriptionKind::Pattern);
        i64::try_from(patterns.count()).unwrap_or(i64::MAX)
    }
}

/// One entry for each address and name in a `CLIENT LIST`.
fn clients(list: &str) -> BTreeSet<String> {
    list.lines()
        .filter_map(|line| {
            let field = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            let (address, port) = field("addr")?.rsplit_once(':')?;
            // The path of a Unix socket has no port that would mean anything.
            let host = if port == "0" { "a Unix socket" } else { address };
            let said = [field("name"), field("lib-name")].into_iter().flatten().find(|name| !name.is_empty());
            Some(said.map_or_else(|| host.to_owned(), |name| format!("{host} ({name})")))
        })
        .collect()
}

impl Overview {
    fn tell(&self, policy: &Policy, findings: &mut Findings) {
        let connections = match &self.clients {
            Some(clients) if !clients.is_empty() => format!(", from {}", some_of(clients.iter().cloned())),
            _ => String::new(),
        };
        let (channels, patterns) = (self.channels.len(), self.patterns);
        if channels == 0 && patterns == 0 {
            return findings.ok("nobody subscribes to anything now, so nobody would see a context");
        }
        findings.note(format!("subscribed now: channels {channels}, patterns {patterns}{connections}"));
        let proxies = self.announced.proxies.len();
        if proxies == 0 {
            self.tell_without_announcements(policy, findings);
        } else {
            findings.note(format!("proxies that announce what is subscribed through them: {proxies}"));
            self.tell_who_is_left_over(policy, findings);
        }
        let reserved = self.channels.iter().filter(|(name, _)| name.name.starts_with(b"__")).count();
        if reserved > 0 {
            findings.ok(format!("channels that begin with `__`: {reserved}; they are Redis's own and never touched"));
        }
    }
}

impl Overview {
    fn tell_without_announcements(&self, policy: &Policy, findings: &mut Findings) {
        const BEHIND: &str = "subscribers there that are not behind a redistributed would see it";
        let reached: Vec<String> = self
            .reached(policy)
            .map(|(name, count, carrier)| format!("{} (subscribers: {count}; {carrier})", name.name.escape_ascii()))
            .collect();
        if !reached.is_empty() {
            findings.note(format!("a context is added on {}; {BEHIND}", some_of(reached.into_iter())));
        }
        if self.patterns > 0 {
            let what = "which may match channels on which a context is added";
            findings.note(format!("patterns are subscribed ({}), {what}; {BEHIND}", self.patterns));
        }
    }

    /// Whom Redis counts and no proxy does.
    fn tell_who_is_left_over(&self, policy: &Policy, findings: &mut Findings) {
        const REMEDY: &str =
            "put them behind a redistributed that announces, or use mode auto or strip on these channels";
        let left_over: Vec<String> = self
            .reached(policy)
            .filter_map(|(name, count, _)| {
                let unknown = count - self.announced.subscribers.get(name).copied().unwrap_or_default();
                (unknown > 0).then(|| format!("{} ({unknown} of {count})", name.name.escape_ascii()))
            })
            .collect();
        if left_over.is_empty() {
            findings.ok("on channels on which a context is added, proxies announce every subscriber");
        } else {
            let some = some_of(left_over.into_iter());
            findings.warning(format!("a context is added, and no proxy announces all subscribers, on {some}"), REMEDY);
        }
        let unknown = self.patterns - self.announced.patterns();
        if unknown > 0 {
            let text = format!("patterns are subscribed that no proxy announces: {unknown} of {}", self.patterns);
            findings.warning(text, REMEDY);
        }
    }

    /// The channels on which a context is added now, with the number of their subscribers and the carrier.
    fn reached<'a>(&'a self, policy: &'a Policy) -> impl Iterator<Item = (&'a Topic, i64, String)> {
        self.channels.iter().filter_map(|(name, count)| {
            let carrier = format!("{:?}", policy.adds(&name.name)?).to_lowercase();
            Some((name, *count, carrier))
        })
    }
}

/// A few of them, and how many more there are.
fn some_of(mut all: impl ExactSizeIterator<Item = String>) -> String {
    let count = all.len();
    let shown: Vec<String> = all.by_ref().take(SHOWN).collect();
    let more = count - shown.len();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &rest
}

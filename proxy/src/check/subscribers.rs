//! Which subscribers would see contexts, because they may not be behind a proxy.
//!
//! Redis cannot tell a connection of a service from one that its proxy has opened for it. But proxies in mode `auto` or with
//! `--announce` announce how many connections are subscribed through them. A subscriber that Redis counts and no proxy
//! announces is behind none, or behind one that does not announce. Where no proxy announces anything, the check reports who
//! subscribes, from which addresses, and to which channels a context is added.

use std::collections::{BTreeSet, HashMap, HashSet};

use redistributed_core::Policy;
use redistributed_core::carrier::Carrier;
use redistributed_core::policy::Mode;
use redistributed_core::service::SubscriptionKind;

use super::{Findings, redacted};
use crate::auto::announcement::{Announcement, AnnouncerId, RESERVED_PREFIX};
use crate::auto::topic::Topic;
use crate::explain;
use crate::redis::{Connection, Error, Reply};

/// The largest number of items that are named of a longer list.
const MAX_NAMED: usize = 10;

/// Reports who subscribes, and what those clients would see.
pub(super) async fn check(connection: &mut Connection, policy: &Policy, findings: &mut Findings) {
    match Overview::take(connection).await {
        Ok(overview) => overview.report(policy, findings),
        Err(error) => findings.note(format!("who subscribes cannot be found out: {}", redacted(&error))),
    }
}

/// What Redis reports about its subscriptions.
struct Overview {
    /// The channels and shard channels that have subscribers, and how many. Channels that proxies use are left out.
    channels: Vec<(Topic, i64)>,
    /// The number of different patterns that clients are subscribed to.
    patterns: i64,
    announced: Announced,
    /// The addresses and names of the subscribed clients; `None` if Redis does not let the proxy's user list clients.
    clients: Option<BTreeSet<String>>,
}

/// What proxies announce about the subscriptions that they carry.
#[derive(Default)]
struct Announced {
    announcers: HashSet<AnnouncerId>,
    /// The number of connections that are subscribed to each topic.
    subscribers: HashMap<Topic, i64>,
}

impl Overview {
    async fn take(connection: &mut Connection) -> Result<Self, Error> {
        let mut channels = subscribed(connection, SubscriptionKind::Channel, b"CHANNELS", b"NUMSUB").await?;
        let announced = Announced::extract_from(&mut channels);
        // Servers before 7.0 have no shard channels, and answer with an error.
        let shard_channels = subscribed(connection, SubscriptionKind::Shard, b"SHARDCHANNELS", b"SHARDNUMSUB").await;
        channels.extend(shard_channels.unwrap_or_default());
        let patterns = connection.call(&[b"PUBSUB", b"NUMPAT"]).await?.integer().unwrap_or_default();
        let clients = match connection.call(&[b"CLIENT", b"LIST", b"TYPE", b"PUBSUB"]).await {
            Ok(list) => Some(addresses_and_names(&String::from_utf8_lossy(list.text().unwrap_or_default()))),
            Err(Error::Refused(_)) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { channels, patterns, announced, clients })
    }

    fn report(&self, policy: &Policy, findings: &mut Findings) {
        let addresses = match &self.clients {
            Some(clients) if !clients.is_empty() => format!(", from {}", named(clients.iter().cloned())),
            _ => String::new(),
        };
        let (channels, patterns) = (self.channels.len(), self.patterns);
        if channels == 0 && patterns == 0 {
            return findings.ok("nobody subscribes to anything now, so nobody would see a context");
        }
        findings.note(format!("subscribed now: channels {channels}, patterns {patterns}{addresses}"));
        let proxies = self.announced.announcers.len();
        if proxies == 0 {
            self.report_channels_with_contexts(policy, findings);
        } else {
            findings.note(format!("proxies that announce what is subscribed through them: {proxies}"));
            self.report_unannounced(policy, findings);
        }
        let reserved = self.channels.iter().filter(|(topic, _)| topic.name.starts_with(b"__")).count();
        if reserved > 0 {
            findings.ok(format!("channels that begin with `__`: {reserved}; they are Redis's own and never touched"));
        }
    }

    /// Without announcements, every subscriber of a channel with contexts may be one that sees them.
    fn report_channels_with_contexts(&self, policy: &Policy, findings: &mut Findings) {
        const REMEDY: &str = "use mode auto, which adds nothing where somebody without a proxy subscribes, or make sure that \
                              all of them are behind a redistributed";
        let Some(seen) = explain::seen_without_proxy(policy) else { return };
        let consequence = format!("subscribers there that are not behind a redistributed would see it: {seen}");
        let channels: Vec<String> = self
            .channels_with_contexts(policy)
            .map(|(topic, count, carrier)| format!("{} (subscribers: {count}; {carrier})", topic.name.escape_ascii()))
            .collect();
        if !channels.is_empty() {
            let channels = named(channels.into_iter());
            findings.warning(format!("a context is added on {channels}; {consequence}"), REMEDY);
        }
        if self.patterns > 0 {
            let what = "which may match channels on which a context is added";
            findings.warning(format!("patterns are subscribed ({}), {what}; {consequence}", self.patterns), REMEDY);
        }
    }

    /// With announcements, only subscribers that nobody announces may see contexts.
    fn report_unannounced(&self, policy: &Policy, findings: &mut Findings) {
        const REMEDY: &str =
            "put them behind a redistributed that announces, or use mode auto or strip on these channels";
        let channels: Vec<String> = self
            .channels_with_contexts(policy)
            .filter_map(|(topic, count, _)| {
                let unannounced = count - self.announced.subscribers.get(topic).copied().unwrap_or_default();
                (unannounced > 0).then(|| format!("{} ({unannounced} of {count})", topic.name.escape_ascii()))
            })
            .collect();
        if channels.is_empty() {
            findings.ok("on channels on which a context is added, proxies announce every subscriber");
        } else {
            let channels = named(channels.into_iter());
            findings
                .warning(format!("a context is added, and no proxy announces all subscribers, on {channels}"), REMEDY);
        }
        let unannounced = self.patterns - self.announced.patterns();
        if unannounced > 0 && policy.uses(Mode::Inject) {
            let text = format!("patterns are subscribed that no proxy announces: {unannounced} of {}", self.patterns);
            findings.warning(text, REMEDY);
        }
    }

    /// The channels on which the policy adds a context, with the number of their subscribers and the carrier.
    fn channels_with_contexts<'a>(&'a self, policy: &'a Policy) -> impl Iterator<Item = (&'a Topic, i64, Carrier)> {
        self.channels.iter().filter_map(|(topic, count)| Some((topic, *count, policy.adds(&topic.name)?)))
    }
}

impl Announced {
    /// Reads the announcements among `channels`, and removes every channel that proxies use among themselves. Announcements
    /// of another version are removed too, but cannot be read.
    fn extract_from(channels: &mut Vec<(Topic, i64)>) -> Self {
        let mut announced = Self::default();
        channels.retain(|(channel, _)| {
            if let Some((announcer, announcement)) = Announcement::parse(&channel.name) {
                announced.announcers.insert(announcer);
                if let Announcement::Subscribers { topic, count, .. } = announcement {
                    *announced.subscribers.entry(topic).or_default() += i64::from(count);
                }
            }
            !channel.name.starts_with(RESERVED_PREFIX)
        });
        announced
    }

    /// The number of different patterns that are announced.
    fn patterns(&self) -> i64 {
        let patterns = self.subscribers.keys().filter(|topic| topic.kind == SubscriptionKind::Pattern);
        i64::try_from(patterns.count()).unwrap_or(i64::MAX)
    }
}

/// The topics that have subscribers, and how many, by the subcommands `list` and `count` of `PUBSUB`.
async fn subscribed(
    connection: &mut Connection,
    kind: SubscriptionKind,
    list: &[u8],
    count: &[u8],
) -> Result<Vec<(Topic, i64)>, Error> {
    let reply = connection.call(&[b"PUBSUB", list]).await?;
    let names: Vec<&[u8]> = reply.elements().unwrap_or_default().iter().filter_map(Reply::text).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let reply = connection.call(&[&[&b"PUBSUB"[..], count], names.as_slice()].concat()).await?;
    let pairs = reply.elements().unwrap_or_default().as_chunks::<2>().0;
    Ok(pairs.iter().filter_map(|[name, count]| Some((Topic::new(kind, name.text()?), count.integer()?))).collect())
}

/// An entry for each address and name in a reply to `CLIENT LIST`.
fn addresses_and_names(list: &str) -> BTreeSet<String> {
    list.lines()
        .filter_map(|line| {
            let field = |name: &str| line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
            let (address, port) = field("addr")?.rsplit_once(':')?;
            // For a client of a Unix socket, the address is the path of the socket, the same for all clients.
            let host = if port == "0" { "a Unix socket" } else { address };
            let name = [field("name"), field("lib-name")].into_iter().flatten().find(|name| !name.is_empty());
            Some(name.map_or_else(|| host.to_owned(), |name| format!("{host} ({name})")))
        })
        .collect()
}

/// The first few items of a list, and how many more there are.
fn named(mut items: impl ExactSizeIterator<Item = String>) -> String {
    let count = items.len();
    let first: Vec<String> = items.by_ref().take(MAX_NAMED).collect();
    let more = count - first.len();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    first.join(", ") + &rest
}

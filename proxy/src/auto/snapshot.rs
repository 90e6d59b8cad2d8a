//! What Redis reports about its subscribers at one instant: the transaction that asks for it, and how the replies are read.
//!
//! To find announcements, Redis has to look at all of its channels, which takes about a millisecond for each 10,000 of
//! them. A snapshot can do without that search if it asks for the announcements that are known by name (see
//! `discovery`).

use std::collections::{HashMap, HashSet, VecDeque};

use redistributed_core::service::{NotProven, SubscriptionKind};

use super::announcement;
use super::topic::Topic;
use crate::redis::{Error, ProtocolError, Reply, Requests};

/// What Redis reported at one instant.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// When Redis was asked, in nanoseconds of [`crate::clock::now`].
    pub at: u64,
    /// The channels of the announcements that were found.
    pub announcements: Vec<Vec<u8>>,
    /// The number of subscribed clients of each channel and shard channel that was asked about.
    pub subscribers: HashMap<Topic, u64>,
    /// The number of different patterns that clients are subscribed to.
    pub patterns: u64,
    /// The number of pattern subscriptions of all clients together, if Redis was asked for it.
    pub pattern_subscriptions: Option<u64>,
    /// Why clients of other servers may receive what is published on this one.
    pub other_servers: Option<NotProven>,
    /// All channels that anybody is subscribed to but proxies, if Redis was asked for them.
    pub active: Option<HashSet<Vec<u8>>>,
}

/// The questions of one snapshot.
#[derive(Debug)]
pub(super) struct Query<'a> {
    pub(super) channels: Vec<&'a Topic>,
    pub(super) shard_channels: Vec<&'a Topic>,
    /// The announcements to ask for by name; `None` to search for all that exist.
    pub(super) known: Option<Vec<Vec<u8>>>,
    /// Whether a search is to report all channels, and not only announcements.
    pub(super) all_channels: bool,
    /// Whether to count the pattern subscriptions of all clients.
    pub(super) with_clients: bool,
    /// Whether the operator says that nobody subscribes on replicas.
    pub(super) ignore_replicas: bool,
}

/// The answer to a [`Query`].
#[derive(Debug)]
pub(super) struct QueryResult {
    pub(super) snapshot: Snapshot,
    /// The number of channels that anybody is subscribed to, if the snapshot searched them.
    pub(super) searched_channels: Option<u64>,
}

/// Why there is no snapshot.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// Redis does not let the proxy list clients. The other questions can be asked without that.
    ClientListRefused,
    /// Redis does not tell the subscribers of shard channels. The other questions can be asked without that.
    ShardChannelsRefused,
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Unanswered {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Query<'_> {
    /// The query as one transaction.
    pub(super) fn requests(&self) -> Requests {
        let mut requests = Requests::new();
        requests.line("MULTI").line("INFO replication").line("INFO cluster");
        match &self.known {
            None => {
                requests.line("INFO stats");
                if self.all_channels {
                    requests.line("PUBSUB CHANNELS");
                } else {
                    requests.push([&b"PUBSUB"[..], b"CHANNELS", announcement::PATTERN]);
                }
            }
            Some(known) => push_pubsub(&mut requests, b"NUMSUB", known.iter().map(Vec::as_slice)),
        }
        requests.line("PUBSUB NUMPAT");
        for (subcommand, topics) in [(&b"NUMSUB"[..], &self.channels), (b"SHARDNUMSUB", &self.shard_channels)] {
            if !topics.is_empty() {
                push_pubsub(&mut requests, subcommand, topics.iter().map(|topic| &*topic.name));
            }
        }
        if self.with_clients {
            requests.line("CLIENT LIST TYPE pubsub");
        }
        requests.line("EXEC");
        requests
    }

    /// Reads the replies to [`requests`](Self::requests), which were sent at the time `at`.
    pub(super) fn read(&self, at: u64, mut replies: VecDeque<Reply>) -> Result<QueryResult, Unanswered> {
        let result = replies.pop_back().ok_or(ProtocolError::Unexpected)?;
        self.check_queued(replies)?;
        let Reply::Array(results) = result.accepted()? else { return Err(ProtocolError::Unexpected.into()) };
        let mut results = results.into_iter();
        let mut next = || -> Result<Reply, Error> { Ok(results.next().ok_or(ProtocolError::Unexpected)?.accepted()?) };

        let other_servers = other_servers(&next()?, &next()?, self.ignore_replicas);
        let (searched_channels, announcements) = match self.known {
            None => {
                let channels = next()?.info_field("pubsub_channels").and_then(|count| count.parse().ok());
                (Some(channels.ok_or(ProtocolError::Unexpected)?), bulk_strings(next()?)?)
            }
            Some(_) => (None, subscribed(&next()?)?),
        };
        let (announcements, active) = if self.known.is_none() && self.all_channels {
            let is_of_proxies = |channel: &Vec<u8>| channel.starts_with(announcement::RESERVED_PREFIX);
            let (announcements, others): (Vec<_>, Vec<_>) = announcements.into_iter().partition(is_of_proxies);
            (announcements, Some(others.into_iter().collect()))
        } else {
            (announcements, None)
        };
        let patterns = non_negative(&next()?).ok_or(ProtocolError::Unexpected)?;
        let mut subscribers = HashMap::with_capacity(self.channels.len() + self.shard_channels.len());
        for (kind, topics) in
            [(SubscriptionKind::Channel, &self.channels), (SubscriptionKind::Shard, &self.shard_channels)]
        {
            if !topics.is_empty() {
                let reply = next()?;
                let counts = name_counts(&reply)?.into_iter();
                subscribers.extend(counts.map(|(name, count)| (Topic::new(kind, name), count)));
            }
        }
        let pattern_subscriptions = if self.with_clients { sum_of_psub(&next()?) } else { None };
        let snapshot =
            Snapshot { at, announcements, subscribers, patterns, pattern_subscriptions, other_servers, active };
        Ok(QueryResult { snapshot, searched_channels })
    }

    /// Checks the replies to the commands before `EXEC`: Redis has queued each of them, or refused it by itself.
    fn check_queued(&self, replies: VecDeque<Reply>) -> Result<(), Unanswered> {
        let last = replies.len().saturating_sub(1);
        for (index, reply) in replies.into_iter().enumerate() {
            match reply.accepted() {
                Ok(_) => {}
                Err(refusal) if self.with_clients && index == last && refusal.is_permission() => {
                    return Err(Unanswered::ClientListRefused);
                }
                // Redis before 7.0 knows no shard channels, though a client may have tried to publish on one.
                Err(_) if !self.shard_channels.is_empty() && index == last - usize::from(self.with_clients) => {
                    return Err(Unanswered::ShardChannelsRefused);
                }
                Err(refusal) => return Err(refusal.into()),
            }
        }
        Ok(())
    }
}

fn push_pubsub<'a>(requests: &mut Requests, subcommand: &'a [u8], names: impl Iterator<Item = &'a [u8]>) {
    let words: Vec<_> = [&b"PUBSUB"[..], subcommand].into_iter().chain(names).collect();
    requests.push(words);
}

/// Why clients of other servers may receive what is published on this one.
fn other_servers(replication: &Reply, cluster: &Reply, ignore_replicas: bool) -> Option<NotProven> {
    if cluster.info_field("cluster_enabled") != Some("0") {
        return Some(NotProven::Cluster);
    }
    let is_alone =
        replication.info_field("role") == Some("master") && replication.info_field("connected_slaves") == Some("0");
    (!is_alone && !ignore_replicas).then_some(NotProven::Replicas)
}

fn bulk_strings(reply: Reply) -> Result<Vec<Vec<u8>>, Error> {
    let Reply::Array(elements) = reply else { return Err(ProtocolError::Unexpected.into()) };
    let bulk_string = |element| match element {
        Reply::Bulk(string) => Ok(string),
        _ => Err(ProtocolError::Unexpected.into()),
    };
    elements.into_iter().map(bulk_string).collect()
}

/// The names with at least one subscriber in a reply to `PUBSUB NUMSUB`.
fn subscribed(reply: &Reply) -> Result<Vec<Vec<u8>>, Error> {
    let counts = name_counts(reply)?;
    Ok(counts.into_iter().filter(|(_, count)| *count > 0).map(|(name, _)| name.to_vec()).collect())
}

/// The names and counts in a reply to `PUBSUB NUMSUB` or `SHARDNUMSUB`.
fn name_counts(reply: &Reply) -> Result<HashMap<&[u8], u64>, Error> {
    let (pairs, []) = reply.elements().ok_or(ProtocolError::Unexpected)?.as_chunks::<2>() else {
        return Err(ProtocolError::Unexpected.into());
    };
    let pairs = pairs.iter().map(|[name, count]| name.text().zip(non_negative(count)));
    pairs.collect::<Option<_>>().ok_or(ProtocolError::Unexpected.into())
}

fn non_negative(reply: &Reply) -> Option<u64> {
    u64::try_from(reply.integer()?).ok()
}

/// The sum of the field `psub` of all clients in a reply to `CLIENT LIST`; `None` if a client has no such field.
fn sum_of_psub(list: &Reply) -> Option<u64> {
    let text = String::from_utf8_lossy(list.text()?);
    let of_client = |line: &str| line.split(' ').find_map(|field| field.strip_prefix("psub="))?.parse::<u64>().ok();
    text.lines().map(of_client).try_fold(0, |sum: u64, count| sum.checked_add(count?))
}

#[cfg(test)]
mod tests;

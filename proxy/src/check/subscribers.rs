//! Who would see contexts: subscribers that may not be behind a proxy.
//!
//! From outside a connection of a service and one of its proxy look alike. So this says who subscribes, from where, and
//! on which of the channels a context would be added; whether a proxy stands there is for the operator to know.

use std::collections::BTreeSet;

use redistributed_core::Policy;

use super::Findings;
use super::redis::code;
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
    /// Of channels that have subscribers, those of shards too: name and number.
    channels: Vec<(Vec<u8>, i64)>,
    patterns: i64,
    /// Addresses, with the names that the clients gave themselves; `None` if it may not be asked for.
    clients: Option<BTreeSet<String>>,
}

async fn overview(connection: &mut Connection) -> Result<Overview, Error> {
    let mut channels = counted(connection, b"CHANNELS", b"NUMSUB").await?;
    // Servers before 7.0 have none.
    channels.extend(counted(connection, b"SHARDCHANNELS", b"SHARDNUMSUB").await.unwrap_or_default());
    let patterns = connection.call(&[b"PUBSUB", b"NUMPAT"]).await?.integer().unwrap_or_default();
    let clients = match connection.call(&[b"CLIENT", b"LIST", b"TYPE", b"PUBSUB"]).await {
        Ok(list) => Some(clients(&String::from_utf8_lossy(list.text().unwrap_or_default()))),
        Err(Error::Refused(_)) => None,
        Err(error) => return Err(error),
    };
    Ok(Overview { channels, patterns, clients })
}

async fn counted(connection: &mut Connection, list: &[u8], count: &[u8]) -> Result<Vec<(Vec<u8>, i64)>, Error> {
    let reply = connection.call(&[b"PUBSUB", list]).await?;
    let names: Vec<Vec<u8>> =
        reply.elements().unwrap_or_default().iter().filter_map(Reply::text).map(<[u8]>::to_vec).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let words: Vec<&[u8]> = [&b"PUBSUB"[..], count].into_iter().chain(names.iter().map(Vec::as_slice)).collect();
    let reply = connection.call(&words).await?;
    let pairs = reply.elements().unwrap_or_default().as_chunks::<2>().0;
    Ok(pairs.iter().filter_map(|[name, count]| Some((name.text()?.to_vec(), count.integer()?))).collect())
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
        let adds = self.channels.iter().filter_map(|(name, count)| Some((name, count, policy.adds(name)?)));
        let reached: Vec<String> = adds
            .map(|(name, count, carrier)| {
                let carrier = format!("{carrier:?}").to_lowercase();
                format!("{} (subscribers: {count}; {carrier})", name.escape_ascii())
            })
            .collect();
        let behind = "subscribers there that are not behind a redistributed would see it";
        if !reached.is_empty() {
            findings.note(format!("a context is added on {}; {behind}", some_of(reached.iter().cloned())));
        }
        if patterns > 0 {
            let what = "which may match channels on which a context is added";
            findings.note(format!("patterns are subscribed ({patterns}), {what}; {behind}"));
        }
        let reserved = self.channels.iter().filter(|(name, _)| name.starts_with(b"__")).count();
        if reserved > 0 {
            findings.ok(format!("channels that begin with `__`: {reserved}; they are Redis's own and never touched"));
        }
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

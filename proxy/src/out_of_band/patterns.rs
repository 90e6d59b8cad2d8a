//! The patterns that clients behind other proxies are subscribed to, as far as those proxies listen for them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redistributed_core::carrier::out_of_band::{CompanionChannel, MessagesOf, Notice};
use redistributed_core::glob::Glob;

use crate::redis::{Connection, Error, Requests};

/// How long what Redis has said counts. A pattern that somebody subscribes to is told of after this time at the latest.
const FRESH: Duration = Duration::from_secs(1);

/// The most patterns that are told of.
const MAX_PATTERNS: usize = 1024;

/// The patterns that anybody listened to when Redis was asked last.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    known: Vec<(Glob, CompanionChannel)>,
    asked: Option<Instant>,
}

impl Patterns {
    /// Asks Redis anew if it was not asked lately, and if any of this is about messages on channels.
    pub(super) async fn refresh(
        &mut self,
        queued: &[(CompanionChannel, Notice)],
        connection: &mut Connection,
    ) -> Result<(), Error> {
        let is_fresh = self.asked.is_some_and(|asked| asked.elapsed() < FRESH);
        if is_fresh || !queued.iter().any(|(companion, _)| channel(companion).is_some()) {
            return Ok(());
        }
        let mut requests = Requests::new();
        requests.push([&b"PUBSUB"[..], b"CHANNELS", CompanionChannel::PATTERNS.as_bytes()]);
        let replies = connection.pipeline(&requests).await?;
        self.asked = Some(Instant::now());
        self.known.clear();
        for reply in replies {
            let reply = reply.accepted()?;
            let names = reply.elements().unwrap_or_default().iter().filter_map(|name| name.text());
            self.known.extend(names.filter_map(pattern).take(MAX_PATTERNS));
        }
        Ok(())
    }

    /// What is told, also to those who listen to patterns.
    pub(super) fn spread<'a>(
        &'a self,
        queued: &'a [(CompanionChannel, Notice)],
    ) -> impl Iterator<Item = (&'a CompanionChannel, &'a Notice)> {
        queued.iter().flat_map(|(companion, notice)| {
            let by_pattern = self.matching(companion).map(move |pattern| (pattern, notice));
            std::iter::once((companion, notice)).chain(by_pattern)
        })
    }

    /// Whether anybody listens to a pattern that matches this channel.
    pub(super) fn matches(&self, companion: &CompanionChannel) -> bool {
        self.matching(companion).next().is_some()
    }

    fn matching(&self, companion: &CompanionChannel) -> impl Iterator<Item = &CompanionChannel> {
        let channel = channel(companion).cloned();
        let known = self.known.iter();
        let matching = known.filter(move |(glob, _)| channel.as_ref().is_some_and(|channel| glob.matches(channel)));
        matching.map(|(_, companion)| companion)
    }
}

/// The channel, if this is the companion of one.
fn channel(companion: &CompanionChannel) -> Option<&Arc<[u8]>> {
    match companion {
        CompanionChannel::Messages(MessagesOf::Channel, name) => Some(name),
        _ => None,
    }
}

/// The pattern with the companion of this name.
fn pattern(name: &[u8]) -> Option<(Glob, CompanionChannel)> {
    let companion = CompanionChannel::of_name(name)?;
    let CompanionChannel::Messages(MessagesOf::Pattern, pattern) = &companion else { return None };
    let glob = Glob::new(std::str::from_utf8(pattern).ok()?).ok()?;
    Some((glob, companion))
}

#[cfg(test)]
mod tests {
    use redistributed_core::carrier::out_of_band::About;
    use redistributed_core::trace::TraceId;

    use super::*;

    #[test]
    fn what_is_told_of_a_channel_is_told_to_each_pattern_that_matches() {
        let names =
            ["__redistributed:message:1:p:news.*", "__redistributed:message:1:p:*.uk", "__redistributed:message:1:p:x"];
        let known = names.iter().filter_map(|name| pattern(name.as_bytes())).collect();
        let patterns = Patterns { known, asked: None };
        let of = |kind, name: &str| CompanionChannel::Messages(kind, name.as_bytes().into());
        let told = |companion: CompanionChannel| {
            let queued = [(companion, Notice { name: TraceId::MIN, context: None, about: About::Item })];
            let told = patterns.spread(&queued).map(|(companion, _)| String::from_utf8(companion.name()).unwrap());
            (told.collect::<Vec<_>>(), patterns.matches(&queued[0].0))
        };
        let (exact, shard) = ("__redistributed:message:1:c:news.uk", "__redistributed:message:1:s:news.uk");
        assert_eq!(
            told(of(MessagesOf::Channel, "news.uk")),
            ([exact, names[0], names[1]].map(str::to_owned).to_vec(), true)
        );
        assert_eq!(told(of(MessagesOf::ShardChannel, "news.uk")), (vec![shard.to_owned()], false));
        assert!(pattern(b"__redistributed:message:1:c:x").is_none() && pattern(b"x").is_none());
    }
}

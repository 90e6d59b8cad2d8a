//! The markers that were found, so that not every snapshot needs a search of all of Redis's channels.
//!
//! Whether a marker still stands can be asked by its name. The name of a proxy's next beat follows from its last one. A
//! marker that is not known yet is missing in a snapshot, which makes an audience unknown: that is safe, and ends with the
//! next search.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use redistributed_core::service::SubscriptionKind;
use tokio::time::Instant;

use super::marker::{Marker, Name, ProxyId};

/// A search takes Redis at most this for each channel that anybody is subscribed to (measured: 0.1 µs where there are
/// 10,000, 0.7 µs where there are 100,000).
const COST_OF_CHANNEL: Duration = Duration::from_nanos(700);

/// A search may take Redis one part of its time in so many.
const SHARE: u32 = 200;

/// Longest time between two searches.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Most announcements that are asked for by name: what is beyond is missing, and so unknown, but in a search.
const MAX_CLAIMS: usize = 65_536;

/// Most beats of a proxy that are looked for.
const MAX_BEATS: u64 = 64;

/// What the last search found, and what has become of it.
#[derive(Debug, Default)]
pub(super) struct KnownMarkers {
    /// The last beat of each proxy, and when it was seen, in nanoseconds.
    beats: HashMap<ProxyId, (Beat, u64)>,
    claims: HashMap<Name, Vec<(ProxyId, Vec<u8>)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Beat {
    number: u64,
    period: Duration,
    longest: u64,
}

impl KnownMarkers {
    /// What to ask for in place of a search, at the time `at`.
    pub(super) fn candidates(&self, names: &[Name], at: u64) -> Vec<Vec<u8>> {
        let patterns = self.claims.iter().filter(|(name, _)| name.kind == SubscriptionKind::Pattern);
        let watched = names.iter().filter_map(|name| self.claims.get(name));
        let (mut proxies, mut candidates) = (HashSet::new(), Vec::new());
        for (proxy, marker) in watched.chain(patterns.map(|(_, claims)| claims)).flatten().take(MAX_CLAIMS) {
            proxies.insert(*proxy);
            candidates.push(marker.clone());
        }
        for proxy in proxies {
            let Some(&(Beat { number, period, longest }, seen)) = self.beats.get(&proxy) else { continue };
            let passed = Duration::from_nanos(at.saturating_sub(seen));
            // One that has begun, and one for a proxy that is early.
            let due = passed.as_nanos() / period.as_nanos().max(1) + 2;
            let last = number.saturating_add(u64::try_from(due).unwrap_or(u64::MAX).min(MAX_BEATS));
            candidates.extend((number..=last).map(|number| Marker::Beat { number, period, longest }.write(proxy)));
        }
        candidates
    }

    /// Takes over what a snapshot at the time `at` has shown, by a search or of what was asked for.
    pub(super) fn learn(&mut self, searched: bool, markers: &[Vec<u8>], at: u64) {
        if searched {
            self.claims.clear();
        }
        let mut seen = HashMap::new();
        for (marker, (proxy, said)) in markers.iter().filter_map(|marker| Some((marker, Marker::read(marker)?))) {
            match said {
                Marker::Beat { number, period, longest } => {
                    let last = seen.entry(proxy).or_insert(Beat { number, period, longest });
                    if number > last.number {
                        *last = Beat { number, period, longest };
                    }
                }
                Marker::Claim { name, .. } if searched => {
                    self.claims.entry(name).or_default().push((proxy, marker.clone()));
                }
                Marker::Claim { .. } => {}
            }
        }
        if searched {
            self.beats.retain(|proxy, _| seen.contains_key(proxy));
        }
        for (proxy, beat) in seen {
            // The time is that of the first sight, for the next beats are reckoned from it.
            if self.beats.get(&proxy).is_none_or(|(last, _)| *last != beat) {
                self.beats.insert(proxy, (beat, at));
            }
        }
    }
}

/// When there is to be a search.
#[derive(Debug, Default)]
pub(super) struct ScanTimer {
    not_before: Option<Instant>,
}

impl ScanTimer {
    /// Whether the next snapshot may search.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|not_before| now >= not_before)
    }

    /// A search began at `started`, in a Redis with so many channels.
    pub(super) fn searched(&mut self, started: Instant, channels: u64) {
        let channels = u32::try_from(channels).unwrap_or(u32::MAX);
        let pause = COST_OF_CHANNEL.saturating_mul(SHARE).saturating_mul(channels).min(LONGEST_PAUSE);
        self.not_before = Some(started + pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn beat(proxy: u64, number: u64) -> Vec<u8> {
        Marker::Beat { number, period: Duration::from_secs(1), longest: 9 }.write(ProxyId(proxy))
    }

    fn claim(proxy: u64, kind: SubscriptionKind, text: &str) -> Vec<u8> {
        Marker::Claim { name: Name::new(kind, text.as_bytes()), serial: 1, count: 1 }.write(ProxyId(proxy))
    }

    fn sorted(mut markers: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        markers.sort();
        markers
    }

    #[test]
    fn what_concerns_a_channel_and_the_beats_that_may_have_come_are_asked_for_by_name() {
        use SubscriptionKind::{Channel, Pattern};
        let mut known = KnownMarkers::default();
        let watched = [Name::new(Channel, b"a")];
        assert_eq!(known.candidates(&watched, 0), Vec::<Vec<u8>>::new(), "nothing is known");
        let claims = [claim(1, Channel, "a"), claim(2, Channel, "b"), claim(3, Pattern, "p*")];
        let found = [&[beat(1, 7), beat(2, 3), beat(3, 5)], &claims[..]].concat();
        known.learn(true, &found, 10 * SECOND);
        let beats = [beat(1, 7), beat(1, 8), beat(1, 9), beat(1, 10), beat(3, 5), beat(3, 6), beat(3, 7), beat(3, 8)];
        let expected = [&[claim(1, Channel, "a"), claim(3, Pattern, "p*")], &beats[..]].concat();
        assert_eq!(sorted(known.candidates(&watched, 11 * SECOND)), sorted(expected));
        // The next beat of one is seen, none of the other.
        known.learn(false, &[claim(1, Channel, "a"), claim(3, Pattern, "p*"), beat(1, 8), beat(3, 5)], 11 * SECOND);
        let candidates = known.candidates(&watched, 12 * SECOND);
        assert!(candidates.contains(&beat(1, 11)) && !candidates.contains(&beat(1, 7)));
        assert!(candidates.contains(&beat(3, 9)) && candidates.contains(&beat(3, 5)));
    }

    #[test]
    fn what_a_search_does_not_find_is_forgotten() {
        let mut known = KnownMarkers::default();
        known.learn(true, &[beat(1, 1), claim(1, SubscriptionKind::Channel, "a")], 0);
        known.learn(true, &[beat(1, 2)], SECOND);
        assert!(known.candidates(&[Name::new(SubscriptionKind::Channel, b"a")], SECOND).is_empty());
    }

    #[test]
    fn a_search_that_takes_long_is_seldom() {
        let (mut timer, start) = (ScanTimer::default(), Instant::now());
        let after = |millis| start + Duration::from_millis(millis);
        assert!(timer.is_due(start));
        timer.searched(start, 10_000);
        assert!(!timer.is_due(after(1399)) && timer.is_due(after(1400)));
        timer.searched(start, 0);
        assert!(timer.is_due(start), "one that takes no time is always welcome");
        timer.searched(start, u64::MAX);
        assert!(timer.is_due(start + LONGEST_PAUSE));
    }
}

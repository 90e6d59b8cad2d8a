//! What passes on each channel, counted from the lines of `/tap`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The most channels that are told apart. The messages of others are counted together.
const MAX_CHANNELS: usize = 1_000;

/// The channels on which messages were seen, by service and name.
#[derive(Debug, Default)]
pub(super) struct Channels {
    all: BTreeMap<(String, String), Channel>,
    /// Messages that the proxy did not tell because it had too many for the reader.
    pub(super) missed: u64,
    /// Messages on channels for which there was no room.
    pub(super) others: u64,
    since: Option<Instant>,
}

/// What was seen on a channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Channel {
    /// The messages of the interval that has begun.
    new: Counts,
    /// The messages of the last whole interval.
    last: Counts,
    lasted: Duration,
    /// The messages since watching began.
    pub(super) total: Counts,
    /// Why the last publish without a context got none.
    pub(super) skipped: Option<String>,
}

/// Messages, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) published: u64,
    pub(super) delivered: u64,
    pub(super) receivers: u64,
    pub(super) bytes: u64,
    pub(super) skipped: u64,
    pub(super) failed: u64,
    /// The time until Redis's replies to the publishes, in microseconds.
    pub(super) took: u64,
}

impl Channel {
    /// How often a second something of the last interval was counted. `None` in the first interval.
    pub(super) fn rate(&self, of: impl Fn(&Counts) -> u64) -> Option<f64> {
        let seconds = self.lasted.as_secs_f64();
        (seconds > 0.0).then(|| of(&self.last) as f64 / seconds)
    }

    /// The mean time until Redis's reply to a publish, over all that were seen.
    pub(super) fn mean_round_trip(&self) -> Option<Duration> {
        self.total.took.checked_div(self.total.published).map(Duration::from_micros)
    }
}

impl Counts {
    fn add(&mut self, line: &Value) {
        let number = |name: &str| line[name].as_u64().unwrap_or(0);
        self.bytes = self.bytes.saturating_add(number("bytes"));
        self.failed += u64::from(line["error"].is_string());
        if line["direction"] == "publish" {
            self.published += 1;
            self.receivers = self.receivers.saturating_add(number("receivers"));
            self.skipped += u64::from(line["context"] == "skipped");
            self.took = self.took.saturating_add(number("took_us"));
        } else {
            self.delivered += 1;
        }
    }
}

impl Channels {
    /// Adds a line of `/tap`. Lines about the stream itself, and what is no line of it, are left out.
    pub(super) fn add(&mut self, line: &str) {
        let Ok(line) = serde_json::from_str::<Value>(line) else { return };
        self.missed += line["missed"].as_u64().unwrap_or(0);
        let (Some(route), Some(channel)) = (line["route"].as_str(), line["channel"].as_str()) else { return };
        let key = (route.to_owned(), channel.to_owned());
        if self.all.len() >= MAX_CHANNELS && !self.all.contains_key(&key) {
            self.others += 1;
            return;
        }
        let seen = self.all.entry(key).or_default();
        seen.new.add(&line);
        seen.total.add(&line);
        if let Some(reason) = line["reason"].as_str() {
            seen.skipped = Some(reason.to_owned());
        }
    }

    /// Ends an interval, and begins the next one.
    pub(super) fn turn(&mut self, now: Instant) {
        let lasted = self.since.map(|since| now.duration_since(since)).unwrap_or_default();
        self.since = Some(now);
        for channel in self.all.values_mut() {
            channel.last = std::mem::take(&mut channel.new);
            channel.lasted = lasted;
        }
    }

    /// Service, channel, and what was seen there.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str, &Channel)> {
        self.all.iter().map(|((route, channel), seen)| (route.as_str(), channel.as_str(), seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_by_channel_and_interval() {
        let (mut channels, now) = (Channels::default(), Instant::now());
        channels.turn(now);
        for line in [
            r#"{"watching":true}"#,
            r#"{"route":"api","direction":"publish","channel":"a","bytes":5,"receivers":2,"took_us":300,"context":"injected"}"#,
            r#"{"route":"api","direction":"publish","channel":"a","bytes":7,"took_us":100,"context":"skipped","reason":"auto_nobody",
                "error":"NOPERM"}"#,
            r#"{"route":"worker","direction":"deliver","channel":"a","bytes":5,"took_us":9,"context":"stripped"}"#,
            r#"{"missed":3}"#,
            "no JSON",
        ] {
            channels.add(line);
        }
        channels.turn(now + Duration::from_secs(2));
        let all: Vec<_> = channels.iter().collect();
        let [("api", "a", api), ("worker", "a", worker)] = all[..] else { panic!("{all:?}") };
        let expected = Counts { published: 2, delivered: 0, receivers: 2, bytes: 12, skipped: 1, failed: 1, took: 400 };
        assert_eq!(api.total, expected);
        assert_eq!(
            (api.rate(|counts| counts.published), worker.rate(|counts| counts.delivered)),
            (Some(1.0), Some(0.5))
        );
        assert_eq!(api.mean_round_trip(), Some(Duration::from_micros(200)));
        assert_eq!((worker.mean_round_trip(), api.skipped.as_deref()), (None, Some("auto_nobody")));
        assert_eq!((channels.missed, channels.others), (3, 0));
        channels.turn(now + Duration::from_secs(3));
        assert_eq!(channels.iter().next().unwrap().2.rate(|counts| counts.published), Some(0.0));
    }

    #[test]
    fn channels_are_bounded() {
        let mut channels = Channels::default();
        for number in 0..MAX_CHANNELS + 5 {
            channels.add(&format!(r#"{{"route":"api","direction":"publish","channel":"{number}"}}"#));
        }
        assert_eq!((channels.iter().count(), channels.others), (MAX_CHANNELS, 5));
    }
}

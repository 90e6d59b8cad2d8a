//! Why publishes get no context, and what can be done about it, in a line each. `proxy/docs/metrics.md` and `auto.md` say more.

use span_tree::{fit, width};

/// The label `reason` of `redistributed_skipped_total`, what it means, and what to do.
const REASONS: [(&str, &str, &str); 17] = [
    (
        "mode",
        "the mode is strip or observe, or OTEL_* variables turn contexts off",
        "see --mode, or DELETE /mode on the admin port",
    ),
    ("channel", "the channel is excluded, or begins with __", "see --include and --exclude"),
    ("size", "the payload with its context is too long", "raise --inject-limit, on every sidecar"),
    ("carrier", "the payload does not fit the channel's carrier", "see --carrier: json needs a JSON object"),
    ("inline", "it was an inline command, as a person types it", "nothing: services do not send them"),
    ("memory", "the connections of the process hold as much as they may", "see the bounds in limits.md"),
    ("unauthenticated", "the client had not authenticated yet", "nothing: Redis takes only 16 KiB until then"),
    ("beside", "proxies tell each other the context in messages of their own", "nothing: --carrier says so"),
    (
        "auto_unknown",
        "Redis could not be asked who subscribes, or not yet",
        "give the proxy a password for Redis; `check` says what is missing",
    ),
    (
        "auto_unproxied",
        "a subscriber is not known to be behind a proxy",
        "put the subscriber behind one; `check` names it",
    ),
    (
        "auto_pattern",
        "a subscriber of a pattern is not known to be behind a proxy",
        "put it behind one, or use channels",
    ),
    ("auto_replicas", "a replica is connected, where subscribers cannot be seen", "see --auto-ignore-replicas"),
    (
        "auto_cluster",
        "Redis is a cluster, whose other nodes cannot be seen",
        "use --mode inject if everybody has a proxy",
    ),
    ("auto_nobody", "nobody subscribes to the channel", "nothing: there is nobody to follow the message to"),
    (
        "auto_proving",
        "the proof that all subscribers have proxies is not complete",
        "wait some seconds; if it stays, see auto.md",
    ),
    ("auto_contradicted", "Redis counted other receivers than were expected", "look for subscribers without a proxy"),
    ("auto_order", "its transaction was not sent as a whole, or it gets no reply", "send transactions in one piece"),
];

/// What a reason means, and what to do. A proxy of another version may have others.
pub(super) fn explain(reason: &str) -> (&'static str, &'static str) {
    let known = REASONS.iter().find(|(name, ..)| *name == reason);
    known.map_or(
        ("this program does not know the reason", "see the metrics page of the proxy's version"),
        |(_, meaning, remedy)| (meaning, remedy),
    )
}

/// The same of several reasons in lines of so many columns: one for each, or two where that is too narrow.
pub(super) fn legend<'a>(reasons: impl IntoIterator<Item = &'a str>, columns: usize) -> Vec<String> {
    let mut explained: Vec<&str> = Vec::new();
    let mut lines = Vec::new();
    for reason in reasons {
        if explained.contains(&reason) {
            continue;
        }
        explained.push(reason);
        let (meaning, remedy) = explain(reason);
        let (first, second) = (format!("{reason}: {meaning}"), format!("→ {remedy}"));
        if width(&first) + 1 + width(&second) <= columns {
            lines.push(format!("{first} {second}"));
        } else {
            lines.extend([fit(&first, columns), fit(&format!("  {second}"), columns)]);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use redistributed_core::Counter;

    use super::*;

    #[test]
    fn every_reason_is_explained_and_no_other() {
        let metric = Counter::METRICS.iter().find(|metric| metric.name == "skipped_total").unwrap();
        let mut counted: Vec<&str> = metric.samples.iter().filter_map(|(_, reason)| *reason).collect();
        let mut explained: Vec<&str> = REASONS.iter().map(|(reason, ..)| *reason).collect();
        counted.sort_unstable();
        explained.sort_unstable();
        assert_eq!(explained, counted);
        for (reason, ..) in REASONS {
            let lines = legend([reason, reason], 80);
            assert!(lines.len() <= 2 && lines.iter().all(|line| !line.ends_with('…')), "{lines:?}");
        }
        assert!(explain("auto_nobody").0.contains("nobody") && explain("new").0.contains("does not know"));
    }
}

//! Whether the proxy's user on Redis may do what mode `auto` needs.
//!
//! An ACL is known by trying. What is tried reads, or leaves no trace: an empty transaction, a message on a channel of
//! the proxies' own, which others see only if they subscribe to all channels, a subscription that ends at once.

use super::Findings;
use crate::redis::{Connection, Error};

/// A channel of those that the proxy's user is granted, which no proxy uses.
const CHANNEL: &str = "__redistributed:check";

/// What is needed, as an ACL names it, and how it is tried. In this order, because `EXEC` ends what `MULTI` begins.
const NEEDED: [(&str, &str); 11] = [
    ("info", "INFO server"),
    ("pubsub|channels", "PUBSUB CHANNELS __redistributed:check"),
    ("pubsub|numsub", "PUBSUB NUMSUB __redistributed:check"),
    ("pubsub|numpat", "PUBSUB NUMPAT"),
    // Not before Redis 7, which says so with another error.
    ("pubsub|shardnumsub", "PUBSUB SHARDNUMSUB __redistributed:check"),
    ("client|list", "CLIENT LIST TYPE pubsub"),
    ("multi", "MULTI"),
    ("exec", "EXEC"),
    ("publish", "PUBLISH __redistributed:check ."),
    ("subscribe", "SUBSCRIBE __redistributed:check"),
    ("unsubscribe", "UNSUBSCRIBE __redistributed:check"),
];

/// Says what is missing.
pub(super) async fn check(connection: &mut Connection, findings: &mut Findings) {
    let mut missing = Vec::new();
    for (right, command) in NEEDED {
        let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        match connection.call(&words).await {
            Err(Error::Refused(refusal)) if matches!(refusal.code(), "NOPERM" | "EXECABORT") => {
                missing.push(format!("+{right}"));
            }
            // Without MULTI there is nothing for EXEC to end.
            Ok(_) | Err(Error::Refused(_)) => {}
            // What is wrong with the connection is said where something depends on it.
            Err(_) => return,
        }
    }
    if missing.is_empty() {
        return findings.ok("the proxy's user may do what mode auto needs");
    }
    findings.warning(
        format!("mode auto: the proxy's user lacks {}, or the channel {CHANNEL}", missing.join(" ")),
        "grant it what proxy/docs/auto.md lists; which contexts are missing without is said there too",
    );
}

//! Whether the proxy's user on Redis has the permissions that mode `auto` needs.
//!
//! A user without `ACL` commands can find that out only by trying. What is tried either reads, or has no effect: an empty
//! transaction, a subscription that ends at once, and a message on a channel that only proxies use. Such a message is seen
//! only by clients that subscribe to all channels.

use super::Findings;
use crate::redis::{Connection, Error};

/// A channel that the proxy's user is granted and that no proxy uses.
const CHANNEL: &str = "__redistributed:check";

/// Each permission by its name in an ACL, with the command that tries it. `EXEC` must follow `MULTI`, because it ends the
/// transaction.
const NEEDED: [(&str, &str); 11] = [
    ("info", "INFO server"),
    ("pubsub|channels", "PUBSUB CHANNELS __redistributed:check"),
    ("pubsub|numsub", "PUBSUB NUMSUB __redistributed:check"),
    ("pubsub|numpat", "PUBSUB NUMPAT"),
    // Before 7.0, Redis does not know it and answers with another error.
    ("pubsub|shardnumsub", "PUBSUB SHARDNUMSUB __redistributed:check"),
    ("client|list", "CLIENT LIST TYPE pubsub"),
    ("multi", "MULTI"),
    ("exec", "EXEC"),
    ("publish", "PUBLISH __redistributed:check ."),
    ("subscribe", "SUBSCRIBE __redistributed:check"),
    ("unsubscribe", "UNSUBSCRIBE __redistributed:check"),
];

/// Reports the permissions that are missing.
pub(super) async fn check(connection: &mut Connection, findings: &mut Findings) {
    let mut missing = Vec::new();
    for (permission, command) in NEEDED {
        let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        match connection.call(&words).await {
            Err(Error::Refused(refusal)) if matches!(refusal.code(), "NOPERM" | "EXECABORT") => {
                missing.push(format!("+{permission}"));
            }
            // Without permission for MULTI, EXEC is an error too.
            Ok(_) | Err(Error::Refused(_)) => {}
            // A connection that fails here has failed before, or will again, where it is reported.
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

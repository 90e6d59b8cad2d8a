//! What the session counts.

/// A thing that happened on a connection. Each is a metric of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Counter {
    /// Requests read, publishes among them.
    Commands,
    /// `PUBLISH` and `SPUBLISH` commands read.
    Published,
    /// Publishes that got a context.
    Injected,
    /// Not injected: an inline command, which is forwarded as it came.
    SkippedInline,
    /// Not injected: the channel is excluded, or begins with `__`.
    SkippedChannel,
    /// Not injected: the payload is over the injection limit, or the channel's name over its own.
    SkippedSize,
    /// Not injected: the payload does not fit its carrier (not a JSON object, say).
    SkippedCarrier,
    /// Not injected: before authentication the added bytes would have crossed Redis's 16 KiB limit.
    SkippedUnauthenticated,
    /// Not injected: the mode, or `OTEL_SDK_DISABLED`, or `OTEL_PROPAGATORS` says so.
    SkippedMode,
    /// Not injected in mode `auto`: Redis could not be asked, or not lately, or not about this channel yet.
    SkippedAutoUnknown,
    /// Not injected in mode `auto`: somebody subscribes who is not known to be behind a proxy.
    SkippedAutoUnproxied,
    /// Not injected in mode `auto`: the same of a pattern.
    SkippedAutoPattern,
    /// Not injected in mode `auto`: a replica is connected.
    SkippedAutoReplicas,
    /// Not injected in mode `auto`: Redis is a cluster.
    SkippedAutoCluster,
    /// Not injected in mode `auto`: nobody subscribes.
    SkippedAutoNobody,
    /// Not injected in mode `auto`: the evidence has not stood for long enough.
    SkippedAutoProving,
    /// Not injected in mode `auto`: Redis reported another number of receivers than was expected.
    SkippedAutoContradicted,
    /// Not injected in mode `auto`: queued in a transaction, behind a command that blocks, or without a reply.
    SkippedAutoOrder,
    /// Receivers that Redis reported in its replies to publishes, added up.
    Receivers,
    /// Messages handed to the subscriber.
    Delivered,
    /// Those of them on channels that belong to Redis and Sentinel: keyspace notifications, mostly.
    DeliveredReserved,
    /// Messages from which a context was removed.
    Stripped,
    /// Messages that were too big to look for a context.
    DeliveredUnread,
    /// Producer spans that end with the request instead of the reply, and do not say how many received it: the reply
    /// was suppressed, could not be told from others, or too many were outstanding.
    SpansUnpaired,
    /// Connections that became plain pipes because a replica link or unparsable bytes began.
    OpaqueReplication,
    /// Client bytes that are not RESP: forwarded from there on as they come.
    OpaqueClient,
    /// Server bytes that are not RESP: forwarded from there on as they come.
    OpaqueServer,
    /// Connections whose replies could no longer be paired with commands. Forwarding is not affected.
    PairingLost,
}

impl Counter {
    /// Its name as metrics spell it.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// All of them, in order, with their names as metrics spell them.
    pub const NAMES: [&'static str; 28] = [
        "commands",
        "published",
        "injected",
        "skipped_inline",
        "skipped_channel",
        "skipped_size",
        "skipped_carrier",
        "skipped_unauthenticated",
        "skipped_mode",
        "skipped_auto_unknown",
        "skipped_auto_unproxied",
        "skipped_auto_pattern",
        "skipped_auto_replicas",
        "skipped_auto_cluster",
        "skipped_auto_nobody",
        "skipped_auto_proving",
        "skipped_auto_contradicted",
        "skipped_auto_order",
        "receivers",
        "delivered",
        "delivered_reserved",
        "stripped",
        "delivered_unread",
        "spans_unpaired",
        "opaque_replication",
        "opaque_client",
        "opaque_server",
        "pairing_lost",
    ];
}

/// How often each [`Counter`] happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    values: [u64; Counter::NAMES.len()],
    changed: bool,
}

impl Counts {
    /// Whether anything was counted: false for almost every call.
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// One count.
    pub fn get(&self, counter: Counter) -> u64 {
        self.values[counter as usize]
    }

    /// Those that happened, by index into [`Counter::NAMES`].
    pub fn nonzero(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.values.iter().copied().enumerate().filter(|&(_, value)| value > 0)
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        if self.changed {
            *self = Self::default();
        }
    }

    pub(crate) fn add(&mut self, counter: Counter, n: u64) {
        let value = &mut self.values[counter as usize];
        *value = value.saturating_add(n);
        self.changed = true;
    }

    pub(crate) fn count(&mut self, counter: Counter) {
        // As often as there are bytes in a call, at most.
        self.values[counter as usize] += 1;
        self.changed = true;
    }
}

//! The counters of a session, and the metrics that show them.

/// A metric of the metrics page. Its samples are counters.
#[derive(Clone, Copy, Debug)]
pub struct Metric<C: 'static> {
    /// The metric's name without the prefix that all metrics of the program have. A counter's name ends in `_total`; a
    /// metric with another name is a gauge.
    pub name: &'static str,
    /// The text of its `HELP` line.
    pub help: &'static str,
    /// The label that tells the samples apart, if there are several.
    pub label: Option<&'static str>,
    /// The counters that are the metric's samples, each with its value of that label.
    pub samples: &'static [(C, Option<&'static str>)],
}

/// Defines an enumeration of counters. Each counter is defined once, with its variant, its name in the log and the metric
/// that shows it.
///
/// ```text
/// "METRIC", "HELP text" { Variant: "log_name" }
/// "METRIC" by "LABEL", "HELP text" { Variant: "log_name" = "value", ... }
/// ```
///
/// The macro makes of this the variants in the same order, `NAMES` (the names in the log, by variant), `METRICS` (for the
/// metrics page), and the functions `name` and `label_value`.
#[macro_export]
macro_rules! counters {
    (
        $(#[$attribute:meta])*
        pub enum $enum:ident {
            $($metric:literal $(by $label:literal)?, $help:literal {
                $($(#[$doc:meta])* $variant:ident: $name:literal $(= $value:literal)?),+ $(,)?
            })+
        }
    ) => {
        $(#[$attribute])*
        pub enum $enum {
            $($(
                #[doc = concat!($help, ".\n")]
                $(#[$doc])*
                $variant,
            )+)+
        }

        impl $enum {
            /// The names of all counters as the log spells them, by variant.
            pub const NAMES: [&'static str; [$($(Self::$variant),+),+].len()] = [$($($name),+),+];

            /// The metrics that show these counters.
            pub const METRICS: &'static [$crate::Metric<Self>] = &[$($crate::Metric {
                name: $metric,
                help: $help,
                label: $crate::counters!(@optional $($label)?),
                samples: &[$((Self::$variant, $crate::counters!(@optional $($value)?))),+],
            }),+];

            /// The counter's name as the log spells it.
            #[allow(
                clippy::as_conversions,
                clippy::indexing_slicing,
                reason = "a variant's number is below the number of variants"
            )]
            pub const fn name(self) -> &'static str {
                Self::NAMES[self as usize]
            }

            /// The counter's value of the label of its metric; `None` if the metric has no label.
            pub const fn label_value(self) -> Option<&'static str> {
                match self {
                    $($(Self::$variant => $crate::counters!(@optional $($value)?)),+),+
                }
            }
        }
    };
    (@optional) => { None };
    (@optional $value:literal) => { Some($value) };
}

counters! {
    /// A counter of what a session does.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    #[repr(u8)]
    pub enum Counter {
        "commands_total", "Commands read, publishes among them" { Commands: "commands" }
        "published_total", "PUBLISH and SPUBLISH commands read" { Published: "published" }
        "injected_total", "Publishes that got a context" { Injected: "injected" }
        "skipped_total" by "reason", "Publishes that got no context, by the reason" {
            /// An inline command is forwarded as it came.
            SkippedInline: "skipped_inline" = "inline",
            /// The channel is excluded, or begins with `__`.
            SkippedChannel: "skipped_channel" = "channel",
            /// The payload with its context is over the injection limit, or the channel's name is too long.
            SkippedSize: "skipped_size" = "size",
            /// The payload does not fit the channel's carrier. It may not be a JSON object, for example.
            SkippedCarrier: "skipped_carrier" = "carrier",
            /// With its context the payload would have been over the 16 KiB that Redis takes before authentication.
            SkippedUnauthenticated: "skipped_unauthenticated" = "unauthenticated",
            /// The payload is long, and the connections of the process hold as much as they may.
            SkippedMemory: "skipped_memory" = "memory",
            /// The mode, `OTEL_SDK_DISABLED` or `OTEL_PROPAGATORS` does not allow a context.
            SkippedMode: "skipped_mode" = "mode",
            /// The context goes beside the message (`--carrier GLOB=beside`).
            SkippedBeside: "skipped_beside" = "beside",
            /// Mode `auto`: Redis has not been asked lately, has not been asked about this channel yet, or did not answer.
            SkippedAutoUnknown: "skipped_auto_unknown" = "auto_unknown",
            /// Mode `auto`: a subscriber is not known to be behind a proxy.
            SkippedAutoUnproxied: "skipped_auto_unproxied" = "auto_unproxied",
            /// Mode `auto`: a subscriber of a pattern is not known to be behind a proxy.
            SkippedAutoPattern: "skipped_auto_pattern" = "auto_pattern",
            /// Mode `auto`: a replica is connected.
            SkippedAutoReplicas: "skipped_auto_replicas" = "auto_replicas",
            /// Mode `auto`: Redis is a cluster.
            SkippedAutoCluster: "skipped_auto_cluster" = "auto_cluster",
            /// Mode `auto`: the channel has no subscriber.
            SkippedAutoNobody: "skipped_auto_nobody" = "auto_nobody",
            /// Mode `auto`: the evidence has not stood for long enough.
            SkippedAutoProving: "skipped_auto_proving" = "auto_proving",
            /// Mode `auto`: Redis reported another number of receivers than was expected.
            SkippedAutoContradicted: "skipped_auto_contradicted" = "auto_contradicted",
            /// Mode `auto`: the publish was queued in a transaction, waited for a command that blocks, or got no reply.
            SkippedAutoOrder: "skipped_auto_order" = "auto_order",
        }
        "receivers_total", "Receivers that Redis reported in its replies to publishes, added up" { Receivers: "receivers" }
        "delivered_total", "Messages handed to subscribers" { Delivered: "delivered" }
        "delivered_reserved_total",
        "Messages handed to subscribers on channels that begin with __, such as keyspace notifications" {
            DeliveredReserved: "delivered_reserved",
        }
        "stripped_total", "Messages from which a context was removed" { Stripped: "stripped" }
        "forged_total", "Messages, publishes and entries whose context has no right MAC, though there are keys" {
            /// The context is no parent. `--forged` says whether it is removed.
            Forged: "forged",
        }
        "entries_injected_total", "Entries of streams and jobs of queues that got a context" { EntriesInjected: "entries_injected" }
        "entries_skipped_total" by "reason", "Entries for streams with a carrier that got no context, by the reason" {
            /// The entry has a field `traceparent` or `tracestate` of its own, or the command is not certain to add one, or it has
            /// `IDMPAUTO`, by which Redis tells entries by their fields.
            EntriesSkippedCarrier: "entries_skipped_carrier" = "carrier",
            /// The command with its context is over the injection limit.
            EntriesSkippedSize: "entries_skipped_size" = "size",
            /// The command is long, and the connections of the process hold as much as they may.
            EntriesSkippedMemory: "entries_skipped_memory" = "memory",
            /// With its context the command would have had more than the 10 words that Redis takes before authentication.
            EntriesSkippedUnauthenticated: "entries_skipped_unauthenticated" = "unauthenticated",
        }
        "entries_stripped_total", "Entries of streams from which a context was removed" {
            EntriesStripped: "entries_stripped",
        }
        "entries_unread_total", "Entries of streams too big to look for a context" { EntriesUnread: "entries_unread" }
        "delivered_unread_total", "Messages too big to look for a context" { DeliveredUnread: "delivered_unread" }
        "redirections_total" by "kind", "Times that Redis named another address to a client, past the proxy" {
            /// A `MOVING` push, whose address was left out. The client then connects to the proxy again.
            RedirectionsMoving: "redirections_moving" = "moving",
            /// A `MOVING` push that was passed on as it came, because the mode is `observe` or the address is too long.
            RedirectionsMovingPassed: "redirections_moving_passed" = "moving_passed",
            /// An error `-REDIRECT`, which only a client gets that has asked for it (`CLIENT CAPA redirect`).
            RedirectionsRedirect: "redirections_redirect" = "redirect",
        }
        "spans_unpaired_total", "Producer spans that ended before Redis's reply" {
            /// They do not say how many received the message. The reply was suppressed or could not be told from others, or
            /// too many spans were open.
            SpansUnpaired: "spans_unpaired",
        }
        "opaque_total" by "reason", "Directions of connections that became plain pipes, by what began them" {
            /// A replication link began.
            OpaqueReplication: "opaque_replication" = "replication",
            /// The client sent bytes that are not RESP.
            OpaqueClient: "opaque_client" = "client",
            /// Redis sent bytes that are not RESP.
            OpaqueServer: "opaque_server" = "server",
            /// A client sent what cannot be read as HTTP/1 for certain.
            OpaqueHttpRequest: "opaque_http_request" = "http_request",
            /// A service sent what cannot be read as HTTP/1 for certain. Both directions are plain pipes then.
            OpaqueHttpResponse: "opaque_http_response" = "http_response",
        }
        "pairing_lost_total", "Connections whose replies could no longer be paired with commands" {
            /// The bytes of these connections are forwarded as before.
            PairingLost: "pairing_lost",
        }
        "http_requests_total", "HTTP requests read" { HttpRequests: "http_requests" }
        "http_responses_total" by "class", "Responses to HTTP requests, by the class of their status" {
            /// The status is 200 to 299.
            HttpResponses2xx: "http_responses_2xx" = "2xx",
            /// The status is 300 to 399.
            HttpResponses3xx: "http_responses_3xx" = "3xx",
            /// The status is 400 to 499.
            HttpResponses4xx: "http_responses_4xx" = "4xx",
            /// The status is 500 to 599.
            HttpResponses5xx: "http_responses_5xx" = "5xx",
        }
        "http_tunnels_total", "HTTP connections that switched to another protocol, as WebSockets do" {
            HttpTunnels: "http_tunnels",
        }
    }
}

/// How often each [`Counter`] was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    values: [u64; Counter::NAMES.len()],
    changed: bool,
}

impl Default for Counts {
    fn default() -> Self {
        Self { values: [0; Counter::NAMES.len()], changed: false }
    }
}

#[expect(
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "a counter's number is below the number of counters"
)]
impl Counts {
    /// Whether anything was counted. For almost every call nothing is.
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// One count of `counter`, for what is counted outside of a session.
    pub fn one(counter: Counter) -> Self {
        let mut counts = Self::default();
        counts.count(counter);
        counts
    }

    /// The count of one counter.
    pub fn get(&self, counter: Counter) -> u64 {
        self.values[counter as usize]
    }

    /// The counts that are not zero, by index into [`Counter::NAMES`].
    pub fn nonzero(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.values.iter().copied().enumerate().filter(|&(_, value)| value > 0)
    }

    /// Sets all counts to zero.
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
        // A call counts at most once for each byte that it is given, so this cannot overflow.
        self.values[counter as usize] += 1;
        self.changed = true;
    }
}

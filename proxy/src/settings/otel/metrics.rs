//! The variables `OTEL_METRICS_*` and `OTEL_METRIC_*`: which measurements are exported, and how.

use redistributed_core::choice::choice;

choice! {
    /// Which measurements become exemplars, as in `OTEL_METRICS_EXEMPLAR_FILTER`.
    pub enum ExemplarFilter, default TraceBased {
        /// Those of sampled spans, which can be looked up.
        TraceBased = "trace_based",
        /// Those of spans that are not sampled too.
        AlwaysOn = "always_on",
        /// None.
        AlwaysOff = "always_off",
    }
}

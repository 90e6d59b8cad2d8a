//! Head sampling with the samplers of the OpenTelemetry specification (`OTEL_TRACES_SAMPLER`).

use super::context::{SpanContext, TraceId};

/// Decides whether a new span is recorded, before anything of the span is built.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// Whether a span with a parent follows the parent's decision (`parentbased_*`).
    pub parent_based: bool,
    /// The decision for all other spans.
    pub root: Root,
}

/// A decision that does not follow a parent's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Root {
    /// Every span is recorded (`always_on`).
    AlwaysOn,
    /// No span is recorded (`always_off`).
    AlwaysOff,
    /// A share of all traces is recorded (`traceidratio`).
    Ratio(Ratio),
}

/// A share of all traces, 0 to 1, kept as the threshold that the trace id is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio(u64);

#[expect(clippy::as_conversions, reason = "between f64 and u64 there is no other way")]
impl Ratio {
    /// The ratio of this share; `None` unless it is between 0 and 1.
    pub fn new(share: f64) -> Option<Self> {
        const WHOLE: f64 = (1u64 << 63) as f64;
        // A product of 2^63 still fits a u64, so 1.0 samples every trace id.
        (0.0..=1.0).contains(&share).then_some(Self((share * WHOLE) as u64))
    }

    /// The share, from 0 to 1.
    pub fn share(self) -> f64 {
        const WHOLE: f64 = (1u64 << 63) as f64;
        self.0 as f64 / WHOLE
    }

    /// Whether a trace is in the share, by the rule of the OpenTelemetry SDKs: half of the low 8 bytes of its id is below
    /// the share of 2^63. All processes that use the same ratio decide alike about a trace.
    pub const fn includes(self, trace: TraceId) -> bool {
        trace.low_u64() >> 1 < self.0
    }
}

impl Default for Sampler {
    /// `parentbased_always_on`, the default of the OpenTelemetry specification.
    fn default() -> Self {
        Self { parent_based: true, root: Root::AlwaysOn }
    }
}

impl Sampler {
    /// Whether a new span of `trace` below `parent` is recorded.
    pub fn samples(&self, trace: TraceId, parent: Option<&SpanContext>) -> bool {
        match (parent, self.root) {
            (Some(parent), _) if self.parent_based => parent.flags.is_sampled(),
            (_, Root::AlwaysOn) => true,
            (_, Root::AlwaysOff) => false,
            (_, Root::Ratio(ratio)) => ratio.includes(trace),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::{SpanId, TraceFlags};
    use super::*;

    fn parent(sampled: bool) -> SpanContext {
        SpanContext { trace_id: TraceId::MIN, span_id: SpanId::MIN, flags: TraceFlags::default().with_sampled(sampled) }
    }

    #[test]
    fn a_parents_decision_stands_only_if_parent_based() {
        let based = Sampler { parent_based: true, root: Root::AlwaysOff };
        assert!(based.samples(TraceId::MIN, Some(&parent(true))));
        assert!(!based.samples(TraceId::MIN, None));
        let plain = Sampler { parent_based: false, root: Root::AlwaysOn };
        assert!(plain.samples(TraceId::MIN, Some(&parent(false))));
    }

    #[test]
    fn ratio_takes_its_share_of_the_id_space() {
        let quarter = Ratio::new(0.25).unwrap();
        let sampled = (0..10_000u64)
            .filter(|i| quarter.includes(TraceId::from_u128(u128::from(i * (u64::MAX / 10_000)) | 1 << 100).unwrap()))
            .count();
        // One more than a quarter: the step is rounded down, so the 2500th id is still below the threshold.
        assert_eq!(sampled, 2501);
        let last = TraceId::from_u128(u128::MAX).unwrap();
        assert!(Ratio::new(1.0).unwrap().includes(last));
        assert!(!Ratio::new(0.0).unwrap().includes(TraceId::from_u128(1 << 64).unwrap()));
        assert_eq!(Ratio::new(1.1), None);
        assert_eq!(Ratio::new(f64::NAN), None);
    }
}

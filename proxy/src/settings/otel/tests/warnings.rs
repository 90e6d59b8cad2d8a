//! What is said of values that are set aside.

use super::*;

#[test]
fn what_is_not_understood_costs_a_warning_that_says_what_applies_instead() {
    for (variables, says) in [
        (
            &[("OTEL_TRACES_SAMPLER", "often")][..],
            "OTEL_TRACES_SAMPLER=often is not understood and ignored: the default applies, parentbased_always_on; known",
        ),
        (
            &[("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "7")],
            "the default applies, 1.0; write a number from 0 to 1",
        ),
        (
            &[("OTEL_TRACES_EXPORTER", "zipkin")],
            "OTEL_TRACES_EXPORTER: zipkin is not known and ignored: otlp applies; known are otlp",
        ),
        (&[("OTEL_TRACES_EXPORTER", "console,none")], "none does not stand beside others and ignored: console applies"),
        (
            &[("OTEL_PROPAGATORS", "pigeon")],
            "OTEL_PROPAGATORS: pigeon is not known and ignored: tracecontext,baggage applies; known",
        ),
        (&[("OTEL_PROPAGATORS", "b3multi,xray")], "xray is not supported and ignored: b3multi applies"),
        (&[("OTEL_PROPAGATORS", "none,pigeon")], "pigeon is not known and ignored: none applies"),
        (
            &[("OTEL_BSP_MAX_QUEUE_SIZE", "-1")],
            "OTEL_BSP_MAX_QUEUE_SIZE=-1 is not understood and ignored: the default applies, 65536; write a whole number above zero",
        ),
        (&[("OTEL_BSP_MAX_QUEUE_SIZE", "9"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "x")], "the default applies, 9; write"),
        (&[("OTEL_BSP_SCHEDULE_DELAY", "1s")], "the default applies, 1000; write a whole number of milliseconds"),
        (&[("OTEL_BSP_EXPORT_TIMEOUT", "1s")], "the default applies, 30000; write a whole number of milliseconds"),
        (&[("OTEL_EXPORTER_OTLP_TIMEOUT", "1s")], "the default applies, 10000; write"),
        (
            &[("OTEL_EXPORTER_OTLP_TIMEOUT", "5"), ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1s")],
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT=1s is not understood and ignored: OTEL_EXPORTER_OTLP_TIMEOUT=5 applies; write",
        ),
        (
            &[("OTEL_EXPORTER_OTLP_PROTOCOL", "http")],
            "the default applies, http/protobuf; known are http/protobuf, grpc",
        ),
        (&[("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd")], "the default applies, none; known are none, gzip"),
        (&[("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "-1")], "the default applies, no limit; write a whole number"),
        (&[("OTEL_SPAN_LINK_COUNT_LIMIT", "x")], "the default applies, 128; write a whole number"),
        (&[("OTEL_RESOURCE_ATTRIBUTES", "a=b,c")], "none of it applies: entry 2 is not key=value"),
        (&[("OTEL_SDK_DISABLED", "1")], "counts as false"),
    ] {
        warned(variables, says);
    }
}

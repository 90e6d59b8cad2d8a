//! The variables about metrics.

use super::*;

fn metrics(variables: &[(&str, &str)]) -> MetricsSettings {
    settings(&[&[("OTEL_METRICS_EXPORTER", "otlp")], variables].concat()).metrics.unwrap()
}

#[test]
fn metrics_are_exported_only_if_asked_for() {
    for variables in [
        &[][..],
        &[("OTEL_METRICS_EXPORTER", "none")],
        &[("OTEL_METRICS_EXPORTER", "otlp"), ("OTEL_SDK_DISABLED", "true")],
        &[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "nonsense")],
    ] {
        assert_eq!(settings(variables).metrics, None, "{variables:?}");
    }
    for (value, says, exports) in [
        ("prometheus", "prometheus is served by --admin and ignored: none applies; known are otlp, none", false),
        ("console,otlp", "console is not supported and ignored: otlp applies; known are otlp, none", true),
        ("none,otlp", "none does not stand beside others and ignored: otlp applies", true),
        ("statsd", "statsd is not known and ignored: none applies", false),
    ] {
        assert_eq!(warned(&[("OTEL_METRICS_EXPORTER", value)], says).metrics.is_some(), exports, "{value}");
    }
}

#[test]
fn without_more_variables_the_defaults_of_the_specification_apply() {
    let MetricsSettings { otlp, interval, timeout, temporality } = metrics(&[]);
    assert_eq!(otlp.endpoint.url(), "http://localhost:4318/v1/metrics");
    assert_eq!(
        otlp,
        OtlpSettings { signal: Signal::Metrics, endpoint: otlp.endpoint.clone(), ..OtlpSettings::default() }
    );
    assert_eq!((interval, timeout), (Duration::from_secs(60), Some(Duration::from_secs(30))));
    assert_eq!((temporality, settings(&[]).exemplars), (Temporality::Cumulative, ExemplarFilter::TraceBased));
}

#[test]
fn the_form_for_metrics_wins_over_the_general_one_and_that_for_spans_does_not_count() {
    let general = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://general:1"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=general"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/general"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/general"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/general"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://spans:1"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2"),
    ];
    let of_general = metrics(&general).otlp;
    assert_eq!(of_general.endpoint.url(), "https://general:1/v1/metrics");
    assert_eq!(of_general.timeout, Some(Duration::from_millis(1)));
    assert_eq!(of_general.certificate, Some("/general".into()));
    let own = [
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://own:1/path"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "a=own"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "3"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "/own"),
        ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE", "/own"),
        ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", "/own"),
    ];
    let otlp = metrics(&[&general[..], &own].concat()).otlp;
    assert_eq!(otlp.endpoint.url(), "https://own:1/path", "as it is");
    assert_eq!((otlp.timeout, otlp.compression), (Some(Duration::from_millis(3)), Compression::Gzip));
    let [(_, value)] = otlp.headers.iter().collect::<Vec<_>>()[..] else { panic!("one header") };
    assert_eq!(value, "own");
    let identity = otlp.client_identity.unwrap();
    assert_eq!(
        [otlp.certificate.unwrap(), identity.certificate, identity.key],
        ["/own"; 3].map(std::path::PathBuf::from)
    );
    let grpc = [("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc")];
    assert_eq!(metrics(&grpc).otlp.endpoint.url(), "http://localhost:4317/");
    let insecure =
        [grpc[0], ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "own:4317"), ("OTEL_EXPORTER_OTLP_METRICS_INSECURE", "true")];
    assert_eq!(metrics(&insecure).otlp.endpoint.url(), "http://own:4317/");
}

#[test]
fn times_and_choices_are_read() {
    let read = metrics(&[
        ("OTEL_METRIC_EXPORT_INTERVAL", "500"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "0"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "Delta"),
    ]);
    assert_eq!((read.interval, read.timeout), (Duration::from_millis(500), None));
    assert_eq!(read.temporality, Temporality::Delta);
    assert!(Temporality::LowMemory.is_delta() && !Temporality::Cumulative.is_delta());
    let filter = |value| settings(&[("OTEL_METRICS_EXEMPLAR_FILTER", value)]).exemplars;
    assert_eq!([filter("always_on"), filter("always_off")], [ExemplarFilter::AlwaysOn, ExemplarFilter::AlwaysOff]);
}

#[test]
fn what_is_not_understood_costs_one_warning_and_what_would_lose_everything_is_an_error() {
    let exported = ("OTEL_METRICS_EXPORTER", "otlp");
    for (variable, value, says) in [
        (
            "OTEL_METRIC_EXPORT_INTERVAL",
            "0",
            "the default applies, 60000; write a whole number of milliseconds above zero",
        ),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "1s", "the default applies, 30000; write a whole number of milliseconds"),
        (
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
            "sum",
            "the default applies, cumulative; known are cumulative, delta, lowmemory",
        ),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "all", "the default applies, trace_based; known are trace_based, always_on"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "the default applies, none; known are none, gzip"),
        (
            "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
            "/a",
            "has no effect: metrics go to http://localhost:4318/v1/metrics",
        ),
    ] {
        warned(&[exported, (variable, value)], says);
    }
    for (variable, value) in [
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "localhost:4318"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", "/key"),
    ] {
        let error = read(&[exported, (variable, value)]).unwrap_err().to_string();
        assert!(error.contains(variable), "{error}");
    }
}

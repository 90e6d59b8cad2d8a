//! What is in effect, and which variable decided it.

use super::*;

#[test]
fn what_is_in_effect_is_shown_for_every_variable_that_has_an_effect() {
    let sampler = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.5")];
    let shown = settings(&[&sampler[..], &[("OTEL_METRICS_EXPORTER", "otlp")]].concat()).effective();
    let names: Vec<&str> = shown.iter().map(|(name, _)| *name).collect();
    for name in VARIABLES {
        // The scheme of the endpoint is what it has decided; the other one is not supported.
        if name.ends_with("_INSECURE") || name == "OTEL_CONFIG_FILE" {
            continue;
        }
        let winning =
            [name.replace("_OTLP_", "_OTLP_TRACES_"), name.replace("OTEL_ATTRIBUTE_", "OTEL_SPAN_ATTRIBUTE_")];
        assert!(names.contains(&name) || winning.iter().any(|name| names.contains(&&name[..])), "{name}: {names:?}");
    }
}

#[test]
fn what_is_shown_is_what_applies_redact() {
    let shown = |variables: &[(&str, &str)], name: &str| {
        let (settings, _) = read(variables).unwrap();
        let value = settings.effective().into_iter().find(|(known, _)| *known == name).map(|(_, value)| value);
        (value, settings.decided_by(name, |name| variables.iter().any(|(known, _)| *known == name)))
    };
    for (variables, name, value, variable) in [
        (&[][..], "OTEL_SERVICE_NAME", "unknown_service:redistributed", None),
        (&[("OTEL_RESOURCE_ATTRIBUTES", "service.name=a")], "OTEL_SERVICE_NAME", "a", Some("OTEL_RESOURCE_ATTRIBUTES")),
        (&[("OTEL_RESOURCE_ATTRIBUTES", "team=b")], "OTEL_SERVICE_NAME", "unknown_service:redistributed", None),
        (
            &[("OTEL_RESOURCE_ATTRIBUTES", "team=a%2Cb,x=%C3%A4")],
            "OTEL_RESOURCE_ATTRIBUTES",
            "team=a%2Cb,x=%C3%A4",
            Some("OTEL_RESOURCE_ATTRIBUTES"),
        ),
        (&[("OTEL_SDK_DISABLED", "true")], "OTEL_TRACES_EXPORTER", "none", Some("OTEL_SDK_DISABLED")),
        (&[], "OTEL_METRICS_EXPORTER", "none", None),
        (
            &[("OTEL_METRICS_EXPORTER", "otlp"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "500")],
            "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
            "500ms",
            Some("OTEL_EXPORTER_OTLP_TIMEOUT"),
        ),
        (
            &[("OTEL_METRICS_EXPORTER", "otlp"), ("OTEL_METRIC_EXPORT_INTERVAL", "500")],
            "OTEL_METRIC_EXPORT_INTERVAL",
            "500ms",
            Some("OTEL_METRIC_EXPORT_INTERVAL"),
        ),
        (&[("OTEL_TRACES_SAMPLER", "often")], "OTEL_TRACES_SAMPLER", "parentbased_always_on", None),
        (&[("OTEL_PROPAGATORS", "b3multi")], "OTEL_PROPAGATORS", "b3multi", Some("OTEL_PROPAGATORS")),
        (&[("OTEL_PROPAGATORS", "pigeon")], "OTEL_PROPAGATORS", "tracecontext,baggage", None),
        (&[("OTEL_BSP_EXPORT_TIMEOUT", "0")], "OTEL_BSP_EXPORT_TIMEOUT", "no limit", Some("OTEL_BSP_EXPORT_TIMEOUT")),
        (
            &[("OTEL_ATTRIBUTE_COUNT_LIMIT", "5"), ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "x")],
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
            "5",
            Some("OTEL_ATTRIBUTE_COUNT_LIMIT"),
        ),
        (
            &[("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hunter2")],
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
            "api-key=***",
            Some("OTEL_EXPORTER_OTLP_HEADERS"),
        ),
        (&[HTTPS, ("https_proxy", "one:1")], "https_proxy", "http://one:1", Some("https_proxy")),
        (&[HTTPS, ("https_proxy", "u:hun@ter2@[::1]:1")], "https_proxy", "http://***@[::1]:1", Some("https_proxy")),
        (&[HTTPS, ("ALL_PROXY", "http://user:hunter2@one:1/path")], "ALL_PROXY", "http://***@one:1", Some("ALL_PROXY")),
        (&[("OTEL_EXPORTER_OTLP_CERTIFICATE", "/a")], "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "-", None),
        (
            &[HTTPS, ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/a")],
            "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
            "/a",
            Some("OTEL_EXPORTER_OTLP_CERTIFICATE"),
        ),
    ] {
        let expected = (Some(value.to_owned()), variable.map(str::to_owned));
        assert_eq!(shown(variables, name), expected, "{variables:?}");
    }
}

#[test]
fn a_proxy_that_is_not_used_is_not_shown() {
    let proxies = [("HTTP_PROXY", "http://one:1"), ("HTTPS_PROXY", "http://two:2"), ("ALL_PROXY", "http://three:3")];
    for (more, used) in [
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.example")][..], &["HTTP_PROXY"][..]),
        (&[HTTPS, ("NO_PROXY", "other.example")], &["HTTPS_PROXY"]),
        (&[HTTPS, ("NO_PROXY", "*")], &[]),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")], &[]),
        (&[HTTPS, ("OTEL_TRACES_EXPORTER", "none")], &[]),
    ] {
        let shown = settings(&[more, &proxies].concat()).effective();
        let shown: Vec<_> = shown.iter().map(|(name, _)| *name).filter(|name| !name.starts_with("OTEL_")).collect();
        assert_eq!(shown, used, "{more:?}");
    }
}

//! One test or more for each variable. What a variable does on the wire is tested in `proxy/tests/export/`.

mod collector;
mod effective;
mod metrics;
mod warnings;

use std::time::Duration;

use redistributed_core::trace::Propagators;
use redistributed_core::trace::Sampler;
use redistributed_core::trace::sampler::{Ratio, Root};

use super::*;

fn read(variables: &[(&str, &str)]) -> Result<(OtelSettings, Vec<String>), OtelEnvError> {
    let lookup = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let (settings, warnings) = OtelSettings::from_lookup(&lookup)?;
    for warning in &warnings {
        assert!(warning.to_string().contains(warning.variable), "{warning}");
    }
    Ok((settings, warnings.iter().map(ToString::to_string).collect()))
}

/// The settings, and no warning.
fn settings(variables: &[(&str, &str)]) -> OtelSettings {
    let (settings, warnings) = read(variables).unwrap();
    assert_eq!(warnings, Vec::<String>::new(), "{variables:?}");
    settings
}

/// The settings, and exactly one warning, which names `culprit`.
fn warned(variables: &[(&str, &str)], culprit: &str) -> OtelSettings {
    let (settings, warnings) = read(variables).unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains(culprit), "{warnings:?}");
    settings
}

fn otlp(variables: &[(&str, &str)]) -> OtlpSettings {
    settings(variables).otlp.unwrap()
}

fn endpoint(variables: &[(&str, &str)]) -> String {
    otlp(variables).endpoint.url().to_owned()
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn without_variables_the_defaults_apply() {
    let defaults = settings(&[]);
    assert_eq!(defaults, OtelSettings::default());
    assert!(defaults.enabled && defaults.console.is_none());
    let otlp = defaults.otlp.unwrap();
    assert_eq!(otlp.protocol, Protocol::HttpProtobuf);
    assert_eq!(otlp.endpoint.url(), "http://localhost:4318/v1/traces");
    assert_eq!(otlp.timeout, Some(Duration::from_secs(10)));
    assert_eq!(otlp.compression, Compression::None);
}

#[test]
fn an_empty_value_is_no_value() {
    let names = [
        "OTEL_SDK_DISABLED",
        "OTEL_SERVICE_NAME",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_TRACES_EXPORTER",
        "OTEL_TRACES_SAMPLER",
        "OTEL_TRACES_SAMPLER_ARG",
        "OTEL_PROPAGATORS",
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "OTEL_BSP_SCHEDULE_DELAY",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY",
        "OTEL_CONFIG_FILE",
    ];
    for empty in ["", "  "] {
        assert_eq!(settings(&names.map(|name| (name, empty))), OtelSettings::default());
    }
}

#[test]
fn sdk_disabled_is_only_true_in_any_case() {
    for value in ["true", "TRUE", " True "] {
        let disabled = settings(&[("OTEL_SDK_DISABLED", value), ("OTEL_TRACES_EXPORTER", "otlp,console")]);
        assert!(!disabled.enabled, "{value}");
        assert_eq!((disabled.otlp, disabled.console), (None, None), "{value}");
    }
    assert!(settings(&[("OTEL_SDK_DISABLED", "false")]).enabled);
    for value in ["1", "yes"] {
        assert!(warned(&[("OTEL_SDK_DISABLED", value)], "OTEL_SDK_DISABLED").enabled, "{value}");
    }
}

#[test]
fn sdk_disabled_does_not_ask_for_a_usable_endpoint() {
    assert!(!settings(&[("OTEL_SDK_DISABLED", "true"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "nonsense")]).enabled);
}

#[test]
fn service_name_wins_over_resource_attributes() {
    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=from-attributes,team=a");
    let alone = settings(&[attributes]);
    assert_eq!(alone.service_name.as_deref(), Some("from-attributes"));
    assert_eq!(alone.resource_attributes, owned(&[("team", "a")]));
    let both = settings(&[attributes, ("OTEL_SERVICE_NAME", "from-name")]);
    assert_eq!(both.service_name.as_deref(), Some("from-name"));
    assert_eq!(both.resource_attributes, owned(&[("team", "a")]));
}

#[test]
fn resource_attributes_are_percent_decoded() {
    let read = settings(&[("OTEL_RESOURCE_ATTRIBUTES", "a=b%20c , k%2Cey=%C3%A4=x%3D,empty=,")]);
    assert_eq!(read.resource_attributes, owned(&[("a", "b c"), ("k,ey", "ä=x="), ("empty", "")]));
}

#[test]
fn resource_attributes_with_one_mistake_are_ignored_as_a_whole() {
    for value in ["a=b,c", "a=b,=c", "a=%zz", "a=%2", "a=%", "a=%ff", "a=%+1"] {
        let read = warned(&[("OTEL_RESOURCE_ATTRIBUTES", value)], "OTEL_RESOURCE_ATTRIBUTES");
        assert_eq!(read.resource_attributes, [], "{value}");
    }
}

#[test]
fn traces_exporter_is_a_list() {
    let chosen = |value| {
        let read = settings(&[("OTEL_TRACES_EXPORTER", value)]);
        (read.otlp.is_some(), read.console.is_some())
    };
    assert_eq!(chosen("otlp"), (true, false));
    assert_eq!(chosen("Console"), (false, true));
    assert_eq!(chosen("otlp, console"), (true, true));
    assert_eq!(chosen("none"), (false, false));
    assert!(settings(&[("OTEL_TRACES_EXPORTER", "none")]).enabled, "contexts are still made and passed on");
}

#[test]
fn traces_exporter_ignores_what_it_does_not_know() {
    let read = warned(&[("OTEL_TRACES_EXPORTER", "zipkin")], "zipkin");
    assert!(read.otlp.is_some(), "the default applies");
    let read = warned(&[("OTEL_TRACES_EXPORTER", "console,zipkin")], "zipkin");
    assert_eq!((read.otlp.is_some(), read.console.is_some()), (false, true));
    let read = warned(&[("OTEL_TRACES_EXPORTER", "none,console")], "none");
    assert!(read.console.is_some());
}

#[test]
fn traces_sampler_knows_all_six() {
    let ratio = Root::Ratio(Ratio::new(0.25).unwrap());
    for (name, parent_based, root) in [
        ("always_on", false, Root::AlwaysOn),
        ("always_off", false, Root::AlwaysOff),
        ("traceidratio", false, ratio),
        ("parentbased_always_on", true, Root::AlwaysOn),
        ("parentbased_always_off", true, Root::AlwaysOff),
        ("PARENTBASED_TRACEIDRATIO", true, ratio),
    ] {
        let read = settings(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", "0.25")]);
        assert_eq!(read.sampler, Sampler { parent_based, root }, "{name}");
    }
}

#[test]
fn traces_sampler_falls_back_to_the_default() {
    for name in ["jaeger_remote", "parentbased_jaeger_remote", "xray", "parentbased_", "often"] {
        let read = warned(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", "0")], name);
        assert_eq!(read.sampler, Sampler { parent_based: true, root: Root::AlwaysOn }, "{name}");
    }
}

#[test]
fn traces_sampler_arg_is_a_share() {
    let sampler = |root| Sampler { parent_based: false, root };
    for value in ["7", "-0.1", "NaN", "half"] {
        let variables = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", value)];
        assert_eq!(warned(&variables, "OTEL_TRACES_SAMPLER_ARG").sampler, sampler(Root::AlwaysOn), "{value}");
    }
    let unset = settings(&[("OTEL_TRACES_SAMPLER", "traceidratio")]);
    assert_eq!(unset.sampler, sampler(Root::AlwaysOn));
}

#[test]
fn propagators_are_a_list() {
    let nothing = Propagators { trace_context: false, baggage: false, b3: false, b3_multi: false, jaeger: false };
    for (value, expected) in [
        ("tracecontext", Propagators { trace_context: true, ..nothing }),
        ("tracecontext,baggage", Propagators::default()),
        ("b3", Propagators { b3: true, ..nothing }),
        ("b3multi, B3", Propagators { b3: true, b3_multi: true, ..nothing }),
        ("jaeger,baggage", Propagators { jaeger: true, baggage: true, ..nothing }),
        ("none", nothing),
    ] {
        assert_eq!(settings(&[("OTEL_PROPAGATORS", value)]).propagators, expected, "{value}");
    }
}

#[test]
fn propagators_that_are_not_supported_cost_a_warning() {
    for name in ["xray", "ottrace", "carrier-pigeon"] {
        assert_eq!(warned(&[("OTEL_PROPAGATORS", name)], name).propagators, Propagators::default(), "{name}");
    }
    let read = warned(&[("OTEL_PROPAGATORS", "b3,xray")], "xray").propagators;
    assert!(read.b3 && !read.trace_context);
    let read = warned(&[("OTEL_PROPAGATORS", "none,jaeger")], "none").propagators;
    assert!(read.jaeger);
}

#[test]
fn bsp_max_queue_size() {
    assert_eq!(settings(&[("OTEL_BSP_MAX_QUEUE_SIZE", "5000")]).batch.max_queue_size, 5_000);
    for value in ["0", "-1", "many"] {
        assert_eq!(warned(&[("OTEL_BSP_MAX_QUEUE_SIZE", value)], value).batch, BatchSettings::default());
    }
}

#[test]
fn bsp_max_export_batch_size_is_at_most_the_queue() {
    assert_eq!(settings(&[("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "17")]).batch.max_export_batch_size, 17);
    let small_queue = ("OTEL_BSP_MAX_QUEUE_SIZE", "100");
    assert_eq!(settings(&[small_queue]).batch.max_export_batch_size, 100, "the default gives way silently");
    let variables = [small_queue, ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "200")];
    assert_eq!(warned(&variables, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE").batch.max_export_batch_size, 100);
}

#[test]
fn bsp_schedule_delay() {
    assert_eq!(settings(&[("OTEL_BSP_SCHEDULE_DELAY", "250")]).batch.schedule_delay, Duration::from_millis(250));
    assert_eq!(warned(&[("OTEL_BSP_SCHEDULE_DELAY", "1s")], "1s").batch, BatchSettings::default());
}

#[test]
fn bsp_export_timeout_zero_is_no_limit() {
    let timeout = |value| settings(&[("OTEL_BSP_EXPORT_TIMEOUT", value)]).batch.export_timeout;
    assert_eq!(timeout("1500"), Some(Duration::from_millis(1_500)));
    assert_eq!(timeout("0"), None);
    assert_eq!(timeout(""), Some(Duration::from_secs(30)));
}

#[test]
fn attribute_count_limit_of_spans_wins_over_the_general_one() {
    assert_eq!(settings(&[("OTEL_ATTRIBUTE_COUNT_LIMIT", "5")]).limits.attribute_count, 5);
    let both = [("OTEL_ATTRIBUTE_COUNT_LIMIT", "5"), ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "0")];
    assert_eq!(settings(&both).limits.attribute_count, 0);
    assert_eq!(warned(&[("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "x")], "x").limits, SpanLimits::default());
}

#[test]
fn attribute_value_length_limit_of_spans_wins_over_the_general_one() {
    assert_eq!(settings(&[("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "9")]).limits.attribute_value_length, Some(9));
    let both = [("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "9"), ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3")];
    assert_eq!(settings(&both).limits.attribute_value_length, Some(3));
}

#[test]
fn span_link_count_limit() {
    assert_eq!(settings(&[("OTEL_SPAN_LINK_COUNT_LIMIT", "0")]).limits.link_count, 0);
}

#[test]
fn the_general_endpoint_gets_the_traces_path() {
    for (value, expected) in [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("http://collector:4318/", "http://collector:4318/v1/traces"),
        ("https://collector/base", "https://collector/base/v1/traces"),
        ("https://collector/base/", "https://collector/base/v1/traces"),
        ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
    ] {
        assert_eq!(endpoint(&[("OTEL_EXPORTER_OTLP_ENDPOINT", value)]), expected);
    }
}

#[test]
fn the_traces_endpoint_is_used_as_it_is_and_wins() {
    let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:1");
    for (value, expected) in [
        ("http://traces:2", "http://traces:2/"),
        ("http://traces:2/in", "http://traces:2/in"),
        ("http://traces:2/in/?x=1", "http://traces:2/in/?x=1"),
    ] {
        assert_eq!(endpoint(&[general, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", value)]), expected);
    }
}

#[test]
fn a_grpc_endpoint_has_no_path() {
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    assert_eq!(endpoint(&[grpc]), "http://localhost:4317/");
    assert_eq!(endpoint(&[grpc, ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317")]), "http://collector:4317/");
    let read = warned(&[grpc, ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/v1/traces")], "/v1/traces");
    assert_eq!(read.otlp.unwrap().endpoint.url(), "http://collector:4318/");
}

#[test]
fn insecure_decides_only_about_a_grpc_endpoint_without_a_scheme() {
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let bare = ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector.example:4317");
    assert_eq!(endpoint(&[grpc, bare]), "https://collector.example:4317/");
    let insecure = ("OTEL_EXPORTER_OTLP_INSECURE", "true");
    assert_eq!(endpoint(&[grpc, bare, insecure]), "http://collector.example:4317/");
    let secure = ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "false");
    assert_eq!(endpoint(&[grpc, bare, insecure, secure]), "https://collector.example:4317/");
    let explicit = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example:4317");
    assert_eq!(endpoint(&[grpc, explicit, insecure]), "https://collector.example:4317/");
}

#[test]
fn an_endpoint_that_is_none_is_an_error_with_a_remedy() {
    for value in ["collector:4318", "localhost", "ftp://collector", "http://", "http://a b", "http://x:99999", "/v1"] {
        let error = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", value)]).unwrap_err().to_string();
        assert!(error.contains("OTEL_EXPORTER_OTLP_ENDPOINT="), "{error}");
        assert!(error.contains(value), "{error}");
        assert!(error.contains("http://localhost:4318"), "{error}");
    }
    let error = read(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "x")]).unwrap_err().to_string();
    assert!(error.contains("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=x"), "{error}");
    let error = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://bücher.example:4318")]).unwrap_err().to_string();
    assert!(error.contains("in ASCII"), "{error}");
}

#[test]
fn an_endpoint_with_credentials_is_refused_without_showing_them() {
    for value in [
        "http://me:hunter2@collector",
        "https://hunter2@collector/?key=hunter2",
        "http://me:hunter2@:x",
        "http://me:hunter2?x@collector",
    ] {
        let error = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", value)]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
    let error = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:x@collector")]).unwrap_err().to_string();
    assert!(error.contains("OTEL_EXPORTER_OTLP_HEADERS"), "{error}");
}

#[test]
fn the_query_of_an_endpoint_is_used_and_not_shown() {
    let read = otlp(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector/?key=hunter2")]);
    assert_eq!(read.endpoint.url(), "https://collector/v1/traces?key=hunter2");
    assert_eq!(read.endpoint.to_string(), "https://collector/v1/traces");
    assert!(!format!("{read:?}").contains("hunter2"));
}

#[test]
fn protocol_of_traces_wins_and_an_unknown_one_is_ignored() {
    let protocol = |variables: &[(&str, &str)]| otlp(variables).protocol;
    assert_eq!(protocol(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "GRPC")]), Protocol::Grpc);
    assert_eq!(protocol(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]), Protocol::HttpProtobuf);
    let both = [("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"), ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")];
    assert_eq!(protocol(&both), Protocol::Grpc);
    let unknown = [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "thrift")];
    assert_eq!(warned(&unknown, "thrift").otlp.unwrap().protocol, Protocol::Grpc);
}

#[test]
fn protocol_http_json_is_refused_with_what_is_supported() {
    let error = read(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]).unwrap_err().to_string();
    assert!(error.contains("OTEL_EXPORTER_OTLP_PROTOCOL=http/json"), "{error}");
    assert!(error.contains("http/protobuf") && error.contains("grpc"), "{error}");
}

#[test]
fn headers_are_percent_decoded_and_never_shown() {
    let read = otlp(&[("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20hunter2, x-b = c ,")]);
    let headers: Vec<_> =
        read.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap().to_owned())).collect();
    assert_eq!(headers, [("authorization", "Basic hunter2".to_owned()), ("x-b", "c".to_owned())]);
    let shown = format!("{read:?}");
    assert!(shown.contains("authorization") && !shown.contains("hunter2"), "{shown}");
    let value = read.headers.iter().next().unwrap().1;
    assert!(!format!("{value:?}").contains("hunter2"));
}

#[test]
fn headers_of_traces_replace_the_general_ones() {
    let variables = [("OTEL_EXPORTER_OTLP_HEADERS", "a=1,b=2"), ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=3")];
    assert_eq!(format!("{:?}", otlp(&variables).headers), r#"["a"]"#);
}

#[test]
fn headers_that_cannot_be_used_are_left_out_and_not_shown() {
    for value in [
        "good=1,hunter2",
        "good=1,a=%zz-hunter2",
        "good=1,bad name=hunter2",
        "good=1,a=hunter2%0A",
        "good=1,host=hunter2",
    ] {
        let (read, warnings) = read(&[("OTEL_EXPORTER_OTLP_HEADERS", value)]).unwrap();
        assert_eq!(format!("{:?}", read.otlp.unwrap().headers), r#"["good"]"#, "{value}");
        assert_eq!(warnings.len(), 1, "{value}");
        assert!(warnings[0].contains("OTEL_EXPORTER_OTLP_HEADERS") && !warnings[0].contains("hunter2"), "{warnings:?}");
    }
}

#[test]
fn timeout_of_traces_wins_and_zero_is_no_limit() {
    let general = ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000");
    assert_eq!(otlp(&[general]).timeout, Some(Duration::from_secs(2)));
    assert_eq!(otlp(&[general, ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "3")]).timeout, Some(Duration::from_millis(3)));
    assert_eq!(otlp(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "0")]).timeout, None);
    let unusable = warned(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "10s")], "10s");
    assert_eq!(unusable.otlp.unwrap().timeout, Some(Duration::from_secs(10)));
}

#[test]
fn compression_of_traces_wins_and_an_unknown_one_is_ignored() {
    assert_eq!(otlp(&[("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")]).compression, Compression::Gzip);
    let both = [("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"), ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none")];
    assert_eq!(otlp(&both).compression, Compression::None);
    let unknown = warned(&[("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd")], "zstd");
    assert_eq!(unknown.otlp.unwrap().compression, Compression::None);
}

/// A collector that is reached by TLS.
const HTTPS: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318");

#[test]
fn certificate_of_traces_wins() {
    let variables = [HTTPS, ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/a"), ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/b")];
    assert_eq!(otlp(&variables[..2]).certificate, Some("/a".into()));
    assert_eq!(otlp(&variables).certificate, Some("/b".into()));
}

#[test]
fn client_certificate_and_key_come_together_or_not_at_all() {
    let certificate = ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/c");
    let key = ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "/k");
    let identity = otlp(&[HTTPS, certificate, key]).client_identity.unwrap();
    assert_eq!((identity.certificate, identity.key), ("/c".into(), "/k".into()));
    for (given, missing) in
        [(certificate, "OTEL_EXPORTER_OTLP_CLIENT_KEY"), (key, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")]
    {
        let error = read(&[given]).unwrap_err().to_string();
        assert!(error.contains(given.0) && error.contains(missing), "{error}");
    }
}

#[test]
fn certificates_for_an_endpoint_without_tls_cost_a_warning_and_are_not_used() {
    let authority = ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/a");
    let identity = [("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/c"), ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/k")];
    let insecure = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
    ];
    let alone = "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE has no effect: spans go to http://localhost:4318/v1/traces \
                 without TLS; write https:// in the endpoint, or leave it out";
    let all = "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE, OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE, \
               OTEL_EXPORTER_OTLP_CLIENT_KEY have no effect: spans go to http://collector:4317/ without TLS";
    for (variables, says) in [(vec![authority], alone), ([&insecure[..], &[authority], &identity].concat(), all)] {
        let otlp = warned(&variables, says).otlp.unwrap();
        assert_eq!((otlp.certificate, otlp.client_identity), (None, None), "{variables:?}");
    }
}

#[test]
fn a_config_file_is_not_supported_and_says_so() {
    warned(&[("OTEL_CONFIG_FILE", "otel.yaml")], "OTEL_CONFIG_FILE");
}

#[test]
fn every_variable_that_is_read_is_in_the_list() {
    let asked = std::cell::RefCell::new(std::collections::BTreeSet::new());
    for given in [&[][..], &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:1")]] {
        for sampler in ["always_on", "traceidratio"] {
            let lookup = |name: &str| {
                asked.borrow_mut().insert(name.to_owned());
                let found = given.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
                let found = found.or_else(|| (name == "OTEL_TRACES_SAMPLER").then(|| sampler.to_owned()));
                found.or_else(|| (name == "OTEL_METRICS_EXPORTER").then(|| "otlp".to_owned()))
            };
            OtelSettings::from_lookup(&lookup).unwrap();
        }
    }
    let asked = asked.into_inner().into_iter();
    let (asked, others): (Vec<_>, Vec<_>) = asked.partition(|name| name.starts_with("OTEL_"));
    let asked: std::collections::BTreeSet<_> = asked.into_iter().collect();
    let listed: std::collections::BTreeSet<_> = VARIABLES.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(asked, listed);
    assert!(others.iter().all(|name| PROXIES.as_flattened().contains(&name.as_str())), "{others:?}");
}

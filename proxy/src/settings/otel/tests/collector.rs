//! The ways to the collector besides a URL.

use super::*;

#[test]
fn a_unix_socket_is_named_by_its_path() {
    for text in ["unix:/run/collector.sock", "unix:///run/collector.sock"] {
        for protocol in ["grpc", "http/protobuf"] {
            for variable in ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] {
                let otlp = otlp(&[(variable, text), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]);
                assert_eq!(otlp.endpoint.socket(), Some("/run/collector.sock".into()), "{text}");
                assert!(!otlp.endpoint.is_https());
            }
        }
    }
    let spaced = otlp(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "unix:/run/my%20collector.sock")]);
    assert_eq!(spaced.endpoint.socket(), Some("/run/my collector.sock".into()));
    for text in ["unix:collector.sock", "unix://host/run/collector.sock", "unix:"] {
        let error = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", text)]).unwrap_err().to_string();
        assert!(error.contains("unix:/run/collector.sock"), "{error}");
    }
}

fn proxy(endpoint: &str, variables: &[(&str, &str)]) -> Option<(&'static str, String)> {
    let variables = [&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)], variables].concat();
    otlp(&variables).proxy.map(|proxy| (proxy.variable, proxy.address.to_string()))
}

#[test]
fn a_proxy_is_followed_for_its_scheme_unless_no_proxy_names_the_collector() {
    let (plain, encrypted) = ("http://collector.example:4318", "https://collector.example");
    let both = [("HTTP_PROXY", "http://one:1"), ("https_proxy", "two:2")];
    assert_eq!(proxy(plain, &both), Some(("HTTP_PROXY", "http://one:1/".to_owned())));
    assert_eq!(proxy(encrypted, &both), Some(("https_proxy", "http://two:2/".to_owned())));
    let all = [("ALL_PROXY", "http://user:hunter2@one:1")];
    assert_eq!(proxy(plain, &all), Some(("ALL_PROXY", "http://one:1/".to_owned())));
    let shown = format!("{:?}", settings(&[("OTEL_EXPORTER_OTLP_ENDPOINT", plain), all[0]]));
    assert!(!shown.contains("hunter2") && !shown.contains("dXNlcjpodW50ZXIy"), "{shown}");
    assert_eq!(proxy(plain, &[]), None);
    for no in ["*", "collector.example", ".example", "other, example"] {
        assert_eq!(proxy(plain, &[all[0], ("NO_PROXY", no)]), None, "{no}");
    }
    assert!(proxy(plain, &[all[0], ("no_proxy", "ample")]).is_some());
    assert_eq!(proxy("http://10.0.0.7:4318", &[all[0], ("NO_PROXY", "10.0.0.0/8")]), None);
    for here in ["http://localhost:4318", "http://127.0.0.2:4318", "http://[::1]:4318", "unix:/run/collector.sock"] {
        assert_eq!(proxy(here, &all), None, "{here}");
    }
}

#[test]
fn a_proxy_of_another_kind_is_said_to_be_ignored() {
    for text in ["socks5://one:1080", "https://one:443"] {
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example"), ("HTTPS_PROXY", text)];
        let says =
            format!("HTTPS_PROXY={text} is ignored: spans go only through a proxy with http://; write it like http://");
        assert_eq!(warned(&variables, &says).otlp.unwrap().proxy, None);
    }
}

#[test]
fn an_argument_without_a_sampler_is_said_to_have_no_effect() {
    let read = warned(&[("OTEL_TRACES_SAMPLER_ARG", "0.1")], "has no effect, because OTEL_TRACES_SAMPLER is not set");
    assert_eq!((read.sampler, read.set_aside), (Sampler::default(), vec!["OTEL_TRACES_SAMPLER_ARG"]));
}

//! Whether the collector accepts spans.

use super::Findings;
use crate::settings::Settings;
use crate::telemetry::probe::{Probe, probe};

pub(super) async fn check(settings: &Settings, findings: &mut Findings) {
    let otel = &settings.otel;
    if !otel.enabled {
        return findings.note("OTEL_SDK_DISABLED is true: no span is made; contexts that messages carry still pass on");
    }
    let mut names = settings.routes.iter().map(|route| &route.name).chain(settings.http.iter().map(|port| &port.name));
    let unnamed = otel.service_name.is_none() && names.any(Option::is_none);
    if unnamed && (otel.console.is_some() || otel.otlp.is_some()) {
        findings.warning(
            "no service name is set: spans are those of `unknown_service:redistributed`",
            "set OTEL_SERVICE_NAME, or give the route a name",
        );
    }
    if otel.console.is_some() {
        findings.note("spans are written to standard output");
    }
    let Some(otlp) = &otel.otlp else {
        if otel.console.is_none() {
            findings.note("OTEL_TRACES_EXPORTER is none: spans are made and thrown away");
        }
        return;
    };
    let protocol = otlp.protocol;
    findings.about(format!("collector {}", otlp.endpoint));
    if let Some(proxy) = &otlp.proxy {
        findings.note(format!("is reached through the proxy {proxy}, as {} says", proxy.variable));
    }
    match probe(otel).await {
        Probe::Taken(remark) => {
            findings.ok(format!("takes spans by {protocol}: an empty export was accepted"));
            if !remark.is_empty() {
                findings.note(format!("says of the empty export: {remark}"));
            }
        }
        Probe::Refused(reason) => findings.problem(
            format!("did not take an empty export by {protocol}: {reason}"),
            "check OTEL_EXPORTER_OTLP_ENDPOINT, _PROTOCOL (http/protobuf: port 4318, grpc: 4317) and _HEADERS",
        ),
    }
}

//! Whether the collectors accept spans and metrics.

use super::Findings;
use crate::settings::Settings;
use crate::settings::otel::{MetricsSettings, OtlpSettings};
use crate::telemetry::probe::{Probe, probe, probe_metrics};

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
    if let Some(otlp) = &otel.otlp {
        about(otlp, findings);
        report(
            otlp,
            probe(otel).await,
            "check OTEL_EXPORTER_OTLP_ENDPOINT, _PROTOCOL (http/protobuf: port 4318, grpc: 4317) and _HEADERS",
            findings,
        );
    } else if otel.console.is_none() {
        findings.note("OTEL_TRACES_EXPORTER is none: spans are made and thrown away");
    }
    if let Some(metrics) = &otel.metrics {
        check_metrics(metrics, findings).await;
    }
}

async fn check_metrics(metrics: &MetricsSettings, findings: &mut Findings) {
    about(&metrics.otlp, findings);
    report(
        &metrics.otlp,
        probe_metrics(metrics).await,
        "name a collector that takes metrics, which Jaeger does not, in OTEL_EXPORTER_OTLP_METRICS_ENDPOINT, or set \
         OTEL_METRICS_EXPORTER to none",
        findings,
    );
}

fn about(otlp: &OtlpSettings, findings: &mut Findings) {
    findings.about(format!("collector {}", otlp.endpoint));
    if let Some(proxy) = &otlp.proxy {
        findings.note(format!("is reached through the proxy {proxy}, as {} says", proxy.variable));
    }
}

fn report(otlp: &OtlpSettings, answer: Probe, remedy: &'static str, findings: &mut Findings) {
    let (what, protocol) = (otlp.signal.noun(), otlp.protocol);
    match answer {
        Probe::Taken(remark) => {
            findings.ok(format!("takes {what} by {protocol}: an empty export was accepted"));
            if !remark.is_empty() {
                findings.note(format!("says of the empty export: {remark}"));
            }
        }
        Probe::Refused(reason) => {
            findings.problem(format!("did not take an empty export by {protocol}: {reason}"), remedy);
        }
    }
}

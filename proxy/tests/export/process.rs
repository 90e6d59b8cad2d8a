//! What shows only in a process whose real environment holds the variables, or whose standard output is read: the
//! tests start themselves again with the environment that they want.

use std::process::{Command, Output};

use otlp_receiver::{Receiver, Transport};
use redistributed::settings::otel::OtelSettings;

use crate::export::setup::{Exporter, LONG, publish, variables};

/// Marks the second process.
const CHILD: &str = "REDISTRIBUTED_TEST_CHILD";

/// Runs the test of this name once more, in a process with these variables.
pub(crate) async fn again(test: &str, variables: Vec<(&'static str, String)>) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(CHILD, "1").envs(variables);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

/// In the second process: sends one span as the environment says.
pub(crate) async fn send_one() {
    let (settings, warnings) = OtelSettings::from_lookup(&|name| std::env::var(name).ok()).unwrap();
    assert_eq!(warnings, []);
    let telemetry = Exporter::start(settings);
    telemetry.sink().offer(&publish(1));
    assert_eq!(telemetry.shutdown(LONG).await.sent, 1);
}

pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Something below the settings that read the environment by itself would add its headers to those that it is given.
#[tokio::test]
async fn headers_of_the_real_environment_are_sent_once() {
    if is_child() {
        return send_one().await;
    }
    for transport in [Transport::Http, Transport::Grpc] {
        let receiver = Receiver::start().await.unwrap();
        let mut variables = variables(&receiver, transport);
        variables.push(("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a%2520b".to_owned()));
        again("export::process::headers_of_the_real_environment_are_sent_once", variables).await;
        let request = receiver.requests().remove(0);
        let values: Vec<_> = request.headers.get_all("x-tenant").iter().collect();
        assert_eq!(values, ["a%20b"], "{transport:?}");
    }
}

#[tokio::test]
async fn traces_exporter_console_writes_to_standard_output() {
    if is_child() {
        return send_one().await;
    }
    let variables = vec![("OTEL_TRACES_EXPORTER", "console".to_owned())];
    let output = again("export::process::traces_exporter_console_writes_to_standard_output", variables).await;
    let output = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = output.lines().filter(|line| line.contains("publish reports  4 receivers")).collect();
    assert_eq!(lines.len(), 1, "{output}");
}

#[tokio::test]
async fn two_exporters_both_get_the_span() {
    if is_child() {
        return send_one().await;
    }
    let receiver = Receiver::start().await.unwrap();
    let mut variables = variables(&receiver, Transport::Http);
    variables.push(("OTEL_TRACES_EXPORTER", "otlp,console".to_owned()));
    let output = again("export::process::two_exporters_both_get_the_span", variables).await;
    assert!(String::from_utf8(output.stdout).unwrap().contains("publish reports  4 receivers"));
    assert_eq!(receiver.spans().len(), 1);
}

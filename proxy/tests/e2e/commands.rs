//! The CLIENT spans of all other commands (`--commands all`). The `discretion` tests check that they contain no
//! secrets.

use otlp_receiver::proto::trace::v1::span::SpanKind;

use crate::e2e::deployment::{BOTH_TRANSPORTS, Deployment};

#[tokio::test]
async fn commands_are_described_by_the_database_conventions() {
    for transport in BOTH_TRANSPORTS {
        let deployment = Deployment::start().await;
        let service = deployment.sidecar_with("service", &["--commands", "all"], transport, &[]);
        let mut client = service.connect().await;
        client.call("SELECT 3").await;
        client.call("set k v").await;
        client.call("LPUSH k x").await;
        client.call("CLIENT SETNAME me").await;
        for command in ["MULTI", "INCR a", "INCR b", "EXEC"] {
            client.call(command).await;
        }
        drop(client);
        let spans = deployment.spans([service]).await;
        let span =
            |name: &str| spans.of("service").find(|span| span.name == name).unwrap_or_else(|| panic!("no {name}"));
        span("set").assert_attributes([
            ("db.system.name", "redis".into()),
            ("db.operation.name", "set".into()),
            ("db.namespace", "3".into()),
        ]);
        assert!(span("set").is_root() && !span("set").is_error);
        span("LPUSH").assert_attributes([
            ("db.system.name", "redis".into()),
            ("db.operation.name", "LPUSH".into()),
            ("db.namespace", "3".into()),
            ("db.response.status_code", "WRONGTYPE".into()),
            ("error.type", "WRONGTYPE".into()),
        ]);
        assert!(span("LPUSH").is_error);
        assert_eq!(span("SELECT").text("db.namespace"), Some("0"));
        span("MULTI INCR").assert_attributes([
            ("db.system.name", "redis".into()),
            ("db.operation.name", "MULTI INCR".into()),
            ("db.namespace", "3".into()),
            ("db.operation.batch.size", 2.into()),
        ]);
        assert!(spans.0.iter().all(|span| span.kind == SpanKind::Client));
        assert_eq!(spans.0.len(), 5, "{:?}", spans.0.iter().map(|span| &span.name).collect::<Vec<_>>());
    }
}

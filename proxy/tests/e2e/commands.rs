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
        span("MULTI INCR").assert_attributes([
            ("db.system.name", "redis".into()),
            ("db.operation.name", "MULTI INCR".into()),
            ("db.namespace", "3".into()),
            ("db.operation.batch.size", 2.into()),
        ]);
        assert!(spans.0.iter().all(|span| span.kind == SpanKind::Client));
        // SELECT and CLIENT only manage the connection.
        assert_eq!(spans.0.len(), 3, "{:?}", spans.0.iter().map(|span| &span.name).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn only_slow_or_failed_commands_have_spans_if_only_these_are_wanted() {
    for (which, expected) in
        [("errors", &["LPUSH"][..]), ("slow=1h", &[]), ("slow=1h,errors", &["LPUSH"]), ("slow=0s", &["SET", "LPUSH"])]
    {
        let deployment = Deployment::start().await;
        let service = deployment.sidecar_with("service", &["--commands", which], BOTH_TRANSPORTS[0], &[]);
        let mut client = service.connect().await;
        for command in ["SET k v", "LPUSH k x", "EVALSHA 0 0", "BLPOP nothing 0.01", "PING"] {
            client.call(command).await;
        }
        drop(client);
        let spans = deployment.spans([service]).await;
        let names: Vec<&str> =
            spans.0.iter().map(|span| span.name.as_str()).filter(|name| *name != "EVALSHA").collect();
        assert_eq!(names, expected, "--commands {which}");
    }
}

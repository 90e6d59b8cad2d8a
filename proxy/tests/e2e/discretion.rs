//! No payload, argument, key or secret reaches a span or a log, whatever is switched on.

use otlp_receiver::proto::trace::v1::span::SpanKind;

use crate::support::wire::{Value, request};
use crate::world::{BOTH_TRANSPORTS, World};

const SECRET: &str = "hunter2-c0ffee";

#[tokio::test]
async fn commands_are_described_by_the_database_conventions() {
    for transport in BOTH_TRANSPORTS {
        let world = World::start().await;
        let service = world.sidecar_with("service", &["--commands", "all"], transport, &[]);
        let mut client = service.connect().await;
        client.call("SELECT 3").await;
        client.call("set k v").await;
        client.call("LPUSH k x").await;
        client.call("CLIENT SETNAME me").await;
        for command in ["MULTI", "INCR a", "INCR b", "EXEC"] {
            client.call(command).await;
        }
        drop(client);
        let spans = world.spans([service]).await;
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

#[tokio::test]
async fn a_secret_in_a_command_reaches_neither_span_nor_log() {
    for transport in BOTH_TRANSPORTS {
        let world = World::start().await;
        let arguments = ["--commands", "all", "--log-level", "trace", "--read-json", "*"];
        let variables = [("OTEL_TRACES_EXPORTER", "otlp,console")];
        let service = world.sidecar_with("service", &arguments, transport, &variables);
        let mut subscriber = service.connect().await;
        subscriber.subscribe("SUBSCRIBE news").await;
        let mut client = service.connect().await;
        let secret = SECRET.as_bytes();
        let json = format!(r#"{{"secret":"{SECRET}","traceparent":"{SECRET}"}}"#);
        let script = format!("return redis.error_reply('{SECRET} failed')");
        let commands: [&[&[u8]]; 18] = [
            &[b"ACL", b"SETUSER", b"someone", b"on", &[b">", secret].concat(), b"~*", b"&*", b"+@all"],
            &[b"AUTH", b"someone", secret],
            &[b"AUTH", secret],
            &[b"HELLO", b"3", b"AUTH", b"someone", secret],
            &[b"HELLO", b"2", b"AUTH", secret, secret],
            &[b"CONFIG", b"SET", b"masterauth", secret],
            &[b"MIGRATE", b"127.0.0.1", b"1", b"k", b"0", b"1", b"AUTH", secret],
            &[b"CLIENT", b"SETNAME", secret],
            &[b"SET", secret, secret],
            &[b"LPUSH", secret, secret],
            &[b"EVAL", script.as_bytes(), b"0", secret],
            &[b"EVAL", b"return redis.call(ARGV[1])", b"0", secret],
            // Names that no command has could be anything.
            &[secret, secret],
            &[b"GET", secret, secret, secret],
            &[b"PUBLISH", b"news", secret],
            &[b"PUBLISH", b"news", json.as_bytes()],
            &[b"PUBLISH", b"news", secret, secret],
            &[b"PING", secret],
        ];
        for command in commands {
            client.call_words(command).await;
        }
        client.send(format!("SET inline {SECRET}\r\n{SECRET}\r\n").as_bytes()).await;
        assert_eq!(client.read().await, Value::Status("OK".into()));
        assert!(matches!(client.read().await, Value::Error(_)));
        // And one that makes the connection unreadable.
        client.send(&request(&[b"PING", secret])).await;
        client.send(format!("*1\r\n:{SECRET}\r\n").as_bytes()).await;
        client.read().await;
        client.read().await;
        client.closed().await;
        assert_eq!(subscriber.message().await.payload, secret);
        assert_eq!(subscriber.message().await.payload, json.as_bytes());
        drop((client, subscriber));
        let end = service.stop().await;
        let exported = world.everything_exported();
        assert!(end.sent > 20 && exported.contains("publish news"), "{end:?}");
        assert!(end.stdout.contains("publish news"), "the console shows spans");
        for (place, text) in [("spans", &exported), ("log", &end.log), ("console", &end.stdout)] {
            let found = text.find(SECRET).map(|at| &text[at.saturating_sub(300)..]);
            assert!(found.is_none(), "the secret is in the {place}: {:.400}", found.unwrap_or_default());
        }
    }
}

//! The content of spans, field by field, with both transports. What must hold for every span of every test (ids, times,
//! scope, the address of Redis) is checked in `spans.rs`.

use otlp_receiver::proto::trace::v1::span::SpanKind;

use crate::e2e::deployment::{BOTH_TRANSPORTS, Deployment};
use crate::e2e::spans::Attribute;
use crate::support::wire::{Value, Wire};

#[tokio::test]
async fn a_publish_and_its_delivery() {
    for transport in BOTH_TRANSPORTS {
        let deployment = Deployment::start().await;
        let variables = [("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,note=a%20b")];
        let api = deployment.sidecar_with("api", &[], transport, &variables);
        let worker = deployment.sidecar_with("worker", &[], transport, &[]);
        let mut subscriber = worker.connect().await;
        subscriber.subscribe("PSUBSCRIBE orders.*").await;
        let mut publisher = api.connect().await;
        assert_eq!(publisher.publish("orders.eu", b"12345").await, 1);
        assert_eq!(subscriber.message().await.payload, b"12345");
        drop((publisher, subscriber));
        let spans = deployment.spans([api, worker]).await;

        assert_eq!(spans.0.len(), 2);
        let producer = spans.only("api");
        assert_eq!((producer.name.as_str(), producer.kind), ("publish orders.eu", SpanKind::Producer));
        assert!(producer.is_root());
        assert!(!producer.is_error);
        // Sampled, and a trace id that is random.
        assert_eq!((producer.flags, producer.trace_state.as_str(), &producer.links[..]), (3, "", &[][..]));
        producer.assert_attributes([
            ("messaging.system", "redis".into()),
            ("messaging.operation.name", "publish".into()),
            ("messaging.operation.type", "send".into()),
            ("messaging.destination.name", "orders.eu".into()),
            ("messaging.message.body.size", 5.into()),
            ("redis.pubsub.receivers", 1.into()),
        ]);

        let consumer = spans.only("worker");
        assert_eq!((consumer.name.as_str(), consumer.kind), ("process orders.*", SpanKind::Consumer));
        assert_eq!((&consumer.trace_id, &consumer.parent), (&producer.trace_id, &producer.span_id));
        assert_ne!(consumer.span_id, producer.span_id);
        assert!(!consumer.is_error);
        assert_eq!((consumer.flags, consumer.trace_state.as_str(), &consumer.links[..]), (3, "", &[][..]));
        assert!(producer.start <= consumer.start, "one clock, and the publish comes first");
        consumer.assert_attributes([
            ("messaging.system", "redis".into()),
            ("messaging.operation.name", "process".into()),
            ("messaging.operation.type", "process".into()),
            ("messaging.destination.name", "orders.eu".into()),
            ("messaging.destination.template", "orders.*".into()),
            ("messaging.destination.subscription.name", "orders.*".into()),
            ("messaging.message.body.size", 5.into()),
        ]);

        let resource = |key: &str| producer.resource.get(key).cloned();
        assert_eq!(resource("service.name"), Some("api".into()));
        assert_eq!(resource("deployment.environment.name"), Some("test".into()));
        assert_eq!(resource("note"), Some("a b".into()));
        assert_eq!(resource("telemetry.sdk.name"), Some("redistributed".into()));
        assert_eq!(resource("telemetry.sdk.language"), Some("rust".into()));
        assert_eq!(resource("telemetry.sdk.version"), Some(env!("CARGO_PKG_VERSION").into()));
        assert!(matches!(resource("service.instance.id"), Some(Attribute::Text(id)) if id.len() == 36));
        assert_eq!(consumer.resource.get("service.name"), Some(&"worker".into()));
        assert_ne!(consumer.resource.get("service.instance.id"), resource("service.instance.id").as_ref());
    }
}

#[tokio::test]
async fn channels_that_differ_by_an_id_are_one_operation() {
    let deployment = Deployment::start().await;
    let api = deployment.sidecar("api", &["--template", "user:*=user:{id}", "--template", "build-*="]);
    let hidden = deployment.sidecar("hidden", &["--hide-channel-names", "--template", "orders=orders"]);
    let mut publisher = api.connect().await;
    let channels = [
        ("celery-task-meta-550e8400-e29b-41d4-a716-446655440000", "celery-task-meta-{id}"),
        ("celery-task-meta-6ba7b810-9dad-11d1-80b4-00c04fd430c8", "celery-task-meta-{id}"),
        ("user:alice", "user:{id}"),
        ("build-12345678", "build-12345678"),
        ("feedback", "feedback"),
    ];
    for (channel, _) in channels {
        assert_eq!(publisher.publish(channel, b"x").await, 0);
    }
    // A channel may have no name.
    assert_eq!(publisher.publish("", b"x").await, 0);
    let mut secretive = hidden.connect().await;
    for channel in ["alice", "orders", "user:12345678"] {
        assert_eq!(secretive.publish(channel, b"x").await, 0);
    }
    drop((publisher, secretive));
    let spans = deployment.spans([api, hidden]).await;
    let shown = |service: &str| {
        let of = spans.of(service).map(|span| {
            let text = |key: &str| span.text(key).unwrap_or("-").to_owned();
            (span.name.clone(), text("messaging.destination.name"), text("messaging.destination.template"))
        });
        let mut all: Vec<_> = of.collect();
        all.sort();
        all
    };
    let mut expected: Vec<_> = channels
        .map(|(channel, group)| {
            let template = if channel == group { "-" } else { group };
            (format!("publish {group}"), channel.to_owned(), template.to_owned())
        })
        .into_iter()
        .chain([("publish".to_owned(), String::new(), "-".to_owned())])
        .collect();
    expected.sort();
    assert_eq!(shown("api"), expected);
    let expected = [("publish", "-", "-"), ("publish orders", "-", "orders"), ("publish user:{id}", "-", "user:{id}")];
    assert_eq!(
        shown("hidden"),
        expected.map(|(name, channel, template)| (name.into(), channel.into(), template.into()))
    );
}

#[tokio::test]
async fn deliveries_of_one_message_are_told_apart_by_their_clients() {
    let deployment = Deployment::start().await;
    let worker = deployment.sidecar("worker", &[]);
    let (mut by_client, mut by_hello) = (worker.connect().await, worker.connect().await);
    let stream = tokio::net::TcpStream::connect(worker.address).await.unwrap();
    let address = stream.local_addr().unwrap().to_string();
    let mut renamed = Wire::over(stream);
    assert_eq!(by_client.call("CLIENT SETNAME worker-1").await, Value::Status("OK".into()));
    assert!(!matches!(by_hello.call("HELLO 2 SETNAME worker-2").await, Value::Error(_)));
    // What Redis refuses is no name, and RESET takes a name away.
    assert_eq!(renamed.call("CLIENT SETNAME worker-3").await, Value::Status("OK".into()));
    assert_eq!(renamed.call("RESET").await, Value::Status("RESET".into()));
    assert!(matches!(renamed.call_words(&[b"CLIENT", b"SETNAME", b"two words"]).await, Value::Error(_)));
    for subscriber in [&mut by_client, &mut by_hello, &mut renamed] {
        subscriber.subscribe("SUBSCRIBE ch").await;
    }
    let mut publisher = worker.connect().await;
    assert_eq!(publisher.publish("ch", b"x").await, 3);
    for subscriber in [&mut by_client, &mut by_hello, &mut renamed] {
        subscriber.message().await;
    }
    drop((by_client, by_hello, renamed, publisher));
    let spans = deployment.spans([worker]).await;
    let mut clients: Vec<_> =
        spans.of_kind(SpanKind::Consumer).map(|span| span.text("messaging.client.id").unwrap_or_default()).collect();
    clients.sort_unstable();
    assert_eq!(clients, [address.as_str(), "worker-1", "worker-2"]);
}

#[tokio::test]
async fn a_refused_publish_is_an_error_with_its_prefix() {
    for transport in BOTH_TRANSPORTS {
        let deployment = Deployment::start().await;
        let mut operator = deployment.direct().await;
        let created = operator.call("ACL SETUSER limited on >pw resetchannels &open +@all").await;
        assert_eq!(created, Value::Status("OK".into()));
        let api = deployment.sidecar_with("api", &[], transport, &[]);
        let mut publisher = api.connect().await;
        assert_eq!(publisher.call("AUTH limited pw").await, Value::Status("OK".into()));
        let refused = publisher.call("PUBLISH closed text").await;
        assert!(matches!(&refused, Value::Error(line) if line.starts_with("NOPERM")), "{refused:?}");
        drop((operator, publisher));
        let spans = deployment.spans([api]).await;

        let producer = spans.only("api");
        assert_eq!((producer.name.as_str(), producer.kind), ("publish closed", SpanKind::Producer));
        assert!(producer.is_error);
        producer.assert_attributes([
            ("messaging.system", "redis".into()),
            ("messaging.operation.name", "publish".into()),
            ("messaging.operation.type", "send".into()),
            ("messaging.destination.name", "closed".into()),
            ("messaging.message.body.size", 4.into()),
            ("error.type", "NOPERM".into()),
        ]);
    }
}

#[tokio::test]
async fn a_publish_that_a_transaction_never_ran_says_so() {
    let deployment = Deployment::start().await;
    let api = deployment.sidecar("api", &[]);
    let mut publisher = api.connect().await;
    let mut other = deployment.direct().await;
    for (command, answer) in [("WATCH k", "OK"), ("MULTI", "OK"), ("PUBLISH discarded x", "QUEUED"), ("DISCARD", "OK")]
    {
        assert_eq!(publisher.call(command).await, Value::Status(answer.into()));
    }
    for (command, answer) in [("WATCH k", "OK"), ("MULTI", "OK"), ("PUBLISH aborted x", "QUEUED")] {
        assert_eq!(publisher.call(command).await, Value::Status(answer.into()));
    }
    assert_eq!(other.call("SET k v").await, Value::Status("OK".into()));
    assert_eq!(publisher.call("EXEC").await, Value::Null);
    drop((publisher, other));
    let spans = deployment.spans([api]).await;
    let aborted = spans.of("api").find(|span| span.name == "publish aborted").expect("a span");
    assert_eq!((aborted.text("error.type"), aborted.receivers()), (Some("not_executed"), None));
    assert!(aborted.is_error);
    assert_eq!(spans.of("api").filter(|span| span.receivers().is_some()).count(), 0, "neither was published");
}

#[tokio::test]
async fn publishes_in_a_transaction_get_their_own_numbers_of_receivers() {
    for protocol in [2, 3] {
        let deployment = Deployment::start().await;
        let api = deployment.sidecar("api", &[]);
        let mut subscriber = deployment.direct().await;
        subscriber.subscribe("SUBSCRIBE a b").await;
        subscriber.subscribe("PSUBSCRIBE b*").await;
        let mut publisher = api.connect().await;
        publisher.call(&format!("HELLO {protocol}")).await;
        for command in ["MULTI", "PUBLISH none x", "SET k v", "PUBLISH a x", "LPUSH k x", "PUBLISH b x"] {
            assert!(matches!(publisher.call(command).await, Value::Status(_)));
        }
        let Value::Array(results) = publisher.call("EXEC").await else { panic!("no array") };
        assert_eq!(results.len(), 5);
        for _ in 0..3 {
            assert_eq!(subscriber.message().await.trailer().0, b"x");
        }
        drop((publisher, subscriber));
        let spans = deployment.spans([api]).await;
        let mut counts: Vec<_> = spans.of("api").map(|span| (span.name.as_str(), span.receivers())).collect();
        counts.sort();
        assert_eq!(counts, [("publish a", Some(1)), ("publish b", Some(2)), ("publish none", Some(0))]);
    }
}

#[tokio::test]
async fn the_relation_may_be_a_link() {
    for transport in BOTH_TRANSPORTS {
        let deployment = Deployment::start().await;
        let api = deployment.sidecar_with("api", &[], transport, &[]);
        let worker = deployment.sidecar_with("worker", &["--relation", "link"], transport, &[]);
        let mut subscriber = worker.connect().await;
        subscriber.subscribe("SUBSCRIBE orders").await;
        let mut publisher = api.connect().await;
        publisher.publish("orders", b"x").await;
        assert_eq!(subscriber.message().await.payload, b"x");
        drop((publisher, subscriber));
        let spans = deployment.spans([api, worker]).await;
        let (producer, consumer) = (spans.only("api"), spans.only("worker"));
        assert!(consumer.is_root());
        assert_ne!(consumer.trace_id, producer.trace_id);
        assert_eq!(consumer.links, [(producer.trace_id.clone(), producer.span_id.clone())]);
    }
}

#[tokio::test]
async fn nearly_every_link_leads_to_a_span_that_was_exported() {
    let deployment = Deployment::start().await;
    let tenth = [("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.3")];
    let api = deployment.sidecar_with("api", &[], BOTH_TRANSPORTS[0], &tenth);
    let worker = deployment.sidecar_with("worker", &["--relation", "link"], BOTH_TRANSPORTS[0], &tenth);
    let mut subscriber = worker.connect().await;
    subscriber.subscribe("SUBSCRIBE orders").await;
    let mut publisher = api.connect().await;
    for _ in 0..100 {
        assert_eq!(publisher.publish("orders", b"x").await, 1);
        subscriber.message().await;
    }
    drop((publisher, subscriber));
    let spans = deployment.spans([api, worker]).await;
    let mut published: Vec<_> = spans.of("api").map(|span| (span.trace_id.clone(), span.span_id.clone())).collect();
    let mut linked: Vec<_> = spans.of("worker").flat_map(|span| span.links.clone()).collect();
    published.sort();
    linked.sort();
    assert_eq!(linked, published);
    assert!((5..70).contains(&linked.len()), "{} of 100", linked.len());
}

#[tokio::test]
async fn a_message_published_again_as_it_was_received_continues_its_trace() {
    let deployment = Deployment::start().await;
    let [api, bridge, worker] = ["api", "bridge", "worker"].map(|service| deployment.sidecar(service, &[]));
    let mut first = deployment.direct().await;
    first.subscribe("SUBSCRIBE in").await;
    let mut last = worker.connect().await;
    last.subscribe("SUBSCRIBE out").await;
    let (mut publisher, mut again) = (api.connect().await, bridge.connect().await);
    publisher.publish("in", b"text").await;
    // A service that subscribes without a sidecar passes on the payload together with the trailer, which it does not
    // know.
    let received = first.message().await;
    assert_eq!(received.trailer().0, b"text");
    again.publish("out", &received.payload).await;
    assert_eq!(last.message().await.payload, b"text", "exactly one trailer was there");
    drop((publisher, again, first, last));
    let spans = deployment.spans([api, bridge, worker]).await;
    let [start, middle, end] = ["api", "bridge", "worker"].map(|service| spans.only(service));
    assert_eq!((&middle.trace_id, &middle.parent), (&start.trace_id, &start.span_id));
    assert_eq!((&end.trace_id, &end.parent), (&start.trace_id, &middle.span_id));
    assert_eq!(middle.body_size(), Some(4));
}

#[tokio::test]
async fn one_resp3_connection_publishes_to_itself() {
    let deployment = Deployment::start().await;
    let service = deployment.sidecar("service", &[]);
    let mut connection = Wire::resp3(service.address).await;
    connection.subscribe("SUBSCRIBE mine").await;
    for number in 0..20_u8 {
        connection.send(&crate::support::wire::request(&[b"PUBLISH", b"mine", &[number]])).await;
        // Versions of Redis differ in which of the two comes first.
        let frames = [connection.read().await, connection.read().await];
        let message = Value::Push(vec![
            Value::Bulk(b"message".to_vec()),
            Value::Bulk(b"mine".to_vec()),
            Value::Bulk(vec![number]),
        ]);
        assert!(frames.contains(&message) && frames.contains(&Value::Integer(1)), "{frames:?}");
    }
    assert_eq!(connection.call("SET k v").await, Value::Status("OK".into()), "it is still an ordinary connection");
    drop(connection);
    let spans = deployment.spans([service]).await;
    assert_eq!(spans.0.len(), 40);
    for producer in spans.of_kind(SpanKind::Producer) {
        assert_eq!(producer.receivers(), Some(1));
        assert_eq!(spans.children(producer).count(), 1);
    }
}

#[tokio::test]
async fn a_publish_without_an_answer_ends_with_its_connection() {
    let deployment = Deployment::start().await;
    let api = deployment.sidecar("api", &[]);
    let mut operator = deployment.direct().await;
    let mut publisher = api.connect().await;
    let Value::Integer(id) = publisher.call("CLIENT ID").await else { panic!("no id") };
    // Commands that write have to wait, and so does PUBLISH.
    assert_eq!(operator.call("CLIENT PAUSE 60000 WRITE").await, Value::Status("OK".into()));
    publisher.send(&crate::support::wire::request(&[b"PUBLISH", b"orders", b"x"])).await;
    let blocked = async {
        let list = format!("CLIENT LIST ID {id}");
        while !matches!(operator.call(&list).await, Value::Bulk(line) if String::from_utf8_lossy(&line).contains("cmd=publish"))
        {
            tokio::time::sleep(crate::e2e::clients::POLL).await;
        }
    };
    crate::support::within("the publish to reach Redis", blocked).await;
    assert_eq!(operator.call(&format!("CLIENT KILL ID {id}")).await, Value::Integer(1));
    publisher.closed().await;
    drop((operator, publisher));
    let spans = deployment.spans([api]).await;
    let producer = spans.only("api");
    assert!(producer.is_error);
    assert_eq!((producer.text("error.type"), producer.receivers()), (Some("connection_closed"), None));
}

#[tokio::test]
async fn messages_that_lua_publishes_arrive_unchanged_and_start_a_trace() {
    let deployment = Deployment::start().await;
    let [api, worker] = ["api", "worker"].map(|service| deployment.sidecar(service, &[]));
    let mut subscriber = worker.connect().await;
    subscriber.subscribe("SUBSCRIBE from-lua").await;
    let mut caller = api.connect().await;
    let script = b"return redis.call('PUBLISH', 'from-lua', ARGV[1])";
    assert_eq!(caller.call_words(&[b"EVAL", script, b"0", b"a\0\r\nb"]).await, Value::Integer(1));
    assert_eq!(subscriber.message().await.payload, b"a\0\r\nb");
    drop((caller, subscriber));
    let spans = deployment.spans([api, worker]).await;
    assert_eq!(spans.0.len(), 1, "a script is no publish");
    let consumer = spans.only("worker");
    assert_eq!(consumer.name, "process from-lua");
    assert!(consumer.is_root() && consumer.links.is_empty());
}

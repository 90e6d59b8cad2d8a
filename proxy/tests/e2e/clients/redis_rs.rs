//! redis-rs. In RESP2 it uses one connection to publish and one to subscribe; in RESP3 it uses one for both.

use redis::aio::{MultiplexedConnection, PubSubSink};
use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind, Value, cmd, from_redis_value};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;

use crate::support::wire::Message;
use crate::support::within;

pub(crate) struct RedisRs {
    connection: MultiplexedConnection,
    subscriber: Subscriber,
    pub(crate) messages: mpsc::UnboundedReceiver<Message>,
    reader: Option<JoinHandle<()>>,
}

enum Subscriber {
    OwnConnection(PubSubSink),
    Shared,
}

impl RedisRs {
    #[expect(clippy::disallowed_methods, reason = "what a client receives is bounded by what the test publishes")]
    pub(crate) async fn resp2(url: &str) -> Self {
        let client = Client::open(url).expect("a URL");
        let connection = within("connecting", client.get_multiplexed_async_connection()).await.expect("a connection");
        let pubsub = within("connecting", client.get_async_pubsub()).await.expect("a connection");
        let (sink, mut stream) = pubsub.split();
        let (sender, messages) = mpsc::unbounded_channel();
        let reader = tokio::spawn(async move {
            while let Some(message) = stream.next().await {
                let _ = sender.send(Message {
                    channel: message.get_channel_name().to_owned(),
                    pattern: message.get_pattern().expect("text"),
                    payload: message.get_payload_bytes().to_vec(),
                });
            }
        });
        Self { connection, subscriber: Subscriber::OwnConnection(sink), messages, reader: Some(reader) }
    }

    #[expect(clippy::disallowed_methods, reason = "what a client receives is bounded by what the test publishes")]
    pub(crate) async fn resp3(url: &str) -> Self {
        let client = Client::open(format!("{url}/?protocol=resp3")).expect("a URL");
        let (sender, messages) = mpsc::unbounded_channel();
        let push = move |push: PushInfo| {
            if let Some(message) = message(push) {
                let _ = sender.send(message);
            }
            Ok::<_, redis::aio::SendError>(())
        };
        let config = AsyncConnectionConfig::new().set_push_sender(push).set_response_timeout(None);
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let connection = within("connecting", connecting).await.expect("a connection");
        Self { connection, subscriber: Subscriber::Shared, messages, reader: None }
    }

    pub(crate) async fn publish(&mut self, command: &str, channel: &str, payload: &[u8]) -> i64 {
        let mut publish = cmd(command);
        publish.arg(channel).arg(payload);
        within("a reply", publish.query_async(&mut self.connection)).await.expect("a number of receivers")
    }

    pub(crate) async fn pipeline(&mut self, channel: &str, count: usize) -> Vec<i64> {
        let mut batch = redis::pipe();
        for number in 0..count {
            batch.publish(channel, number.to_string());
        }
        within("the replies", batch.query_async(&mut self.connection)).await.expect("numbers of receivers")
    }

    pub(crate) async fn transaction(&mut self, channel: &str, payloads: &[&[u8]]) -> Vec<i64> {
        let mut batch = redis::pipe();
        batch.atomic();
        for payload in payloads {
            batch.publish(channel, *payload);
        }
        within("the replies", batch.query_async(&mut self.connection)).await.expect("numbers of receivers")
    }

    pub(crate) async fn subscribe(&mut self, how: &str, name: &str) {
        let confirmed = match (&mut self.subscriber, how) {
            (Subscriber::OwnConnection(sink), "subscribe") => within(how, sink.subscribe(name)).await,
            (Subscriber::OwnConnection(sink), "psubscribe") => within(how, sink.psubscribe(name)).await,
            (Subscriber::OwnConnection(sink), "unsubscribe") => within(how, sink.unsubscribe(name)).await,
            (Subscriber::OwnConnection(_), _) => panic!("redis-rs cannot {how} in RESP2"),
            (Subscriber::Shared, "subscribe") => within(how, self.connection.subscribe(name)).await,
            (Subscriber::Shared, "psubscribe") => within(how, self.connection.psubscribe(name)).await,
            (Subscriber::Shared, "unsubscribe") => within(how, self.connection.unsubscribe(name)).await,
            (Subscriber::Shared, _) => within(how, cmd(how).arg(name).exec_async(&mut self.connection)).await,
        };
        confirmed.expect("a confirmation");
    }

    pub(crate) async fn end(self) {
        let Self { connection, subscriber, mut messages, reader } = self;
        drop((connection, subscriber));
        if let Some(reader) = reader {
            reader.abort();
        }
        // The tasks that own the sockets end once nothing can send them requests. Then they send no more messages.
        while within("the connection to end", messages.recv()).await.is_some() {}
    }
}

fn message(push: PushInfo) -> Option<Message> {
    let text = |value: &Value| from_redis_value::<String>(value.clone()).expect("text");
    let bytes = |value: &Value| from_redis_value::<Vec<u8>>(value.clone()).expect("bytes");
    match (push.kind, &push.data[..]) {
        (PushKind::Message | PushKind::SMessage, [channel, payload]) => {
            Some(Message { channel: text(channel), pattern: None, payload: bytes(payload) })
        }
        (PushKind::PMessage, [pattern, channel, payload]) => {
            Some(Message { channel: text(channel), pattern: Some(text(pattern)), payload: bytes(payload) })
        }
        _ => None,
    }
}

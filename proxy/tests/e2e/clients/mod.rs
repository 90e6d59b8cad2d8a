//! Ordinary Redis clients, each used as its documentation says, without tracing.

mod program;
mod redis_rs;

use std::time::Duration;

use tokio::sync::mpsc;

use crate::support::wire::Message;
use crate::support::within;

pub(crate) use program::{Program, installed, source};
pub(crate) use redis_rs::RedisRs;

/// The clients, each with the protocol versions that it speaks. ioredis 5 supports RESP2 only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    RedisRsResp2,
    RedisRsResp3,
    RedisPyResp2,
    RedisPyResp3,
    Ioredis,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::RedisRsResp2, Self::RedisRsResp3, Self::RedisPyResp2, Self::RedisPyResp3, Self::Ioredis];

    /// The clients that can subscribe to shard channels. redis-rs supports that in RESP3 only.
    pub(crate) const SHARDED: [Self; 4] = [Self::RedisRsResp3, Self::RedisPyResp2, Self::RedisPyResp3, Self::Ioredis];

    /// The service name.
    pub(crate) fn service(self) -> &'static str {
        match self {
            Self::RedisRsResp2 => "redis-rs-resp2",
            Self::RedisRsResp3 => "redis-rs-resp3",
            Self::RedisPyResp2 => "redis-py-resp2",
            Self::RedisPyResp3 => "redis-py-resp3",
            Self::Ioredis => "ioredis",
        }
    }
}

/// A service that publishes and subscribes with one of the clients.
pub(crate) enum Client {
    RedisRs(RedisRs),
    Program(Box<Program>),
}

impl Client {
    pub(crate) async fn start(kind: Kind, url: &str) -> Self {
        match kind {
            Kind::RedisRsResp2 => Self::RedisRs(RedisRs::resp2(url).await),
            Kind::RedisRsResp3 => Self::RedisRs(RedisRs::resp3(url).await),
            Kind::RedisPyResp2 => Self::Program(Box::new(Program::redis_py(url, 2))),
            Kind::RedisPyResp3 => Self::Program(Box::new(Program::redis_py(url, 3))),
            Kind::Ioredis => Self::Program(Box::new(Program::ioredis(url))),
        }
    }

    /// Publishes with `PUBLISH`. Returns the number of receivers, as the following functions do.
    pub(crate) async fn publish(&mut self, channel: &str, payload: &[u8]) -> i64 {
        match self {
            Self::RedisRs(client) => client.publish("PUBLISH", channel, payload).await,
            Self::Program(program) => program.publish("publish", channel, payload).await,
        }
    }

    /// Publishes with `SPUBLISH`.
    pub(crate) async fn spublish(&mut self, channel: &str, payload: &[u8]) -> i64 {
        match self {
            Self::RedisRs(client) => client.publish("SPUBLISH", channel, payload).await,
            Self::Program(program) => program.publish("spublish", channel, payload).await,
        }
    }

    /// Publishes the numbers from 0 in one pipeline.
    pub(crate) async fn pipeline(&mut self, channel: &str, count: usize) -> Vec<i64> {
        match self {
            Self::RedisRs(client) => client.pipeline(channel, count).await,
            Self::Program(program) => program.receivers(&format!("pipeline {channel} {count}")).await,
        }
    }

    /// Publishes in one transaction.
    pub(crate) async fn transaction(&mut self, channel: &str, payloads: &[&[u8]]) -> Vec<i64> {
        match self {
            Self::RedisRs(client) => client.transaction(channel, payloads).await,
            Self::Program(program) => program.transaction(channel, payloads).await,
        }
    }

    /// Calls `subscribe`, `psubscribe`, `ssubscribe` or `unsubscribe`. Returns when the client has received the
    /// confirmation.
    pub(crate) async fn subscribe(&mut self, how: &str, name: &str) {
        match self {
            Self::RedisRs(client) => client.subscribe(how, name).await,
            Self::Program(program) => program.subscribe(how, name).await,
        }
    }

    /// Waits for the next message.
    pub(crate) async fn message(&mut self) -> Message {
        let (who, messages) = match self {
            Self::RedisRs(client) => ("redis-rs", &mut client.messages),
            Self::Program(program) => (program.name, &mut program.messages),
        };
        within(&format!("a message for {who}"), messages.recv()).await.expect("the client still runs")
    }

    /// The next message, if there is one already.
    pub(crate) fn has_message(&mut self) -> bool {
        let messages: &mpsc::UnboundedReceiver<Message> = match self {
            Self::RedisRs(client) => &client.messages,
            Self::Program(program) => &program.messages,
        };
        !messages.is_empty()
    }

    /// Ends the client and its connections.
    pub(crate) async fn end(self) {
        match self {
            Self::RedisRs(client) => client.end().await,
            Self::Program(program) => program.end().await,
        }
    }
}

/// The time between two checks of a condition that can only be polled.
pub(crate) const POLL: Duration = Duration::from_millis(5);

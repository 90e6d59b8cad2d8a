//! axum, and a worker with a task for each message; redis-rs with one multiplexed connection and one for the subscription.

use std::collections::HashMap;
use std::env;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use redis::FromRedisValue;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_stream::StreamExt;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Response = (StatusCode, Json<Value>);

/// The mark of what nothing has caused. README.md describes the marks.
const NOTHING: &str = "\x1e0\x1e";

#[derive(Clone)]
struct Service {
    connection: MultiplexedConnection,
    pause: f64,
    waiting: Arc<Mutex<HashMap<String, oneshot::Sender<(i64, String)>>>>,
    last: Arc<Mutex<Option<i64>>>,
}

fn random() -> Result<u64, Error> {
    Ok(getrandom::u64().map_err(std::io::Error::from)?)
}

/// Text without marks, and the marks.
fn unmarked(text: &str) -> (&str, &str) {
    text.split_at(text.find('\x1e').unwrap_or(text.len()))
}

fn mark_of(headers: &HeaderMap) -> Result<String, Error> {
    let parent = headers.get("traceparent").ok_or("no traceparent")?.to_str()?;
    Ok(format!("\x1er{}\x1e", parent.split('-').nth(2).ok_or("no span")?))
}

impl Service {
    async fn call<T: FromRedisValue>(&self, words: &[&str]) -> Result<T, Error> {
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(*word);
        });
        Ok(command.query_async(&mut self.connection.clone()).await?)
    }

    async fn json(&self, key: &str) -> Result<Value, Error> {
        let text: Option<String> = self.call(&["GET", key]).await?;
        Ok(text.map(|text| serde_json::from_str(&text)).transpose()?.unwrap_or_default())
    }

    async fn work(&self) -> Result<(), Error> {
        let share = (random()? >> 11) as f64 / (1_u64 << 53) as f64;
        tokio::time::sleep(Duration::from_secs_f64(share * self.pause)).await;
        Ok(())
    }

    async fn create(&self, mark: &str, body: &Value) -> Result<Response, Error> {
        let user_name = body["user"].as_str().ok_or("no user")?;
        let number: i64 = self.call(&["INCR", &format!("orders:seq{mark}")]).await?;
        self.work().await?;
        let user = self.json(&format!("user:{user_name}{mark}")).await?;
        self.work().await?;
        let order = json!({"order": number, "user": user_name, "items": body["items"], "city": user["city"]});
        let _: () = self.call(&["SET", &format!("order:{number}{mark}"), &order.to_string(), "EX", "600"]).await?;
        let count = body["items"].as_array().map_or(0, Vec::len);
        let message = json!({"order": number, "user": user_name, "count": count}).to_string();
        let _: i64 = self.call(&["PUBLISH", "orders", &(message + mark)]).await?;
        let key = format!("stats:orders{mark}");
        let mut transaction = redis::pipe();
        transaction.atomic().hincr(&key, "created", 1).ignore().expire(&key, 3600).ignore();
        let () = transaction.query_async(&mut self.connection.clone()).await?;
        Ok((StatusCode::CREATED, Json(json!({"order": number}))))
    }

    async fn show(&self, mark: &str, number: &str) -> Result<Response, Error> {
        let order = self.json(&format!("order:{number}{mark}")).await?;
        self.work().await?;
        let Some(user) = order["user"].as_str() else {
            return Ok((StatusCode::NOT_FOUND, Json(json!({"error": "unknown"}))));
        };
        let user = self.json(&format!("user:{user}{mark}")).await?;
        Ok((StatusCode::OK, Json(json!({"order": order, "user": user}))))
    }

    async fn total(&self, mark: &str, body: &Value) -> Result<Response, Error> {
        let id = format!("{:016x}{:016x}", random()?, random()?);
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().map_err(|_| "poisoned")?.insert(id.clone(), sender);
        let message = json!({"id": id, "data": body}).to_string();
        let _: i64 = self.call(&["PUBLISH", "sum", &(message + mark)]).await?;
        let (result, mark_of_answer) = answer.await?;
        let _: () = self.call(&["SET", &format!("total:{result}{mark}{mark_of_answer}"), "1", "EX", "60"]).await?;
        let _: i64 = self.call(&["INCR", &format!("totals{mark}{mark_of_answer}")]).await?;
        Ok((StatusCode::OK, Json(json!({"total": result}))))
    }

    fn answered(&self, message: &Value, mark: &str) -> Result<(), Error> {
        let id = message["id"].as_str().ok_or("no id")?;
        let waiting = self.waiting.lock().map_err(|_| "poisoned")?.remove(id);
        if let Some(sender) = waiting {
            // Who waited may have gone.
            let _ = sender.send((message["total"].as_i64().ok_or("no total")?, mark.to_owned()));
        }
        Ok(())
    }

    async fn order_taken(&self, message: &Value, mark: &str) -> Result<(), Error> {
        let number = message["order"].as_i64().ok_or("no order")?;
        let order = self.json(&format!("order:{number}{mark}")).await?;
        self.work().await?;
        let invoice = json!({"city": order["city"]}).to_string();
        let _: () = self.call(&["SET", &format!("order:{number}:invoice{mark}"), &invoice, "EX", "600"]).await?;
        let done = json!({"order": number, "kind": "invoice"}).to_string();
        let _: i64 = self.call(&["PUBLISH", "orders.done", &(done + mark)]).await?;
        *self.last.lock().map_err(|_| "poisoned")? = Some(number);
        Ok(())
    }

    async fn sum_wanted(&self, message: &Value, mark: &str) -> Result<(), Error> {
        let kind = message["data"]["kind"].as_str().ok_or("no kind")?;
        self.work().await?;
        let rate: i64 = self.call(&["GET", &format!("rate:{kind}{mark}")]).await?;
        self.work().await?;
        let numbers = message["data"]["numbers"].as_array().ok_or("no numbers")?;
        let result = numbers.iter().filter_map(Value::as_i64).sum::<i64>() * rate;
        let answer = json!({"id": message["id"], "total": result}).to_string();
        Ok(self.call(&["PUBLISH", "sum.reply", &(answer + mark)]).await?)
    }

    async fn heartbeat(&self) -> Result<(), Error> {
        loop {
            let milliseconds = 98.0 + 4.0 * (random()? >> 11) as f64 / (1_u64 << 53) as f64;
            tokio::time::sleep(Duration::from_secs_f64(milliseconds / 1000.0)).await;
            let at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis().to_string();
            let last = *self.last.lock().map_err(|_| "poisoned")?;
            let _: () = self.call(&["SETEX", &format!("health:worker{NOTHING}"), "5", &at]).await?;
            let health = json!({"last": last, "at": at}).to_string();
            let _: i64 = self.call(&["PUBLISH", "health", &(health + NOTHING)]).await?;
        }
    }

    async fn handle(&self, channel: &str, payload: &str) -> Result<(), Error> {
        let (body, mark) = unmarked(payload);
        let message = serde_json::from_str(body)?;
        match channel {
            "orders" => self.order_taken(&message, mark).await,
            "sum" => self.sum_wanted(&message, mark).await,
            _ => self.answered(&message, mark),
        }
    }

    async fn listen(&self, client: &redis::Client, channels: &[&str]) -> Result<(), Error> {
        let mut subscription = client.get_async_pubsub().await?;
        subscription.subscribe(channels).await?;
        let mut messages = subscription.into_on_message();
        while let Some(message) = messages.next().await {
            let service = self.clone();
            let (channel, payload) = (message.get_channel_name().to_owned(), message.get_payload::<String>()?);
            tokio::spawn(async move { service.handle(&channel, &payload).await.unwrap() });
        }
        Ok(())
    }

    async fn serve(self) -> Result<(), Error> {
        let create = |State(service): State<Self>, headers: HeaderMap, Json(body): Json<Value>| async move {
            service.create(&mark_of(&headers).unwrap(), &body).await.unwrap()
        };
        let show = |State(service): State<Self>, headers: HeaderMap, Path(number): Path<String>| async move {
            service.show(&mark_of(&headers).unwrap(), &number).await.unwrap()
        };
        let total = |State(service): State<Self>, headers: HeaderMap, Json(body): Json<Value>| async move {
            service.total(&mark_of(&headers).unwrap(), &body).await.unwrap()
        };
        let router = Router::new().route("/orders", post(create)).route("/orders/{number}", get(show));
        let router = router.route("/sum", post(total)).with_state(self);
        let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{}", env::var("PORT")?)).await?;
        Ok(axum::serve(listener, router).await?)
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let client = redis::Client::open(env::var("REDIS_URL")?)?;
    // A reply may take long on a machine that is busy.
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(60)));
    let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    let pause = env::var("PAUSE")?.parse()?;
    let service = Service { connection, pause, waiting: Arc::default(), last: Arc::default() };
    if env::var("ROLE")? == "worker" {
        tokio::try_join!(service.heartbeat(), service.listen(&client, &["orders", "sum"]))?;
    } else {
        tokio::try_join!(service.clone().serve(), service.listen(&client, &["sum.reply"]))?;
    }
    Ok(())
}

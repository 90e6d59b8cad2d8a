//! What the upstream is: a Redis, another redistributed, or, by a detour, this proxy itself.
//!
//! Asked at the start, when a connection has been made after some could not be, and when clients come so fast that a circle
//! could be the reason. What is asked, and how it is told, is written in [`hop`](crate::net::hop).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::RedisEndpoint;
use crate::entropy::Entropy;
use crate::net::hop::{ANSWER, Nature, Neighbour, Questions};
use crate::net::stream::Stream;
use crate::net::upstream::Dialer;
use crate::settings::Upstream;

/// The time that an answer may take. A proxy answers at once, and Redis when it is not busy.
const PATIENCE: Duration = Duration::from_secs(2);

/// The shortest time between two questions.
const BETWEEN_QUESTIONS: Duration = Duration::from_millis(200);

/// The time between two questions while the upstream leads back.
const BETWEEN_CIRCLES: Duration = Duration::from_secs(5);

/// The number of clients between two questions, within [`BURST_PERIOD`], that a circle could be the reason for.
const BURST: u32 = 200;

/// The time in which so many clients count.
const BURST_PERIOD: Duration = Duration::from_secs(1);

/// The clients of a short time.
#[derive(Debug, Default)]
pub(super) struct Burst(AtomicU32);

impl Burst {
    /// Counts a client. Returns whether there have been too many.
    pub(super) fn count(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) == BURST
    }

    /// Forgets the clients, once a period, for as long as the future is polled.
    async fn forget(&self) {
        loop {
            sleep(BURST_PERIOD).await;
            self.0.store(0, Ordering::Relaxed);
        }
    }
}

/// Keeps up what is known of the endpoint's upstream, for as long as the future is polled. Tells `circles` of it if the first
/// answer is that it leads back.
pub(super) async fn run(endpoint: Arc<RedisEndpoint>, mut ids: Entropy, circles: mpsc::Sender<Upstream>) {
    tokio::select! {
        () = endpoint.burst.forget() => {}
        () = keep_asking(&endpoint, &mut ids, &circles) => {}
    }
}

async fn keep_asking(endpoint: &RedisEndpoint, ids: &mut Entropy, circles: &mpsc::Sender<Upstream>) {
    let Some(neighbour) = endpoint.dialer.neighbour() else { return };
    let mut is_first = true;
    loop {
        let began = Instant::now();
        let before = neighbour.known();
        let found = ask(&endpoint.dialer, neighbour, &endpoint.questions, ids).await;
        neighbour.set(found);
        report(endpoint, before, found);
        if found == Nature::Circle {
            if is_first {
                // It may have been told of another.
                let _ = circles.try_send(endpoint.dialer.upstream().clone());
            }
            sleep(BETWEEN_CIRCLES).await;
        } else {
            neighbour.wanted().await;
            sleep_until(began + BETWEEN_QUESTIONS).await;
        }
        is_first = false;
    }
}

fn report(endpoint: &RedisEndpoint, before: Nature, found: Nature) {
    let upstream = endpoint.dialer.upstream();
    tracing::debug!(%upstream, ?found, "the upstream was asked what it is");
    match (before, found) {
        (Nature::Circle, Nature::Circle) => {}
        (_, Nature::Circle) => tracing::error!(
            %upstream,
            "the upstream leads back to this proxy, so that each connection would make more without end: clients are refused; \
             name the Redis itself as upstream"
        ),
        (Nature::Circle, _) => {
            tracing::warn!(%upstream, "the upstream leads back to this proxy no more; clients are served")
        }
        (_, Nature::Proxy) if before != Nature::Proxy => tracing::info!(
            %upstream,
            "the upstream is another redistributed: it leaves the messages of this proxy's clients to this proxy"
        ),
        _ => {}
    }
}

/// Asks the question once.
async fn ask(dialer: &Dialer, neighbour: &Neighbour, questions: &Questions, ids: &mut Entropy) -> Nature {
    let question = questions.open(ids);
    let conversation = async {
        let Ok(mut stream) = dialer.within(PATIENCE).connect().await else { return Nature::Unknown };
        answer(&mut stream, &question.command(), neighbour).await
    };
    tokio::select! {
        biased;
        () = question.came_back() => Nature::Circle,
        // What is known by then, which may be that it is a proxy.
        found = timeout(PATIENCE, conversation) => found.unwrap_or_else(|_| match neighbour.known() {
            Nature::Circle => Nature::Unknown,
            known => known,
        }),
    }
}

/// Sends the question, and waits for the end's answer, so that the question has had the time to come back.
async fn answer(stream: &mut Stream, question: &[u8], neighbour: &Neighbour) -> Nature {
    let mut found = Nature::Unknown;
    if stream.write_all(question).await.is_err() || stream.flush().await.is_err() {
        return found;
    }
    let mut heard = Vec::with_capacity(256);
    while let Ok(1..) = stream.read_buf(&mut heard).await {
        // A further proxy behind the first answers, too.
        while let Some(rest) = heard.strip_prefix(ANSWER) {
            heard = rest.to_vec();
            found = Nature::Proxy;
            if neighbour.known() == Nature::Unknown {
                neighbour.set(found);
            }
        }
        if !ANSWER.starts_with(&heard) {
            return if found == Nature::Proxy { found } else { Nature::Redis };
        }
    }
    found
}

/// Asks a question as at the start, to tell an operator what the upstream is.
pub async fn nature_of(dialer: &Dialer, ids: &mut Entropy) -> Nature {
    ask(dialer, &Neighbour::default(), &Questions::default(), ids).await
}

//! Changes as they happen, by server-sent events ("Server-sent events" of the HTML standard).
//!
//! An event is made when the browser has taken the one before it, and tells all that has changed since. So a page that is slow gets
//! fewer events, and none are stored for it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Receivers, answers};
use crate::body::{Answer, respond};
use crate::store::Store;

/// The least time between two events.
const PACE: Duration = Duration::from_millis(250);

/// The time after which something is sent if nothing has changed, so that both sides see whether the other is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The number of transactions in one event.
const MOST: usize = 200;

/// Tells what changes, from the sequence `since` on, or from now on. The first event comes at once. `place` is given back when
/// the page
/// has gone.
pub(super) fn answer(
    store: Arc<Store>,
    receivers: Receivers,
    since: Option<u64>,
    place: OwnedSemaphorePermit,
) -> Answer {
    let changes = store.watch();
    let now = store.changes_since(u64::MAX, 0).sequence;
    // A sequence that is not reached was of a process before this one.
    let since = match since {
        Some(since) if since > now => 0,
        Some(since) => since,
        None => now,
    };
    let teller = Teller { store, receivers, changes, since, next: Instant::now(), is_first: true, _place: place };
    respond(StatusCode::OK, "text/event-stream", Events(Box::pin(teller.event())).boxed_unsync())
}

/// What one page is told from.
struct Teller {
    store: Arc<Store>,
    receivers: Receivers,
    changes: watch::Receiver<u64>,
    /// The sequence that the page knows.
    since: u64,
    /// When the next event may be sent.
    next: Instant,
    is_first: bool,
    _place: OwnedSemaphorePermit,
}

impl Teller {
    /// Waits for something to tell.
    async fn event(mut self) -> (Self, Bytes) {
        sleep_until(self.next).await;
        let since = self.since;
        // The sender lives as long as the store.
        let is_late = !self.is_first && timeout(KEEP_ALIVE, self.changes.wait_for(|now| *now > since)).await.is_err();
        if is_late {
            return (self, Bytes::from_static(b": keep-alive\n\n"));
        }
        let changes = self.store.changes_since(self.since, MOST);
        let mut data = json!({
            "transactions": changes.transactions.iter().map(answers::summary).collect::<Value>(),
            "kept": answers::kept(changes.kept, self.receivers),
        });
        if let Some(data) = data.as_object_mut().filter(|_| changes.is_cut) {
            data.insert("more".to_owned(), true.into());
        }
        let event = format!("id: {}\nevent: changed\ndata: {data}\n\n", changes.sequence);
        (self.since, self.next, self.is_first) = (changes.sequence, Instant::now() + PACE, false);
        (self, event.into())
    }
}

/// The body of the answer.
struct Events(Pin<Box<dyn Future<Output = (Teller, Bytes)> + Send>>);

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let (teller, event) = std::task::ready!(self.0.as_mut().poll(cx));
        self.0 = Box::pin(teller.event());
        Poll::Ready(Some(Ok(Frame::data(event))))
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    async fn next(answer: &mut Answer) -> String {
        let frame = answer.body_mut().frame().await.unwrap().unwrap();
        String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_is_told_at_once_then_of_changes_and_kept_alive() {
        let (store, places) = (Arc::new(Store::new(1 << 20)), Arc::new(Semaphore::new(1)));
        let place = Arc::clone(&places).try_acquire_owned().unwrap();
        let mut answer = answer(Arc::clone(&store), Receivers::default(), None, place);
        assert!(next(&mut answer).await.starts_with("id: 0\nevent: changed\ndata: {"));
        let before = Instant::now();
        assert_eq!(next(&mut answer).await, ": keep-alive\n\n");
        assert_eq!(before.elapsed(), PACE + KEEP_ALIVE);
        crate::store::fill(&store, 3);
        let event = next(&mut answer).await;
        assert!(event.starts_with("id: 3\n") && !event.contains("\"more\""), "{event}");
        let before = Instant::now();
        crate::store::fill(&store, MOST + 1);
        let event = next(&mut answer).await;
        assert!(event.starts_with(&format!("id: {}\n", MOST + 1)), "only those that are new: {event}");
        assert_eq!(before.elapsed(), PACE);
        drop(answer);
        assert_eq!(places.available_permits(), 1);
    }
}

//! The relay: two streams with a mediator between them.
//!
//! A [`Mediator`] is a protocol's part of a connection; [`Link`] is that of Redis, and stands for the session here. One task carries
//! both directions, so the session needs no lock. A `Flow` is one direction: it reads into a buffer that the
//! connections of a thread share, asks the session what to send, and sends it. Only bytes that the other side does not take at
//! once are copied, and that direction reads nothing more until they have been taken: so a slow reader slows the writer down as
//! it would without the proxy, and an idle connection owns no buffer.
//!
//! A connection ends in one of these ways:
//! - One side shuts its direction (half-close): what was held back is sent, then the other side's direction is shut too. The
//!   other direction goes on, so the replies to a client that has shut its side still arrive.
//! - The client is gone: what it had sent is still handed to Redis, then both connections are closed. A Redis that is silent
//!   is not waited for.
//! - Redis is gone: what it had sent is still handed to the client. When the client's system has taken it, the client's
//!   connection is reset, as the system of a Redis that is gone would do it. Until then what the client sends is read and
//!   dropped, because the reset that unread bytes cause would make the kernel discard what is still on its way.
//!
//! This module does not dial, does not read the settings and does not look into the bytes, except for the first ones of a client,
//! which may be what another proxy says.

mod ending;
mod flow;
mod held;
mod link;
mod mediator;
mod pace;
mod scratch;
mod spans;
mod warnings;
mod write;

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use redistributed_core::{Output, Side};
use tokio::time::Instant;

use crate::error::RelayError;
use crate::net::peer::Peer;
use ending::{Look, Looks};
use flow::Flow;
pub use link::Link;
pub use mediator::Mediator;
use pace::{Pace, Traffic};
pub use spans::Spans;

/// Carries bytes between `client` and `server` until both sides are done. Dropping the future ends the connection at
/// once, and its open spans with it. `user_timeout` is that of both sockets.
///
/// # Errors
/// The first error of either stream. By then, everything that could still be handed over has been.
pub fn relay<C: Peer, S: Peer, M: Mediator>(
    client: C,
    server: S,
    mediator: M,
    user_timeout: Option<Duration>,
) -> impl Future<Output = Result<(), RelayError>> {
    let mut relay = Relay {
        client,
        server,
        mediator,
        up: Flow::new(Side::Client),
        down: Flow::new(Side::Server),
        limit: None,
        looks: Looks::default(),
        is_probed: false,
        pace: Pace::new(user_timeout),
        error: None,
    };
    // Not an async function: it would keep its arguments beside what was made of them.
    poll_fn(move |cx| relay.poll(cx))
}

struct Relay<C, S, M: Mediator> {
    client: C,
    server: S,
    mediator: M,
    /// The direction from the client to Redis.
    up: Flow,
    /// The direction from Redis to the client.
    down: Flow,
    /// When the connection ends at the latest. It is set once nothing more can reach the client.
    limit: Option<Instant>,
    looks: Looks,
    /// Whether the system probes the client's connection, which has sent its last byte.
    is_probed: bool,
    pace: Pace,
    error: Option<RelayError>,
}

impl<C: Peer, S: Peer, M: Mediator> Relay<C, S, M> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RelayError>> {
        // An error in one direction can give the other one work to do, so both are looked at until neither fails.
        // Each flow fails at most once for reading and once for writing.
        loop {
            let up = self.up.poll(cx, &mut self.client, &mut self.server, &mut self.mediator);
            if let Some(answer) = self.mediator.take_answer() {
                self.down.say(answer);
            }
            let down = self.down.poll(cx, &mut self.server, &mut self.client, &mut self.mediator);
            self.poll_pace(cx);
            if self.poll_leave(cx) {
                continue;
            }
            let look = match (up, down) {
                (Poll::Ready(Err(error)), down) => {
                    self.break_off(error);
                    if let Poll::Ready(Err(error)) = down {
                        self.break_off(error);
                    }
                    Look::GoOn
                }
                (_, Poll::Ready(Err(error))) => {
                    self.break_off(error);
                    Look::GoOn
                }
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Look::Over,
                (_, Poll::Ready(Ok(()))) => ready!(self.poll_last_words(cx)),
                (_, Poll::Pending) => ready!(self.poll_wait(cx)),
            };
            if matches!(look, Look::Over) {
                return Poll::Ready(self.error.take().map_or(Ok(()), Err));
            }
        }
    }
}

impl<C: Peer, S: Peer, M: Mediator> Relay<C, S, M> {
    /// Ends both directions if nothing is asked and the process stops. Returns whether it has done so now.
    fn poll_leave(&mut self, cx: &mut Context<'_>) -> bool {
        let leaves = !self.down.has_ended()
            && !self.up.has_unsent()
            && !self.down.has_unsent()
            && self.mediator.wants_to_leave(cx);
        if leaves {
            self.up.source_ended(&mut self.mediator);
            self.down.source_ended(&mut self.mediator);
        }
        leaves
    }

    /// Extends the time of a side that takes nothing, as long as it is there.
    fn poll_pace(&mut self, cx: &mut Context<'_>) {
        let is_wanted = self.up.has_received() || self.down.has_received() || self.pace.is_owed();
        let Some(limit) = self.pace.poll_due(cx, is_wanted) else { return };
        let (from_client, from_server) = (self.up.take_received(), self.down.take_received());
        let client = Traffic { sent: from_server, heard: from_client, stalled: self.down.has_unsent() };
        let server = Traffic { sent: from_client, heard: from_server, stalled: self.up.has_unsent() };
        self.pace.look(limit, (&self.client, client), (&self.server, server));
        if self.pace.is_owed() {
            // Begins to wait for the next look.
            self.pace.poll_due(cx, true);
        }
    }
}

/// However the connection ends, by itself or because the process stops, no span stays open.
impl<C, S, M: Mediator> Drop for Relay<C, S, M> {
    fn drop(&mut self) {
        // Before the connection to Redis is closed.
        self.mediator.ended();
        self.down.abandon(&self.mediator);
        let mut out = Output::default();
        self.mediator.close(&mut out);
        self.mediator.spans().hand_over(&mut out.events);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;

    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

    use super::ending::{BROKEN_LIMIT, HALF_CLOSED_LIMIT};
    use std::sync::Arc;

    use super::*;
    use crate::entropy::Entropy;
    use crate::error::Party;
    use crate::live_policy::LivePolicy;
    use crate::net::peer::Backlog;
    use crate::telemetry::test_sink;

    fn link() -> Link {
        Link::new(&LivePolicy::new(Arc::default()), Entropy::from_os().unwrap(), test_sink().0, Arc::default())
    }

    /// A connection to Redis that says something and then fails.
    struct Failing(&'static [u8]);

    impl AsyncRead for Failing {
        fn poll_read(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            match std::mem::take(&mut self.0) {
                b"" => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                last_words => {
                    buf.put_slice(last_words);
                    Poll::Ready(Ok(()))
                }
            }
        }
    }

    impl AsyncWrite for Failing {
        fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, _bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// A stream of which nothing is known but its bytes.
    trait Plain: AsyncRead + AsyncWrite + Unpin {}

    impl Plain for DuplexStream {}
    impl Plain for Failing {}

    impl<T: Plain> Peer for T {
        fn is_broken(&self) -> bool {
            false
        }

        fn has_left(&self) -> Option<bool> {
            None
        }

        fn backlog(&self) -> Option<Backlog> {
            None
        }

        fn set_user_timeout(&self, _: Duration) {}

        fn probe(&self) {}

        fn close_by_reset(&self) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_closes_is_closed_a_while_after_redis_has() {
        let ((client, mut far_client), (server, far_server)) = (duplex(64), duplex(64));
        let started = Instant::now();
        let relaying = tokio::spawn(relay(client, server, link(), None));
        drop(far_server);
        assert_eq!(far_client.read(&mut [0; 1]).await.unwrap(), 0);
        relaying.await.unwrap().unwrap();
        assert!(started.elapsed() >= HALF_CLOSED_LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_words_of_a_redis_that_fails_are_handed_over_and_the_client_has_a_moment() {
        let (client, mut far_client) = duplex(64);
        let started = Instant::now();
        let relaying = tokio::spawn(relay(client, Failing(b"-ERR last words\r\n"), link(), None));
        let mut got = Vec::new();
        far_client.write_all(b"PING\r\n").await.unwrap();
        far_client.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"-ERR last words\r\n");
        let error = relaying.await.unwrap().unwrap_err();
        assert!(error.is_hang_up() && error.party == Party::Server, "{error}");
        assert!((BROKEN_LIMIT..HALF_CLOSED_LIMIT).contains(&started.elapsed()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_stays_open() {
        let ((client, far_client), (server, _far_server)) = (duplex(64), duplex(64));
        let relaying = relay(client, server, link(), None);
        assert!(tokio::time::timeout(Duration::from_secs(100_000), relaying).await.is_err());
        drop(far_client);
    }
}

//! Patience with a side that is there and takes nothing.
//!
//! `TCP_USER_TIMEOUT` ends a connection on which nothing is acknowledged. Linux also lets it end one whose other side
//! acknowledges every probe and has no room, because its process does not read: a subscriber that is busy with a message for
//! a minute, a Redis that is stopped. Redis and its clients wait for such a peer, and so must the proxy. So a side that takes
//! nothing is looked at, and as long as it answers, its time is extended.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::net::peer::Peer;

/// The longest time between two looks.
const LONGEST_PERIOD: Duration = Duration::from_secs(5);

/// The patience with both sides of a connection.
pub(super) struct Pace {
    /// The time that sent bytes may wait for their acknowledgement; `None` if the system decides.
    limit: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    client: Side,
    server: Side,
}

/// What one side has been sent.
#[derive(Default)]
struct Side {
    /// Since when it has been seen to take nothing.
    behind_since: Option<Instant>,
    /// Whether it has to be looked at again.
    is_owed: bool,
}

/// What has happened on a hop since the last look.
#[derive(Clone, Copy)]
pub(super) struct Traffic {
    /// Whether bytes were sent to the side.
    pub(super) sent: bool,
    /// Whether the side has sent bytes, so that it is there and at work.
    pub(super) heard: bool,
    /// Whether the side does not take what it is sent.
    pub(super) stalled: bool,
}

impl Pace {
    pub(super) fn new(limit: Option<Duration>) -> Self {
        Self { limit, timer: None, client: Side::default(), server: Side::default() }
    }

    /// Returns the limit if a look is due. The time until then begins when one is wanted, and wakes the task when it is over.
    pub(super) fn poll_due(&mut self, cx: &mut Context<'_>, is_wanted: bool) -> Option<Duration> {
        let limit = self.limit?;
        if self.timer.is_none() && !is_wanted {
            return None;
        }
        let period = (limit / 4).min(LONGEST_PERIOD);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + period)));
        match timer.as_mut().poll(cx) {
            Poll::Pending => None,
            Poll::Ready(()) => {
                self.timer = None;
                Some(limit)
            }
        }
    }

    /// Looks at both sides.
    pub(super) fn look(&mut self, limit: Duration, client: (&impl Peer, Traffic), server: (&impl Peer, Traffic)) {
        self.client.look(limit, client.0, client.1);
        self.server.look(limit, server.0, server.1);
    }

    /// Whether a side has to be looked at again, though nothing more is sent to it.
    pub(super) fn is_owed(&self) -> bool {
        self.client.is_owed || self.server.is_owed
    }
}

impl Side {
    fn look(&mut self, limit: Duration, peer: &impl Peer, traffic: Traffic) {
        let is_one_sided = traffic.sent && !traffic.heard;
        if !(self.is_owed || is_one_sided || traffic.stalled) {
            return;
        }
        let Some(backlog) = peer.backlog() else { return };
        self.is_owed = backlog.untaken > 0;
        if !self.is_owed {
            if self.behind_since.take().is_some() {
                peer.set_user_timeout(limit);
            }
            return;
        }
        if backlog.lacks_room && backlog.since_acknowledgement < limit {
            let now = Instant::now();
            let since = *self.behind_since.get_or_insert_with(|| now.checked_sub(limit / 2).unwrap_or(now));
            peer.set_user_timeout(limit + (now - since));
        }
    }
}

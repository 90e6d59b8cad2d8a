//! How a connection ends that does not end by itself: who has left, who is gone, and how long anything is waited for.
//!
//! While bytes move, nothing here is asked. A connection is looked at when one side has ended or does not take what it is sent:
//! a moment later, then less and less often, down to once a second.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::Relay;
use super::mediator::Mediator;
use crate::error::{IoOperation, Party, RelayError};
use crate::net::peer::Peer;

/// How long a client may keep its side open after Redis has closed and all replies have been handed over. Linux grants as much to a
/// socket in FIN-WAIT-2 that its owner has closed, as Redis does.
pub(super) const HALF_CLOSED_LIMIT: Duration = Duration::from_secs(60);

/// The same after an error, when no party is left that would take what the client sends.
pub(super) const BROKEN_LIMIT: Duration = Duration::from_secs(1);

/// How long Redis may be silent towards a client that has left, or that has shut its side and waits for nothing. Redis itself
/// closes such a connection as soon as it reads.
pub(super) const LEFT_LIMIT: Duration = Duration::from_secs(2);

/// How long Redis may take nothing of what is still to be sent to it for a client that has left.
pub(super) const UNTAKEN_LIMIT: Duration = Duration::from_secs(5);

/// The first pause where an answer is on its way: the reset by which the system of a Redis that is gone answers, or the
/// acknowledgement of a client's.
const ROUND_TRIP: Duration = Duration::from_millis(1);

/// The first pause where nothing may come for long.
const WAIT: Duration = Duration::from_millis(250);

const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// When a connection is looked at.
#[derive(Default)]
pub(super) struct Looks {
    timer: Option<Pin<Box<Sleep>>>,
    pause: Duration,
    /// Since when nothing has moved, as far as has been looked.
    still_since: Option<Instant>,
}

impl Looks {
    /// Whether no look is due.
    fn are_over(&self) -> bool {
        self.timer.is_none()
    }

    /// Plans no look. The next one, if there is any, begins with short pauses.
    fn stop(&mut self) {
        *self = Self::default();
    }

    /// Takes note whether anything has moved since the last look. Returns for how long nothing has.
    fn still_for(&mut self, moved: bool) -> Duration {
        let now = Instant::now();
        match self.still_since {
            Some(since) if !moved => now - since,
            _ => {
                self.still_since = Some(now);
                Duration::ZERO
            }
        }
    }

    /// Ready when the next look is due. The first is after the pause `first`.
    fn poll_next(&mut self, cx: &mut Context<'_>, first: Duration) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| {
            self.pause = first;
            Box::pin(sleep_until(Instant::now() + first))
        });
        ready!(timer.as_mut().poll(cx));
        self.pause = (2 * self.pause).min(LONGEST_PAUSE);
        timer.as_mut().reset(Instant::now() + self.pause);
        Poll::Ready(())
    }
}

/// What comes of a look.
pub(super) enum Look {
    /// The connection is over.
    Over,
    /// The flows have something to do.
    GoOn,
}

impl<C: Peer, S: Peer, M: Mediator> Relay<C, S, M> {
    pub(super) fn break_off(&mut self, error: RelayError) {
        self.mediator.ended();
        self.mediator.broken(error.party);
        match (error.party, error.operation) {
            (Party::Client, IoOperation::Read) => {
                self.up.source_ended(&mut self.mediator);
                self.down.abandon(&self.mediator);
            }
            (Party::Client, _) => self.down.abandon(&self.mediator),
            (_, IoOperation::Read) => {
                self.down.source_ended(&mut self.mediator);
                self.up.discard(&self.mediator);
            }
            (_, _) => self.up.discard(&self.mediator),
        }
        // Whatever time ran was for a connection that was still whole.
        self.limit = None;
        self.looks.stop();
        self.error.get_or_insert(error);
    }

    /// Waits for a client that has been sent everything, and has not shut its own direction. Its connection ends as soon as it is
    /// known that Redis takes nothing any more and that all of its last words have arrived.
    pub(super) fn poll_last_words(&mut self, cx: &mut Context<'_>) -> Poll<Look> {
        if self.up.take_moved() {
            // Redis answers by a reset if nobody is there to read it.
            self.looks.stop();
        }
        loop {
            let is_refused = self.error.as_ref().is_some_and(|error| error.party == Party::Server);
            if is_refused && self.client.backlog().is_some_and(|backlog| backlog.untaken == 0) {
                // As the system does for a Redis that is gone.
                self.client.close_by_reset();
                return Poll::Ready(Look::Over);
            }
            if self.error.is_none() && self.server.is_broken() {
                self.break_off(reset(Party::Server));
                return Poll::Ready(Look::GoOn);
            }
            let limit = if self.error.is_some() { BROKEN_LIMIT } else { HALF_CLOSED_LIMIT };
            if Instant::now() >= *self.limit.get_or_insert_with(|| Instant::now() + limit) {
                return Poll::Ready(Look::Over);
            }
            ready!(self.looks.poll_next(cx, ROUND_TRIP));
        }
    }

    /// Waits for Redis, and sees whether the client still does.
    pub(super) fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<Look> {
        if !self.up.is_waiting() && self.looks.are_over() {
            return Poll::Pending;
        }
        loop {
            ready!(self.looks.poll_next(cx, WAIT));
            let moved = self.up.take_moved() | self.down.take_moved();
            let still_for = self.looks.still_for(moved);
            if !self.up.is_waiting() {
                self.looks.stop();
                return Poll::Pending;
            }
            if self.client.is_broken() {
                self.break_off(reset(Party::Client));
                return Poll::Ready(Look::GoOn);
            }
            let has_ended = self.up.has_ended();
            if has_ended && !std::mem::replace(&mut self.is_probed, true) {
                self.client.probe();
            }
            let limit = if self.up.has_unsent() { UNTAKEN_LIMIT } else { LEFT_LIMIT };
            if still_for < limit {
                continue;
            }
            let waits_for_nothing = has_ended && !self.down.has_unsent() && !self.mediator.owes_reply();
            if waits_for_nothing || self.client.has_left() == Some(true) {
                return Poll::Ready(Look::Over);
            }
        }
    }
}

fn reset(party: Party) -> RelayError {
    RelayError { party, operation: IoOperation::Read, source: io::ErrorKind::ConnectionReset.into() }
}

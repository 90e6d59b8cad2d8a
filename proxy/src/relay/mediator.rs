//! What stands between the two streams of a relay, and decides what is sent on.

use std::task::Context;

use redistributed_core::{Output, Side};

use super::spans::Spans;
use crate::error::Party;

/// A protocol's part of a connection: it is given what either side sends, and says what goes to the other.
///
/// The relay knows no protocol. It asks this for each read, and carries out the answer.
pub trait Mediator {
    /// Takes from what a client sends what is meant for the proxy itself. Returns what is left for the server.
    fn greet<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        input
    }

    /// Takes what the proxy itself has to tell the client, if there is anything.
    fn take_answer(&mut self) -> Option<&'static [u8]> {
        None
    }

    /// Takes what came from `side`. The bytes of the answer are left in `out` to be sent, and its spans to be handed over once that
    /// is done.
    fn receive(&mut self, side: Side, input: &[u8], out: &mut Output);

    /// Takes note that `side` will send no more.
    fn end_of_stream(&mut self, side: Side, out: &mut Output);

    /// Whether the server may still have to answer something.
    fn owes_reply(&self) -> bool;

    /// Ends what is open. Nothing is sent any more.
    fn close(&mut self, out: &mut Output);

    /// Takes note that the connection to `party` has failed.
    fn broken(&mut self, _party: Party) {}

    /// Whether the connection is to end now because nothing is asked on it and the process stops. Wakes the task when that may
    /// change. The relay asks only while it holds nothing that is still to be sent.
    fn wants_to_leave(&mut self, _cx: &mut Context<'_>) -> bool {
        false
    }

    /// Takes note that the connection is over or about to be.
    fn ended(&self) {}

    /// Takes note whether the client leaves what the server has sent, so that nothing more is read from the server.
    fn stalled(&self, _stalled: bool) {}

    /// Takes note whether other connections have their turn although the server may have sent more.
    fn behind(&self, _behind: bool) {}

    /// The place where the connection's spans go.
    fn spans(&self) -> &Spans;
}

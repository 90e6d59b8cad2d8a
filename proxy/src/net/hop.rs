//! Proxies in a row, and proxies in a circle.
//!
//! The upstream of a proxy may be another redistributed, such as one that many services share. Then only one of the two may deal
//! with a message: if the inner one removed the contexts, the outer one would deliver without knowing where a message comes
//! from. And a proxy whose upstream leads back to itself makes connections to itself without end. Two messages tell:
//!
//! - **The question**, on a connection of the proxy's own: `PING redistributed:hop:` and a number that is used once. Redis answers
//!   with the text, or says that it wants a password. A redistributed that reads it as the first command of a connection answers
//!   `+redistributed:1` and passes the question on. A proxy that reads its own question is in a circle.
//! - **The announcement**, at the beginning of a service's connection, only to an upstream that has answered the question as a
//!   redistributed: `*-1919251059`. The inner proxy takes it, and leaves everything on this connection to the outer one. To a Redis
//!   it is a command without words, which has no answer and no effect; so it does no harm if the upstream has been replaced since.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redistributed_core::trace::{Ids, TraceId};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::entropy::Entropy;

/// The announcement of a proxy on a service's connection.
pub const ANNOUNCEMENT: &[u8] = b"*-1919251059\r\n";

/// The answer of a proxy to the question.
pub const ANSWER: &[u8] = b"+redistributed:1\r\n";

/// What a client is told by a proxy that is in a circle.
pub const REFUSAL: &[u8] =
    b"-ERR redistributed: the upstream of this proxy leads back to the proxy; its log says more\r\n";

/// The question up to its number, which has 32 hexadecimal digits.
const QUESTION: &[u8] = b"*2\r\n$4\r\nPING\r\n$50\r\nredistributed:hop:";

/// As many first bytes as hold an announcement and a question.
pub const LONGEST_GREETING: usize = ANNOUNCEMENT.len() + QUESTION.len() + DIGITS + 2;

/// The length of the number, in digits.
const DIGITS: usize = 32;

/// How long a service's connection waits for the answer to a question that is open.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is known of the upstream of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// Nothing: it has not been reached, or not since it was away.
    Unknown,
    /// It is no redistributed, so probably a Redis.
    Redis,
    /// It is another redistributed.
    Proxy,
    /// It leads back to this proxy.
    Circle,
}

/// The upstream of one endpoint, as the endpoint's connections see it.
#[derive(Debug)]
pub struct Neighbour {
    known: watch::Sender<Nature>,
    wanted: Notify,
}

impl Default for Neighbour {
    fn default() -> Self {
        Self { known: watch::Sender::new(Nature::Unknown), wanted: Notify::new() }
    }
}

impl Neighbour {
    /// What the upstream has turned out to be, as far as it is known.
    pub fn known(&self) -> Nature {
        *self.known.borrow()
    }

    /// Records an answer.
    pub fn set(&self, found: Nature) {
        self.known.send_replace(found);
    }

    /// Takes note that the upstream could not be reached: what answers next may be something else.
    pub fn lost(&self) {
        self.known.send_if_modified(|known| {
            let was_known = matches!(known, Nature::Redis | Nature::Proxy);
            if was_known {
                *known = Nature::Unknown;
            }
            was_known
        });
    }

    /// Asks for an answer, even if there is one.
    pub fn ask(&self) {
        self.wanted.notify_one();
    }

    /// Completes when an answer has been asked for.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Whether the upstream is another redistributed. Asks if that is not known, and does not wait long.
    pub async fn is_proxy(&self) -> bool {
        if self.known() == Nature::Unknown {
            self.ask();
            let mut known = self.known.subscribe();
            let answered = known.wait_for(|known| *known != Nature::Unknown);
            let _ = timeout(PATIENCE, answered).await;
        }
        self.known() == Nature::Proxy
    }
}

/// The questions of this process that are open, for its listeners to recognise.
#[derive(Clone, Debug, Default)]
pub struct Questions {
    open: Arc<Mutex<Vec<Open>>>,
}

#[derive(Debug)]
struct Open {
    number: TraceId,
    came_back: CancellationToken,
}

/// An open question. It is closed when this is dropped.
#[derive(Debug)]
pub struct Question {
    questions: Questions,
    number: TraceId,
    came_back: CancellationToken,
}

impl Questions {
    /// Opens a question with a number from `ids`.
    pub fn open(&self, ids: &mut Entropy) -> Question {
        let question =
            Question { questions: self.clone(), number: ids.trace_id(), came_back: CancellationToken::new() };
        self.lock().push(Open { number: question.number, came_back: question.came_back.clone() });
        question
    }

    /// Whether the first bytes of a client's connection are a question, of this process or another. If it is of this process, its
    /// [`Question`] learns that it has come back.
    pub fn recognise(&self, first_bytes: &[u8]) -> bool {
        // Another proxy on the way has announced itself.
        let first_bytes = first_bytes.strip_prefix(ANNOUNCEMENT).unwrap_or(first_bytes);
        let Some(digits) = first_bytes.strip_prefix(QUESTION).and_then(|rest| rest.get(..DIGITS)) else { return false };
        for open in self.lock().iter() {
            if open.number.to_string().as_bytes() == digits {
                open.came_back.cancel();
            }
        }
        true
    }

    /// A panic elsewhere does not make the list wrong.
    fn lock(&self) -> MutexGuard<'_, Vec<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Question {
    /// The command to send.
    pub fn command(&self) -> Vec<u8> {
        let number = self.number.to_string();
        [QUESTION, number.as_bytes(), b"\r\n"].concat()
    }

    /// Completes when a listener of this process has read the question.
    pub async fn came_back(&self) {
        self.came_back.cancelled().await;
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.questions.lock().retain(|open| open.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_is_recognised_and_one_of_this_process_is_told_that_it_came_back() {
        let (ours, theirs) = (Questions::default(), Questions::default());
        let mut ids = Entropy::from_os().unwrap();
        let (first, second) = (ours.open(&mut ids), ours.open(&mut ids));
        let foreign = theirs.open(&mut ids);
        assert!(ours.recognise(&foreign.command()) && ours.recognise(&second.command()));
        second.came_back().await;
        assert!(!first.came_back.is_cancelled() && !foreign.came_back.is_cancelled());
        let command = first.command();
        drop(first);
        assert!(ours.recognise(&command), "it is a question still, and nobody's");
        for len in 0..command.len() - 2 {
            assert!(!ours.recognise(&command[..len]));
        }
        assert!(ours.recognise(&[ANNOUNCEMENT, &command].concat()));
        assert!(!ours.recognise(b"*2\r\n$4\r\nPING\r\n$2\r\nhi\r\n"));
    }

    #[test]
    fn the_length_that_the_question_states_is_its_length() {
        let command = Questions::default().open(&mut Entropy::from_os().unwrap()).command();
        let text = String::from_utf8(command).unwrap();
        assert_eq!(text.split("\r\n").nth(4).map(str::len), Some(50));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_waits_for_an_answer_that_is_on_its_way_and_not_for_long() {
        let neighbour = Neighbour::default();
        assert!(!neighbour.is_proxy().await, "nobody has answered");
        neighbour.wanted().await;
        let (is_proxy, ()) = tokio::join!(neighbour.is_proxy(), async {
            neighbour.wanted().await;
            neighbour.set(Nature::Proxy);
        });
        assert!(is_proxy);
        neighbour.lost();
        assert_eq!(neighbour.known(), Nature::Unknown);
        neighbour.set(Nature::Circle);
        neighbour.lost();
        assert_eq!(neighbour.known(), Nature::Circle, "only an answer ends that");
    }
}

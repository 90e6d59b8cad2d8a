//! A connection of the proxy's own: authentication, requests and their replies, time limits.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::frames::Frames;
use super::{ProtocolError, Refusal, Reply};
use crate::error::RelayError;
use crate::net::hang_up::HangUp;
use crate::net::stream::Stream;
use crate::net::upstream::Dialer;
use crate::settings::credentials::Credentials;

/// The reason why Redis could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection could be made.
    #[error(transparent)]
    Connect(#[from] RelayError),
    /// The connection failed during a request.
    #[error("the connection to Redis broke: {0}")]
    Broken(#[from] io::Error),
    /// Redis closed the connection.
    #[error("Redis has closed the connection")]
    Closed,
    /// Redis did not reply within the limit.
    #[error("no reply from Redis within {0:?}")]
    Late(Duration),
    /// The server is not Redis, or breaks the protocol.
    #[error("this is not Redis, or not as expected: {0}")]
    Protocol(#[from] ProtocolError),
    /// Redis rejected the credentials. Only the error's code is kept: the text may repeat what was sent.
    #[error("Redis does not accept the proxy's credentials ({0})")]
    Credentials(String),
    /// Redis rejected the database: it is out of range, or an ACL forbids it.
    #[error("Redis does not give database {database} ({code}), so services cannot be logged in")]
    Database {
        /// The database's number.
        database: u32,
        /// The first word of Redis's error.
        code: String,
    },
    /// Redis takes no connection: it has as many as it may, or accepts only those from its own machine.
    #[error("Redis takes no connection: {0}")]
    AtTheDoor(&'static str),
    /// Redis answered with an error.
    #[error("Redis refuses: {0}")]
    Refused(#[from] Refusal),
}

/// Commands that are sent together.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    bytes: Vec<u8>,
    count: usize,
}

impl Requests {
    /// Begins a pipeline without commands.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a command, given by its name and its arguments.
    pub fn push<'a>(&mut self, words: impl IntoIterator<Item = &'a [u8], IntoIter: ExactSizeIterator>) -> &mut Self {
        let words = words.into_iter();
        self.bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            self.bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            self.bytes.extend_from_slice(word);
            self.bytes.extend_from_slice(b"\r\n");
        }
        self.count += 1;
        self
    }

    /// Adds a command whose words hold no spaces, as in `CLIENT ID`.
    pub fn line(&mut self, words: &str) -> &mut Self {
        let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        self.push(words)
    }

    /// The number of commands in the pipeline.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no commands.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// A connection of the proxy's own. It cannot be used after an error other than [`Error::Refused`], or after a call that was
/// dropped before its end: replies would be taken for those of other commands.
pub struct Connection {
    stream: Stream,
    frames: Frames,
    limit: Duration,
}

impl Connection {
    /// Connects, and authenticates if `credentials` are given. Each later call may take as long as `limit`.
    ///
    /// # Errors
    /// No connection can be made, or Redis rejects the credentials.
    pub async fn open(dialer: &Dialer, credentials: Option<&Credentials>, limit: Duration) -> Result<Self, Error> {
        let stream = dialer.connect().await?;
        let mut connection = Self { stream, frames: Frames::new(), limit };
        if let Some(Credentials { username, password }) = credentials {
            let words = [Some("AUTH"), username.as_deref(), Some(password.reveal())];
            let words: Vec<&[u8]> = words.into_iter().flatten().map(str::as_bytes).collect();
            match connection.call(&words).await {
                Err(Error::Refused(refusal)) => return Err(Error::Credentials(refusal.code().to_owned())),
                answer => answer?,
            };
        }
        Ok(connection)
    }

    /// Selects the database that `dialer` selects for services, if it selects one, to find out whether Redis allows it.
    ///
    /// # Errors
    /// [`Error::Database`] if Redis refuses, unless a script keeps it busy for the moment.
    pub async fn select_as_for_services(&mut self, dialer: &Dialer) -> Result<(), Error> {
        let Some(database @ 1..) = dialer.logs_clients_in() else { return Ok(()) };
        match self.call(&[b"SELECT", database.to_string().as_bytes()]).await {
            Err(Error::Refused(refusal)) if refusal.code() == "BUSY" => Ok(()),
            Err(Error::Refused(refusal)) => Err(Error::Database { database, code: refusal.code().to_owned() }),
            answer => answer.map(drop),
        }
    }

    /// The address of the server; `None` on a Unix socket.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.stream.peer()
    }

    /// A way to ask whether Redis has hung up, for somebody who does not use the connection.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn hang_up(&self) -> io::Result<HangUp> {
        HangUp::of(&self.stream)
    }

    /// Sends one command and waits for its reply.
    ///
    /// # Errors
    /// [`Error::Refused`] if Redis answers with an error; the connection stays usable then. After another error it is not, such as
    /// [`Error::AtTheDoor`], which may come in place of the first reply.
    pub async fn call(&mut self, words: &[&[u8]]) -> Result<Reply, Error> {
        let mut requests = Requests::new();
        requests.push(words.iter().copied());
        let reply = self.pipeline(&requests).await?.pop_front().unwrap_or(Reply::Null);
        Ok(reply.accepted()?)
    }

    /// Sends several commands together and waits for their replies, which come in order. Errors of Redis are among the replies.
    ///
    /// # Errors
    /// The connection has become unusable.
    pub async fn pipeline(&mut self, requests: &Requests) -> Result<VecDeque<Reply>, Error> {
        in_time(self.limit, async {
            let sent = send(&mut self.stream, requests).await;
            let mut replies = VecDeque::with_capacity(requests.len());
            while replies.len() < requests.len() {
                match receive(&mut self.stream, &mut self.frames).await {
                    // A Redis that closes at once may have said why before.
                    Ok(reply) => {
                        if let Reply::Error(refusal) = &reply
                            && let Some(said) = refusal.at_the_door()
                            && replies.is_empty()
                        {
                            return Err(Error::AtTheDoor(said));
                        }
                        replies.push_back(reply);
                    }
                    Err(error) => return Err(sent.err().unwrap_or(error)),
                }
            }
            Ok(replies)
        })
        .await
    }

    /// Sends the commands of a subscriber. Their replies come from [`next`](Self::next), among messages.
    ///
    /// # Errors
    /// The connection has become unusable.
    pub async fn send(&mut self, requests: &Requests) -> Result<(), Error> {
        in_time(self.limit, send(&mut self.stream, requests)).await
    }

    /// Waits for the next reply or message, without a limit. Cancel safe.
    ///
    /// # Errors
    /// The connection has become unusable.
    pub async fn next(&mut self) -> Result<Reply, Error> {
        receive(&mut self.stream, &mut self.frames).await
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("limit", &self.limit).finish_non_exhaustive()
    }
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(limit, work).await.unwrap_or(Err(Error::Late(limit)))
}

async fn send(stream: &mut Stream, requests: &Requests) -> Result<(), Error> {
    stream.write_all(&requests.bytes).await?;
    Ok(stream.flush().await?)
}

async fn receive(stream: &mut Stream, frames: &mut Frames) -> Result<Reply, Error> {
    loop {
        if let Some(reply) = frames.next()? {
            return Ok(reply);
        }
        if stream.read_buf(frames.buffer()).await? == 0 {
            return Err(Error::Closed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_its_words_with_their_lengths() {
        let mut requests = Requests::new();
        requests.line("CLIENT ID").push([&b"GET"[..], b"a b\r\n"]);
        assert_eq!(requests.bytes, b"*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n*2\r\n$3\r\nGET\r\n$5\r\na b\r\n\r\n");
        assert_eq!(requests.len(), 2);
    }
}

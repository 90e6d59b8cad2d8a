//! `AUTH` and `SELECT`, sent by the proxy on a connection before a client gets it.
//!
//! Exactly their replies are read from the connection, so that the first byte that the client sees answers the client.
//! `SELECT` is sent after `AUTH` has been answered: Redis 8.2 may drop the reply to a rejected `AUTH` if another command
//! follows it.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::settings::credentials::Credentials;

/// The longest reply that is read, in bytes. Redis's longest here has about 150.
const MAX_REPLY: usize = 4096;

/// Longest first word of an error that is taken for its code, in bytes.
const MAX_CODE_LEN: usize = 32;

/// The reason why a login failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoginError {
    /// The connection failed.
    #[error(transparent)]
    Broken(#[from] io::Error),
    /// Redis answered with an error.
    #[error("Redis refused {command}")]
    Refused {
        /// The name of the command.
        command: &'static str,
        /// Redis's error line, with its CRLF.
        line: Vec<u8>,
    },
}

/// Sends `AUTH` if there are credentials, and `SELECT` if the database is not 0, and waits for the replies.
///
/// # Errors
/// Redis answered with an error or closed the connection, or the server is not Redis.
pub(super) async fn login<S>(stream: &mut S, credentials: Option<&Credentials>, database: u32) -> Result<(), LoginError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let Some(Credentials { username, password }) = credentials {
        let words = [Some("AUTH"), username.as_deref(), Some(password.reveal())];
        call(stream, "AUTH", words.into_iter().flatten()).await?;
    }
    if database != 0 {
        call(stream, "SELECT", ["SELECT", &database.to_string()].into_iter()).await?;
    }
    Ok(())
}

async fn call<'a, S>(
    stream: &mut S,
    command: &'static str,
    words: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), LoginError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = format!("*{}\r\n", words.clone().count());
    for word in words {
        request += &format!("${}\r\n{word}\r\n", word.len());
    }
    let sent = async {
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await
    }
    .await;
    // A Redis that closes at once may have said why before.
    let line = line(stream).await.map_err(|error| sent.err().unwrap_or(error))?;
    match line.first() {
        Some(b'+') => Ok(()),
        Some(b'-') => Err(LoginError::Refused { command, line }),
        _ => Err(not_redis().into()),
    }
}

/// Reads one line with its CRLF. Nothing may follow it, because nothing else was asked.
async fn line<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Vec<u8>> {
    let mut line = Vec::with_capacity(256);
    while !line.ends_with(b"\r\n") {
        if line.contains(&b'\n') || line.len() >= MAX_REPLY {
            return Err(not_redis());
        }
        if stream.read_buf(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    if line.iter().filter(|&&byte| byte == b'\n').count() > 1 {
        return Err(not_redis());
    }
    Ok(line)
}

/// What Redis says at its door, before it has read anything of a connection that it will not serve. None of it is about
/// credentials, though it may come in place of a reply to `AUTH`.
const AT_THE_DOOR: [(&[u8], &str); 4] = [
    (b"ERR max number of clients reached", "ERR max number of clients reached"),
    (
        b"ERR max number of clients + cluster connections reached",
        "ERR max number of clients + cluster connections reached",
    ),
    (b"DENIED Redis is running in protected mode", "DENIED Redis is running in protected mode"),
    // Valkey
    (b"DENIED Running in protected mode", "DENIED Running in protected mode"),
];

/// The words of Redis, if an error reply is what it says at its door. `line` is without the `-`. The words are the program's own
/// copy, so they can be shown whatever was sent.
pub fn refusal_at_the_door(line: &[u8]) -> Option<&'static str> {
    AT_THE_DOOR.iter().find(|(begin, _)| line.starts_with(begin)).map(|(_, words)| *words)
}

/// The first word of an error reply, such as `NOPERM`: all of it that may be shown if the command held secrets. A word that is
/// not in capitals, as Redis's codes are, may have been taken from the command; then this is `an error`.
pub fn error_code(line: &[u8]) -> String {
    let word = line.split(|&byte| byte == b' ' || byte == b'\r').next().unwrap_or_default();
    let plain = word.len() <= MAX_CODE_LEN && word.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_');
    if plain { String::from_utf8_lossy(word).into_owned() } else { "an error".to_owned() }
}

fn not_redis() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what answers AUTH or SELECT is not Redis")
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    fn orders() -> Credentials {
        Credentials { username: Some("orders".into()), password: "pass word".into() }
    }

    /// What is sent to a server that answers so, and what comes of it.
    async fn conversation(
        credentials: Option<Credentials>,
        database: u32,
        answers: &[&str],
    ) -> (String, Result<(), LoginError>) {
        let (mut near, mut far) = duplex(4096);
        let logging_in = tokio::spawn(async move { login(&mut near, credentials.as_ref(), database).await });
        let mut sent = Vec::new();
        for answer in answers {
            far.read_buf(&mut sent).await.unwrap();
            far.write_all(answer.as_bytes()).await.unwrap();
        }
        far.shutdown().await.unwrap();
        far.read_to_end(&mut sent).await.unwrap();
        (String::from_utf8(sent).unwrap(), logging_in.await.unwrap())
    }

    #[tokio::test]
    async fn each_command_is_sent_when_the_one_before_was_answered() {
        let (sent, result) = conversation(Some(orders()), 3, &["+OK\r\n", "+OK\r\n"]).await;
        result.unwrap();
        assert_eq!(sent, "*3\r\n$4\r\nAUTH\r\n$6\r\norders\r\n$9\r\npass word\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n");
        let (sent, result) = conversation(Some(Credentials { username: None, ..orders() }), 0, &["+OK\r\n"]).await;
        result.unwrap();
        assert_eq!(sent, "*2\r\n$4\r\nAUTH\r\n$9\r\npass word\r\n");
        let (sent, result) = conversation(None, 0, &[]).await;
        result.unwrap();
        assert_eq!(sent, "");
    }

    #[tokio::test]
    async fn a_refusal_is_kept_as_redis_wrote_it() {
        let (sent, result) = conversation(Some(orders()), 3, &["-WRONGPASS invalid\r\n"]).await;
        let Err(LoginError::Refused { command: "AUTH", line }) = result else { panic!("{result:?}") };
        assert_eq!(line, b"-WRONGPASS invalid\r\n");
        assert!(!sent.contains("SELECT"), "nothing more was sent");
    }

    #[tokio::test]
    async fn what_is_no_reply_to_it_is_an_error() {
        let endless = "-".repeat(MAX_REPLY);
        for answer in ["", ":1\r\n", "HTTP/1.1 400 Bad Request\r\n", "+OK\r\n+OK\r\n", "+OK\n", &endless] {
            let (_, result) = conversation(Some(orders()), 0, &[answer]).await;
            assert!(matches!(result, Err(LoginError::Broken(_))), "{answer:?}: {result:?}");
        }
    }
}

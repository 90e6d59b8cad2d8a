//! A client connection on which tests see every byte, to Redis directly or through a sidecar.

use std::io::BufRead;
use std::net::SocketAddr;

use redistributed_core::carrier::trailer;
use redistributed_core::trace::Context;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::{Duplex, connect, within};

/// A client that speaks RESP by hand.
pub(crate) struct Wire {
    stream: BufReader<Box<dyn Duplex>>,
}

/// A RESP value, in as much detail as these tests need.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Status(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    /// An aggregate of any kind.
    Array(Vec<Value>),
    Push(Vec<Value>),
    /// The first line of a value of any other kind.
    Other(String),
}

impl Value {
    /// All values in `bytes`, the last of which must be complete.
    pub(crate) fn all(mut bytes: &[u8]) -> Vec<Self> {
        let mut values = Vec::new();
        while !bytes.is_empty() {
            values.push(parse(&mut bytes));
        }
        values
    }
}

/// A message to a subscriber.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    pub(crate) channel: String,
    pub(crate) pattern: Option<String>,
    pub(crate) payload: Vec<u8>,
}

impl Message {
    /// Splits the payload from its trailer. Fails if there is none.
    #[track_caller]
    pub(crate) fn trailer(&self) -> (&[u8], Context) {
        let found = trailer::find(&self.payload).expect("a trailer");
        (&self.payload[..found.range.start], found.context.expect("a context of a known version"))
    }
}

/// A request as an array of bulk strings.
pub(crate) fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

impl Wire {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        let stream = connect(address).await;
        stream.set_nodelay(true).expect("a live socket");
        Self::over(stream)
    }

    /// A client on a connection that was opened in another way.
    pub(crate) fn over(stream: impl Duplex + 'static) -> Self {
        Self { stream: BufReader::new(Box::new(stream)) }
    }

    /// Connects and switches to RESP3.
    pub(crate) async fn resp3(address: SocketAddr) -> Self {
        let mut wire = Self::to(address).await;
        assert!(matches!(wire.call("HELLO 3").await, Value::Array(_)));
        wire
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        within("sending", self.stream.write_all(bytes)).await.expect("the peer takes the bytes");
    }

    /// Sends `bytes` as far as the peer accepts them; it may have closed the connection.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) {
        let _ = within("sending", self.stream.write_all(bytes)).await;
    }

    /// Sends a command whose words contain no spaces, and returns the reply.
    pub(crate) async fn call(&mut self, command: &str) -> Value {
        let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        self.call_words(&words).await
    }

    pub(crate) async fn call_words(&mut self, words: &[&[u8]]) -> Value {
        self.send(&request(words)).await;
        self.read().await
    }

    /// Publishes, and returns the number of receivers.
    pub(crate) async fn publish(&mut self, channel: &str, payload: &[u8]) -> i64 {
        match self.call_words(&[b"PUBLISH", channel.as_bytes(), payload]).await {
            Value::Integer(receivers) => receivers,
            other => panic!("PUBLISH was answered by {other:?}"),
        }
    }

    /// Sends a command of the SUBSCRIBE family, and reads the confirmation for each name.
    pub(crate) async fn subscribe(&mut self, command: &str) {
        let names = command.split(' ').skip(1).count();
        let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        self.send(&request(&words)).await;
        for _ in 0..names {
            let confirmation = self.read().await;
            assert!(
                matches!(&confirmation, Value::Array(frame) | Value::Push(frame) if frame.len() == 3),
                "{command} was answered by {confirmation:?}"
            );
        }
    }

    /// Reads the next frame, which must be a message.
    pub(crate) async fn message(&mut self) -> Message {
        let frame = self.read().await;
        let (Value::Array(parts) | Value::Push(parts)) = &frame else { panic!("{frame:?} is no message") };
        let parts: Vec<&[u8]> = parts
            .iter()
            .map(|part| match part {
                Value::Bulk(bytes) => &bytes[..],
                other => panic!("{other:?} in a message"),
            })
            .collect();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("a name in UTF-8");
        match parts[..] {
            [b"message" | b"smessage", channel, payload] => {
                Message { channel: text(channel), pattern: None, payload: payload.to_vec() }
            }
            [b"pmessage", pattern, channel, payload] => {
                Message { channel: text(channel), pattern: Some(text(pattern)), payload: payload.to_vec() }
            }
            _ => panic!("{frame:?} is no message"),
        }
    }

    /// Reads the next frame.
    pub(crate) async fn read(&mut self) -> Value {
        let frame = self.frame().await;
        let mut rest = &frame[..];
        let value = parse(&mut rest);
        assert!(rest.is_empty());
        value
    }

    /// Reads the next frame, and returns its bytes.
    pub(crate) async fn frame(&mut self) -> Vec<u8> {
        let mut frame = Vec::new();
        let mut owed = 1_i64;
        while owed > 0 {
            let start = frame.len();
            within("a line", self.stream.read_until(b'\n', &mut frame)).await.expect("the stream goes on");
            assert!(frame.ends_with(b"\r\n"), "the stream ended after {:?}", frame.escape_ascii().to_string());
            let kind = frame[start];
            let number =
                std::str::from_utf8(&frame[start + 1..frame.len() - 2]).ok().and_then(|text| text.parse().ok());
            owed -= 1;
            match (kind, number.unwrap_or(-1)) {
                (b'$' | b'=' | b'!', len @ 0..) => {
                    let start = frame.len();
                    frame.resize(start + usize::try_from(len).expect("a length") + 2, 0);
                    within("a body", self.stream.read_exact(&mut frame[start..])).await.expect("the stream goes on");
                }
                (b'*' | b'~' | b'>', count @ 0..) => owed += count,
                (b'%', count @ 0..) => owed += 2 * count,
                (b'|', count @ 0..) => owed += 2 * count + 1,
                _ => {}
            }
        }
        frame
    }

    /// Reads up to and including `mark`. Returns the bytes, and whether `mark` came before the end of the stream.
    pub(crate) async fn until(&mut self, mark: &[u8]) -> (Vec<u8>, bool) {
        let mut received = Vec::new();
        loop {
            let searched = received.len().saturating_sub(mark.len());
            let buffered = match within("bytes", self.stream.fill_buf()).await {
                Ok([]) | Err(_) => return (received, false),
                Ok(buffered) => buffered.len(),
            };
            received.extend_from_slice(self.stream.buffer());
            if let Some(at) = position(&received[searched..], mark) {
                let end = searched + at + mark.len();
                self.stream.consume(buffered - (received.len() - end));
                received.truncate(end);
                return (received, true);
            }
            self.stream.consume(buffered);
        }
    }

    /// Reads until the other side closes.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset counts as the end too.
        let _ = within("the end of the stream", self.stream.read_to_end(&mut rest)).await;
        rest
    }

    /// Half-closes, and reads until the other side closes.
    pub(crate) async fn finish(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // Redis may have closed already without reading everything. Then there is nothing to shut down or to read.
        let _ = within("shutting down", self.stream.shutdown()).await;
        let _ = within("the end of the stream", self.stream.read_to_end(&mut rest)).await;
        rest
    }

    /// Waits for the other side to close.
    pub(crate) async fn closed(&mut self) {
        let read = within("the end of the stream", self.stream.read(&mut [0; 1])).await;
        assert!(matches!(read, Ok(0) | Err(_)), "more bytes came");
    }
}

/// Where `searched` is in `bytes`. It looks for the last byte with a function of the standard library, which is optimised in
/// a debug build too: a closure for each byte of a megabyte would take most of a test's time.
fn position(bytes: &[u8], searched: &[u8]) -> Option<usize> {
    let last = *searched.last().expect("something to search for");
    let (mut end, mut rest) = (0, bytes);
    while !rest.is_empty() {
        end += rest.skip_until(last).expect("a slice can be read");
        if bytes[..end].ends_with(searched) {
            return Some(end - searched.len());
        }
    }
    None
}

/// Splits one value from `rest`, which must contain it completely.
fn parse(rest: &mut &[u8]) -> Value {
    let line = line(rest);
    let (kind, text) = line.split_at(1);
    let text = String::from_utf8_lossy(text).into_owned();
    let number = text.parse::<i64>().ok();
    match (kind[0], number) {
        (b'+', _) => Value::Status(text),
        (b'-', _) => Value::Error(text),
        (b':', Some(number)) => Value::Integer(number),
        (b'_', _) | (b'$' | b'*', Some(-1)) => Value::Null,
        (b'$' | b'=', Some(len)) => {
            let (body, after) = rest.split_at(usize::try_from(len).expect("a length"));
            *rest = &after[2..];
            Value::Bulk(body.to_vec())
        }
        (b'*' | b'~', Some(count)) => Value::Array((0..count).map(|_| parse(rest)).collect()),
        (b'>', Some(count)) => Value::Push((0..count).map(|_| parse(rest)).collect()),
        (b'%', Some(count)) => Value::Array((0..2 * count).map(|_| parse(rest)).collect()),
        _ => Value::Other(String::from_utf8_lossy(line).into_owned()),
    }
}

fn line<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let len = position(rest, b"\r\n").expect("a whole frame");
    let (line, after) = rest.split_at(len);
    *rest = &after[2..];
    line
}

//! Saturation over HTTP/2: on each connection so many streams at a time, each of which asks again when it has its response.
//!
//! It writes and reads frames itself, which takes less of the machine than a library would. Headers are sent without
//! compression. Of a response's headers only the status is read, which every encoder writes as one byte; of its content every byte.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::closed_loop::Ran;
use super::connection::{Connection, Moved};
use super::http::{HOST, path};
use super::poller::Poller;
use super::{READ, STALLED_AFTER};
use crate::failure::Failure;
use crate::stats::Latencies;
use crate::web;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

/// Flags: the last frame of a stream, or an acknowledgement; the end of headers; padding and a priority in front.
const END: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;

const FRAME_HEAD: usize = 9;

/// The largest flow-control window, in bytes (RFC 9113, section 6.9.1).
const WINDOW: u32 = (1 << 31) - 1;

/// The window that a connection has at its beginning.
const FIRST_WINDOW: u32 = 65_535;

/// A connection's window is filled again after so many bytes.
const REFILL: u32 = 1 << 30;

/// `:status: 200` in HPACK's static table.
const STATUS_200: u8 = 0x88;

pub(crate) struct Streams {
    clients: Vec<Client>,
    poller: Poller,
    buffer: Vec<u8>,
    body: Vec<u8>,
    request: Vec<u8>,
}

struct Client {
    connection: Connection,
    unsent: Vec<u8>,
    /// What has come of a frame that is not complete.
    partial: Vec<u8>,
    next: u32,
    streams: usize,
    open: Vec<Stream>,
    /// Bytes of content since the window was filled.
    consumed: u32,
}

struct Stream {
    id: u32,
    has_status: bool,
    received: usize,
    started: Instant,
}

impl Streams {
    /// Connects `connections` clients, each of which keeps `streams` requests for bodies of `size` bytes under way.
    pub(crate) fn connect(
        address: SocketAddr,
        connections: usize,
        streams: usize,
        size: usize,
    ) -> Result<Self, Failure> {
        let poller = Poller::new()?;
        let clients = (0..connections).map(|index| {
            let connection = Connection::open(address)?;
            connection.stop_blocking()?;
            poller.add(&connection, index)?;
            Ok(Client {
                connection,
                unsent: opening(),
                partial: Vec::new(),
                next: 1,
                streams,
                open: Vec::new(),
                consumed: 0,
            })
        });
        let clients = clients.collect::<Result<_, Failure>>()?;
        let (body, request) = (web::body(size), header_block(&path(size)));
        Ok(Self { clients, poller, buffer: vec![0; READ], body, request })
    }

    /// Runs for `duration`, and then until the requests under way have their responses.
    ///
    /// # Errors
    /// A status other than 200, the first byte of content that differs, a reset or closed connection, or silence.
    pub(crate) fn run(&mut self, duration: Duration) -> Result<Ran, Failure> {
        let begin = Instant::now();
        let mut ran = Ran { operations: 0, elapsed: duration, latencies: Latencies::default() };
        for client in &mut self.clients {
            (0..client.streams).for_each(|_| client.ask(&self.request));
            client.send()?;
        }
        let mut ready = Vec::new();
        while self.clients.iter().any(|client| !client.open.is_empty()) {
            self.poller.wait(STALLED_AFTER, &mut ready)?;
            if ready.is_empty() {
                return Err(Failure::Stalled { what: "responses over HTTP/2".to_owned(), waited: STALLED_AFTER });
            }
            for &index in &ready {
                let client = &mut self.clients[index];
                let mut done = Vec::new();
                client.receive(&mut self.buffer, &self.body, &mut done)?;
                let now = Instant::now();
                for started in done {
                    ran.operations += 1;
                    ran.latencies.add(now - started);
                    if now - begin < duration {
                        client.ask(&self.request);
                    }
                }
                client.send()?;
            }
        }
        ran.elapsed = begin.elapsed();
        Ok(ran)
    }
}

impl Client {
    /// Opens a stream for one request.
    fn ask(&mut self, request: &[u8]) {
        let id = self.next;
        self.next += 2;
        frame(HEADERS, END | END_HEADERS, id, request, &mut self.unsent);
        self.open.push(Stream { id, has_status: false, received: 0, started: Instant::now() });
    }

    fn send(&mut self) -> Result<(), Failure> {
        let mut sent = 0;
        while sent < self.unsent.len() {
            match self.connection.write(&self.unsent[sent..])? {
                Moved::Bytes(n) => sent += n,
                Moved::Nothing => break,
            }
        }
        self.unsent.drain(..sent);
        Ok(())
    }

    /// Takes all that has come; `done` gets when the requests were sent that have their responses now.
    fn receive(&mut self, buffer: &mut [u8], body: &[u8], done: &mut Vec<Instant>) -> Result<(), Failure> {
        while let Moved::Bytes(n) = self.connection.read(buffer)? {
            let mut bytes = std::mem::take(&mut self.partial);
            bytes.extend_from_slice(&buffer[..n]);
            let mut rest = bytes.as_slice();
            while let Some((head, payload, after)) = next_frame(rest) {
                self.take(head, payload, body, done)?;
                rest = after;
            }
            self.partial = rest.to_vec();
            if n < buffer.len() {
                break;
            }
        }
        Ok(())
    }

    fn take(&mut self, head: Head, payload: &[u8], body: &[u8], done: &mut Vec<Instant>) -> Result<(), Failure> {
        match head.kind {
            HEADERS | DATA => self.response(head, payload, body, done)?,
            SETTINGS if head.flags & END == 0 => frame(SETTINGS, END, 0, b"", &mut self.unsent),
            PING if head.flags & END == 0 => frame(PING, END, 0, payload, &mut self.unsent),
            RST_STREAM | GOAWAY => return Err(Failure::wrong("HTTP/2", b"(no reset)", payload)),
            _ => {}
        }
        Ok(())
    }

    fn response(&mut self, head: Head, payload: &[u8], body: &[u8], done: &mut Vec<Instant>) -> Result<(), Failure> {
        let wrong = |what| Failure::wrong(what, b"", payload);
        let at = self.open.iter().position(|stream| stream.id == head.stream);
        let at = at.ok_or_else(|| wrong("a stream that is not open"))?;
        let stream = &mut self.open[at];
        if head.flags & (PADDED | if head.kind == HEADERS { PRIORITY } else { 0 }) != 0 {
            return Err(wrong("a frame with padding or a priority"));
        }
        if head.kind == HEADERS {
            // A change of the size of the encoder's table may stand in front.
            if payload.iter().find(|&&byte| byte & 0xe0 != 0x20) != Some(&STATUS_200) {
                return Err(Failure::wrong("a status", &[STATUS_200], payload));
            }
            stream.has_status = true;
        } else {
            let expected = &body[stream.received..];
            if !stream.has_status || !expected.starts_with(payload) {
                return Err(Failure::wrong("content", expected, payload));
            }
            stream.received += payload.len();
            self.consumed += payload.len() as u32;
            if self.consumed >= REFILL {
                frame(WINDOW_UPDATE, 0, 0, &self.consumed.to_be_bytes(), &mut self.unsent);
                self.consumed = 0;
            }
        }
        if head.flags & END != 0 {
            let stream = self.open.swap_remove(at);
            if stream.received != body.len() {
                return Err(Failure::wrong("content that ends early", &body[stream.received..], b""));
            }
            done.push(stream.started);
        }
        Ok(())
    }
}

/// What stands in front of a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    kind: u8,
    flags: u8,
    stream: u32,
}

/// The first frame in `bytes`, its payload, and what follows. `None` if it is not complete.
fn next_frame(bytes: &[u8]) -> Option<(Head, &[u8], &[u8])> {
    let (head, rest) = bytes.split_at_checked(FRAME_HEAD)?;
    let number = |bytes: &[u8]| bytes.iter().fold(0_u32, |number, &byte| number << 8 | u32::from(byte));
    let (payload, rest) = rest.split_at_checked(number(&head[..3]) as usize)?;
    Some((Head { kind: head[3], flags: head[4], stream: number(&head[5..]) & WINDOW }, payload, rest))
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// What a client begins with: windows as large as they can be, so that only the proxies' own limits slow a response down.
fn opening() -> Vec<u8> {
    const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];
    let mut out = PREFACE.to_vec();
    frame(SETTINGS, 0, 0, &[&INITIAL_WINDOW_SIZE[..], &WINDOW.to_be_bytes()].concat(), &mut out);
    frame(WINDOW_UPDATE, 0, 0, &(WINDOW - FIRST_WINDOW).to_be_bytes(), &mut out);
    out
}

/// The headers of a `GET`: two entries of HPACK's static table, and two values for names of it.
fn header_block(path: &str) -> Vec<u8> {
    const METHOD_GET: u8 = 0x82;
    const SCHEME_HTTP: u8 = 0x86;
    const PATH: u8 = 4;
    const AUTHORITY: u8 = 1;
    let mut out = vec![METHOD_GET, SCHEME_HTTP];
    for (name, value) in [(PATH, path), (AUTHORITY, HOST)] {
        out.extend_from_slice(&[name, value.len() as u8]);
        out.extend_from_slice(value.as_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written_and_not_before_it_is_complete() {
        let mut bytes = Vec::new();
        frame(HEADERS, END, 7, b"abc", &mut bytes);
        assert!((0..bytes.len()).all(|cut| next_frame(&bytes[..cut]).is_none()));
        bytes.push(9);
        let head = Head { kind: HEADERS, flags: END, stream: 7 };
        assert_eq!(next_frame(&bytes), Some((head, &b"abc"[..], &[9][..])));
    }
}

//! The collector of the measurements: takes OTLP over HTTP, counts spans, keeps nothing.
//!
//! It runs as a process of its own (`redistributed-bench sink ADDRESS`), so that its time is not the proxy's, and looks at
//! no more of a body than is needed to count, so that it takes little from the machine. `GET` answers with the counts.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::failure::Failure;
use crate::processes::{Process, free_address};

/// Longest body that is taken, in bytes.
const MAX_BODY: usize = 64 << 20;

/// How long an answer with counts may take.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// What a collector has received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) requests: u64,
    pub(crate) spans: u64,
    pub(crate) bytes: u64,
}

#[derive(Default)]
struct Counters {
    requests: AtomicU64,
    spans: AtomicU64,
    bytes: AtomicU64,
}

/// Starts this program as a collector.
pub(crate) fn start(name: &str, folder: &Path) -> Result<Process, Failure> {
    let program = std::env::current_exe().map_err(|cause| Failure::Start { name: name.to_owned(), cause })?;
    let address = free_address()?;
    Process::start(name, folder, &program, ["sink".to_owned(), address.to_string()], &[], address)
}

/// Serves at `address` until the process is killed.
pub(crate) fn serve(address: SocketAddr) -> Result<(), Failure> {
    let listener = TcpListener::bind(address).map_err(Failure::io("listening as collector"))?;
    let counters = Arc::new(Counters::default());
    loop {
        let (stream, _) = listener.accept().map_err(Failure::io("accepting as collector"))?;
        let counters = Arc::clone(&counters);
        std::thread::spawn(move || {
            // The exporter notices a connection that breaks, and the count shows what is missing.
            let _ = answer_requests(stream, &counters);
        });
    }
}

impl Received {
    /// Asks the collector at `address`.
    pub(crate) fn ask(address: SocketAddr) -> Result<Self, Failure> {
        let what = "asking the collector";
        let ask = || {
            let mut stream = TcpStream::connect_timeout(&address, ANSWER_DEADLINE)?;
            stream.set_read_timeout(Some(ANSWER_DEADLINE))?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: collector\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = ask().map_err(Failure::io(what))?;
        let wrong = || Failure::wrong(what, b"three numbers", answer.as_bytes());
        let body = answer.split_once("\r\n\r\n").ok_or_else(wrong)?.1;
        let numbers: Vec<u64> = body.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [requests, spans, bytes] = numbers[..] else { return Err(wrong()) };
        Ok(Self { requests, spans, bytes })
    }
}

fn answer_requests(stream: TcpStream, counters: &Counters) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    let mut body = Vec::new();
    while let Some(head) = read_head(&mut reader)? {
        if head.method == "GET" {
            let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let (requests, spans, bytes) = (&counters.requests, &counters.spans, &counters.bytes);
            let text = format!("{} {} {}\n", count(requests), count(spans), count(bytes));
            write!(writer, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())?;
            if head.close {
                return Ok(());
            }
            continue;
        }
        let Some(length) = head.length.filter(|&length| length <= MAX_BODY && !head.encoded) else {
            return writer.write_all(b"HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        };
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
        let Some(spans) = count_spans(&body) else {
            return writer.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        };
        counters.requests.fetch_add(1, Ordering::Relaxed);
        counters.spans.fetch_add(spans, Ordering::Relaxed);
        counters.bytes.fetch_add(length as u64, Ordering::Relaxed);
        writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n")?;
    }
    Ok(())
}

struct Head {
    method: String,
    length: Option<usize>,
    encoded: bool,
    close: bool,
}

/// `None` when the connection has been closed between two requests.
fn read_head(reader: &mut impl BufRead) -> std::io::Result<Option<Head>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let method = line.split(' ').next().unwrap_or_default().to_owned();
    let mut head = Head { method, length: None, encoded: false, close: false };
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { return Ok(Some(head)) };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => head.length = value.parse().ok(),
            "content-encoding" => head.encoded = true,
            "connection" => head.close = value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
}

/// How many spans an `ExportTraceServiceRequest` holds: the fields 1 (resource spans), 2 (scope spans), 2 (spans) in
/// each other. `None` if it is not one.
fn count_spans(request: &[u8]) -> Option<u64> {
    let mut count = 0;
    fields(request, 1, &mut |resource| {
        fields(resource, 2, &mut |scope| {
            fields(scope, 2, &mut |_| {
                count += 1;
                Some(())
            })
        })
    })?;
    Some(count)
}

/// Calls `each` for every length-delimited field of `message` with this number.
fn fields(mut message: &[u8], number: u64, each: &mut dyn FnMut(&[u8]) -> Option<()>) -> Option<()> {
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let length = match tag & 7 {
            0 => {
                varint(&mut message)?;
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (field, rest) = message.split_at_checked(length)?;
        message = rest;
        if tag == number << 3 | 2 {
            each(field)?;
        }
    }
    Some(())
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, content.len() as u8];
        out.extend_from_slice(content);
        out
    }

    #[test]
    fn spans_are_counted_over_all_resources_and_scopes() {
        let span = field(2, b"");
        let scope = field(2, &[field(1, b"name"), span.repeat(3)].concat());
        let resource = field(1, &[field(1, b""), scope.repeat(2)].concat());
        assert_eq!(count_spans(&resource.repeat(2)), Some(12));
        assert_eq!(count_spans(b""), Some(0));
    }

    #[test]
    fn what_is_cut_short_is_not_a_request() {
        let whole = field(1, &field(2, &field(2, b"abc")));
        for cut in 1..whole.len() {
            assert_eq!(count_spans(&whole[..cut]), None);
        }
    }
}

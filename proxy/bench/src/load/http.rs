//! Requests over HTTP/1 as exchanges of a closed loop. The response that must come back is known to the byte: proxies pass
//! it on as the service wrote it, whose names of headers have small letters.

use super::closed_loop::Exchange;
use crate::web;

/// What a request moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// A `GET`, whose response has so many bytes of content.
    Down(usize),
    /// A `POST` with so many bytes of content.
    Up(usize),
}

/// The name of the host that requests are sent to.
pub(crate) const HOST: &str = "bench.example";

/// One request and its response.
pub(crate) fn exchange(direction: Direction) -> Exchange {
    let (mut request, content) = match direction {
        Direction::Down(size) => {
            (format!("GET {} HTTP/1.1\r\nhost: {HOST}\r\n\r\n", path(size)).into_bytes(), web::body(size))
        }
        Direction::Up(size) => {
            let head = format!("POST /reports HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {size}\r\n\r\n");
            (head.into_bytes(), size.to_string().into_bytes())
        }
    };
    if let Direction::Up(size) = direction {
        request.extend_from_slice(&web::body(size));
    }
    let mut response = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", content.len()).into_bytes();
    response.extend_from_slice(&content);
    let mut exchange = Exchange::default();
    exchange.push(&request, &response);
    exchange
}

/// The path that the service answers with so many bytes.
pub(crate) fn path(size: usize) -> String {
    format!("/{size}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_say_what_the_contents_are() {
        let down = exchange(Direction::Down(3));
        assert!(down.request.starts_with(b"GET /3 HTTP/1.1\r\n"));
        assert_eq!(down.reply, b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc");
        let up = exchange(Direction::Up(11));
        assert!(up.request.ends_with(b"content-length: 11\r\n\r\nabcdefghijk"));
        assert_eq!(up.reply, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n11");
    }
}

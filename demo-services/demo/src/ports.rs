//! Where programs listen.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::failure::Failure;

/// For programs that choose a free port themselves and say in their log which.
pub(crate) const ANY: &str = "127.0.0.1:0";

/// For a program that has to be told: an address of 127.0.0.1 whose port is free now.
///
/// It is free again when this returns, so another program may take it before ours does.
pub(crate) fn free() -> Result<SocketAddr, Failure> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).map_err(Failure::Port)
}

/// The address that a program names in the first line of its log with `what` in it. `None` while that line is not whole.
pub(crate) fn named(log: &str, what: &str) -> Option<SocketAddr> {
    let mut lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let line = lines.find(|line| line.contains(what))?;
    let words = line.split([' ', '=', '"', '\n']).map(|word| word.strip_prefix("http://").unwrap_or(word));
    words.into_iter().find_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_from_the_first_whole_line_that_names_one() {
        for (log, port) in [
            ("api: listening on 127.0.0.1:4567\n", Some(4567)),
            ("starting\nINFO listening address=127.0.0.1:4567 upstream=redis://127.0.0.1:1\n", Some(4567)),
            ("api: listening on 127.0.0.1:45", None),
            ("api: cannot listen on 127.0.0.1:45\n", None),
            ("INFO admin port address=127.0.0.1:9\nINFO listening address=127.0.0.1:4567\n", Some(4567)),
            ("INFO listening for HTTP address=\"http://127.0.0.1:4567\" upstream=\"http://127.0.0.1:1\"\n", Some(4567)),
            ("", None),
        ] {
            assert_eq!(named(log, "listening").map(|address| address.port()), port, "{log:?}");
        }
    }
}

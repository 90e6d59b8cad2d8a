//! Where programs listen.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::failure::Failure;

/// For programs that choose a free port themselves and say in their log which.
pub(crate) const ANY: &str = "127.0.0.1:0";

/// The ports that programs are told to listen on. The system gives none of them to a connection, or to a listener that leaves the
/// choice to it, unless it has been told to (`net.ipv4.ip_local_port_range`).
const FIRST: u16 = 20_000;
const PORTS: u16 = 10_000;

/// For a program that has to be told: an address of 127.0.0.1 whose port is free now. No other call returns the same one.
///
/// It is free again when this returns, so another program that is told the same port may take it before ours does.
pub(crate) fn free() -> Result<SocketAddr, Failure> {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    // Demos that run at the same time begin in different places.
    let begin = std::process::id().wrapping_mul(617) % u32::from(PORTS);
    let listen = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
    let told = (0..PORTS).find_map(|_| {
        let number = (begin + u32::from(TAKEN.fetch_add(1, Ordering::Relaxed))) % u32::from(PORTS);
        listen(FIRST + u16::try_from(number).ok()?).ok()
    });
    told.map_or_else(|| listen(0).map_err(Failure::Port), Ok)
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
    fn no_two_programs_are_told_the_same_port() {
        let ports: std::collections::BTreeSet<_> = (0..100).map(|_| free().unwrap().port()).collect();
        assert_eq!(ports.len(), 100);
        assert!(ports.iter().all(|port| (FIRST..FIRST + PORTS).contains(port)), "{ports:?}");
    }

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

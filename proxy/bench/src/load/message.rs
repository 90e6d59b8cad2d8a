//! Messages whose every byte is known beforehand, so that a subscriber can tell any loss, swap, repetition or change.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::resp;

/// Hexadecimal digits at the head of a payload: four for the publisher, twelve for its count.
pub(crate) const HEAD: usize = 16;

/// What follows the head. The start moves with the count, so that neighbours differ everywhere.
#[derive(Debug)]
pub(crate) struct Payloads {
    size: usize,
    filler: Vec<u8>,
}

/// How many different fillers there are; a prime, so that they do not keep step with powers of two.
const FILLERS: usize = 251;

impl Payloads {
    /// Of `size` bytes each, at least [`HEAD`].
    pub(crate) fn new(size: usize) -> Self {
        // Binary on purpose, with zero bytes and line ends.
        Self { size: size.max(HEAD), filler: (0..=FILLERS as u8 - 1).cycle().take(size + FILLERS).collect() }
    }

    /// The payload of `publisher`'s message number `count`.
    pub(crate) fn of(&self, publisher: usize, count: u64) -> Vec<u8> {
        let mut out = format!("{publisher:04x}{count:012x}").into_bytes();
        let start = (count % FILLERS as u64) as usize;
        out.extend_from_slice(&self.filler[start..start + self.size - HEAD]);
        out
    }
}

/// The publisher in the head of a payload; `None` if it has no such head.
pub(crate) fn publisher_of(payload: &[u8]) -> Option<usize> {
    let digits = std::str::from_utf8(payload.get(..4)?).ok()?;
    usize::from_str_radix(digits, 16).ok()
}

/// The names of `count` channels that nobody has used before: Redis may not have noticed yet that the subscribers of the
/// measurement before this one have gone.
pub(crate) fn new_channels(count: usize) -> Vec<Vec<u8>> {
    new_keys("bench", count)
}

/// The same of keys and channels whose names begin with `prefix` and a colon.
pub(crate) fn new_keys(prefix: &str, count: usize) -> Vec<Vec<u8>> {
    static USED: AtomicUsize = AtomicUsize::new(0);
    let use_number = USED.fetch_add(1, Ordering::Relaxed);
    (0..count).map(|number| format!("{prefix}:{use_number:06}:{number:06}").into_bytes()).collect()
}

/// The command that publishes.
pub(crate) fn publish(channel: &[u8], payload: &[u8]) -> Vec<u8> {
    resp::command(&[b"PUBLISH", channel, payload])
}

/// What each subscriber must get for it.
pub(crate) fn delivery(channel: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    resp::message(channel, payload, &mut out);
    out
}

/// The command that subscribes to all channels of these `names`, and its answers.
pub(crate) fn subscribe(names: &[Vec<u8>]) -> (Vec<u8>, Vec<u8>) {
    let mut words: Vec<&[u8]> = vec![b"SUBSCRIBE"];
    words.extend(names.iter().map(Vec::as_slice));
    let mut answers = Vec::new();
    names.iter().enumerate().for_each(|(index, name)| resp::subscribed(name, index + 1, &mut answers));
    (resp::command(&words), answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_have_their_size_and_differ_from_all_their_neighbours() {
        let payloads = Payloads::new(64);
        let all: Vec<_> = (0..300).map(|count| payloads.of(3, count)).collect();
        assert!(all.iter().all(|payload| payload.len() == 64 && publisher_of(payload) == Some(3)));
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]));
        assert_ne!(payloads.of(1, 5), payloads.of(2, 5));
    }
}

//! Keys that prove who wrote a context (`--context-key-file`).
//!
//! A context with a MAC is believed only if the MAC is right, so only who has the key can write one. The MAC is HMAC-SHA-256
//! (RFC 2104), of which the first 16 bytes are kept (section 5 of the RFC; RFC 4868 calls it HMAC-SHA-256-128). It is the
//! construction that every language has in its standard library. It covers these bytes, one after the other:
//!
//! | bytes | content |
//! |---|---|
//! | 16 | `redistributed/1` and a NUL byte |
//! | 8 | the length of the channel's name, big-endian |
//! | any | the channel's name, as it was published on |
//! | 8 | the length of the payload without the context, big-endian |
//! | any | the payload without the context |
//! | any | the context in its form, without the MAC |
//!
//! Of a [`trailer`](super::trailer), the last part is all from the first mark up to the MAC, the header of the MAC's field
//! included. Of [`json`](super::json) members it is all that was added, without the hyphen and the digits of the MAC. So a
//! right MAC belongs to one message on one channel. A message that is sent again as it was is right again.

use alloc::sync::Arc;
use core::fmt;

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;

/// Length of a MAC, in bytes.
pub const MAC_LEN: usize = 16;

/// What proves that a context was written by somebody who has the key.
pub type Mac = [u8; MAC_LEN];

const LABEL: &[u8; 16] = b"redistributed/1\0";

/// The keys of a fleet. New contexts get a MAC by the first key, and those by any of them are right, so that a key can be
/// replaced while messages are under way. Without keys, contexts have no MAC and need none.
#[derive(Clone, Default)]
pub struct ContextKeys(Arc<[Hmac<Sha256>]>);

impl ContextKeys {
    /// The largest number of keys. A context that is not right costs as many passes over the payload.
    pub const MAX: usize = 4;

    /// The first [`ContextKeys::MAX`] of these keys, each of any length.
    pub fn new<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Self {
        // A key of any length is one, so none is left out.
        let states = keys.into_iter().filter_map(|key| Hmac::new_from_slice(key.as_ref()).ok());
        Self(states.take(Self::MAX).collect())
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A MAC by the first key, or by an empty one, that has not covered anything yet.
    pub(super) fn first(&self) -> Option<Hmac<Sha256>> {
        self.0.first().cloned().or_else(|| Hmac::new_from_slice(&[]).ok())
    }

    /// The MAC by the first key. Without a key it is all zero.
    pub(super) fn sign(&self, covered: &Covered<'_>) -> Mac {
        let full = self.0.first().map(|key| covered.feed(key).finalize().into_bytes());
        full.and_then(|full| full.first_chunk().copied()).unwrap_or_default()
    }

    /// Whether `mac` is right by any of the keys. The time that this takes does not depend on where it differs.
    pub(super) fn verify(&self, covered: &Covered<'_>, mac: &Mac) -> bool {
        self.0.iter().any(|key| covered.feed(key).verify_truncated_left(mac).is_ok())
    }
}

/// The bytes that a MAC covers. The payload and the context may each be in two pieces.
pub(super) struct Covered<'a> {
    pub(super) channel: &'a [u8],
    pub(super) payload: [&'a [u8]; 2],
    pub(super) context: [&'a [u8]; 2],
}

impl Covered<'_> {
    fn feed(&self, key: &Hmac<Sha256>) -> Hmac<Sha256> {
        let len =
            |bytes: &[&[u8]]| bytes.iter().fold(0, |sum: u64, piece| sum.saturating_add(len_of(piece))).to_be_bytes();
        let mut mac = key.clone();
        mac.update(LABEL);
        mac.update(&len(&[self.channel]));
        mac.update(self.channel);
        mac.update(&len(&self.payload));
        self.payload.iter().chain(&self.context).for_each(|piece| mac.update(piece));
        mac
    }
}

fn len_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

impl fmt::Debug for ContextKeys {
    /// Shows how many keys there are, and nothing of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContextKeys({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COVERED: Covered<'_> = Covered { channel: b"orders", payload: [b"hel", b"lo"], context: [b"con", b"text"] };

    #[test]
    fn what_one_key_signs_each_fleet_with_that_key_finds_right() {
        let mac = ContextKeys::new(["old"]).sign(&COVERED);
        assert!(ContextKeys::new(["new", "old"]).verify(&COVERED, &mac));
        assert!(!ContextKeys::new(["new"]).verify(&COVERED, &mac));
        assert!(!ContextKeys::default().verify(&COVERED, &mac));
        assert_eq!(ContextKeys::new(["old", "new"]).sign(&COVERED), mac);
        let too_many = ContextKeys::new(["1", "2", "3", "4", "old"]);
        assert!(!too_many.verify(&COVERED, &mac));
        assert_eq!(alloc::format!("{too_many:?}"), "ContextKeys(4)");
    }

    #[test]
    fn a_mac_covers_every_part_and_where_it_ends() {
        let keys = ContextKeys::new(["key"]);
        let mac = keys.sign(&COVERED);
        assert!(keys.verify(&Covered { payload: [b"hello", b""], context: [b"", b"context"], ..COVERED }, &mac));
        for other in [
            Covered { channel: b"order", payload: [b"s", b"hello"], ..COVERED },
            Covered { channel: b"Orders", ..COVERED },
            Covered { payload: [b"hello", b"c"], context: [b"ontext", b""], ..COVERED },
            Covered { payload: [b"hell", b"0"], ..COVERED },
            Covered { context: [b"contexT", b""], ..COVERED },
        ] {
            assert!(!keys.verify(&other, &mac));
        }
        for at in 0..MAC_LEN {
            let mut changed = mac;
            changed[at] ^= 1;
            assert!(!keys.verify(&COVERED, &changed));
        }
    }

    #[test]
    fn it_is_the_mac_that_other_languages_compute() {
        // Python: hmac.new(b"key", b"redistributed/1\0" + (6).to_bytes(8, "big") + b"orders" + (5).to_bytes(8, "big")
        // + b"hello" + b"context", "sha256").digest()[:16].hex()
        let mac = ContextKeys::new(["key"]).sign(&COVERED);
        assert_eq!(u128::from_be_bytes(mac), PYTHON);
    }

    const PYTHON: u128 = 0xb8d1847d1cba9ca5680787f6357ebcb4;
}

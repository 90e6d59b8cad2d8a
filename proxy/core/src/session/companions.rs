//! The companion of the key that a connection has used last.

use alloc::vec::Vec;

use crate::carrier::out_of_band;
use crate::policy::Policy;
use crate::trace::Companion;

/// The longest key, in bytes, that is kept.
const MAX_KEY_LEN: usize = 1024;

/// Remembers one companion, because a connection that adds to a queue or takes from one uses one key mostly, and a companion takes a MAC.
#[derive(Debug, Default)]
pub(super) struct Companions {
    last: Option<Companion>,
    database: u32,
    key: Vec<u8>,
}

impl Companions {
    /// The companion of a key.
    pub(super) fn of(&mut self, database: u32, key: &[u8], policy: &Policy) -> Option<Companion> {
        if self.last.is_some() && self.database == database && self.key == key {
            return self.last;
        }
        let found = out_of_band::companion(database, key, &policy.keys);
        self.last = found.filter(|_| key.len() <= MAX_KEY_LEN);
        if self.last.is_some() {
            self.database = database;
            self.key.clear();
            self.key.extend_from_slice(key);
        }
        found
    }

    /// Forgets it, because another policy may have other keys.
    pub(super) fn policy_changed(&mut self) {
        self.last = None;
    }

    /// The bytes of memory that are taken.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.key.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::ContextKeys;

    #[test]
    fn the_companion_that_is_remembered_is_that_of_its_key() {
        let mut companions = Companions::default();
        let (plain, keyed) = (Policy::default(), Policy { keys: ContextKeys::new(["key"]), ..Policy::default() });
        let long = [b'a'; MAX_KEY_LEN + 1];
        for (database, key) in [(0, &b"jobs"[..]), (0, b"jobs"), (1, b"jobs"), (1, b"job"), (1, &long), (1, b"job")] {
            let expected = out_of_band::companion(database, key, &plain.keys);
            assert!(expected.is_some());
            assert_eq!(companions.of(database, key, &plain), expected);
        }
        assert!(companions.bytes() <= 2 * MAX_KEY_LEN);
        let before = companions.of(1, b"job", &plain);
        companions.policy_changed();
        assert_ne!(companions.of(1, b"job", &keyed), before);
    }
}

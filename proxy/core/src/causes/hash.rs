//! SipHash-1-3 over bytes as they come: <https://www.aumasson.jp/siphash/siphash.pdf>.
//!
//! It is the keyed hash of the standard library's maps, which the core cannot use. Bytes go in one by one, because a token is
//! hashed while it is read and written in another way (lower case, without hyphens).

/// The key of the hashes of one process. Whoever does not know it can neither tell what a hash stands for nor make two tokens
/// collide.
#[derive(Clone, Copy)]
pub struct HashKey([u64; 2]);

impl HashKey {
    /// A key for tests.
    #[cfg(test)]
    pub(super) const ZERO: Self = Self([0; 2]);

    /// A key of 16 random bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        let number = u128::from_le_bytes(bytes);
        let half = |number: u128| u64::try_from(number & u128::from(u64::MAX)).unwrap_or_default();
        Self([half(number), half(number >> 64)])
    }

    pub(super) fn hash(self, bytes: &[u8]) -> u64 {
        let mut hasher = KeyedHasher::new(self);
        hasher.write(bytes);
        hasher.finish()
    }
}

/// Shows nothing of the key.
impl core::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HashKey")
    }
}

/// A hash that is not finished.
#[derive(Clone, Copy)]
pub(super) struct KeyedHasher {
    state: [u64; 4],
    /// The bytes that do not fill a word yet, from the lowest on.
    word: u64,
    /// The bits of `word` that are filled.
    filled: u32,
    /// The bytes so far, of which the lowest byte counts.
    length: u64,
}

impl KeyedHasher {
    pub(super) fn new(HashKey([zero, one]): HashKey) -> Self {
        let state = [
            zero ^ 0x736f_6d65_7073_6575,
            one ^ 0x646f_7261_6e64_6f6d,
            zero ^ 0x6c79_6765_6e65_7261,
            one ^ 0x7465_6462_7974_6573,
        ];
        Self { state, word: 0, filled: 0, length: 0 }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.byte(*byte));
    }

    #[inline]
    pub(super) fn byte(&mut self, byte: u8) {
        self.word |= u64::from(byte) << self.filled;
        self.filled += 8;
        self.length = self.length.wrapping_add(1);
        if self.filled == 64 {
            self.mix_word();
        }
    }

    pub(super) fn finish(mut self) -> u64 {
        self.word |= self.length << 56;
        self.mix_word();
        self.state[2] ^= 0xff;
        for _ in 0..3 {
            self.round();
        }
        self.state.iter().fold(0, |all, part| all ^ part)
    }

    #[inline]
    fn mix_word(&mut self) {
        self.state[3] ^= self.word;
        self.round();
        self.state[0] ^= self.word;
        self.word = 0;
        self.filled = 0;
    }

    #[inline]
    fn round(&mut self) {
        let [v0, v1, v2, v3] = &mut self.state;
        *v0 = v0.wrapping_add(*v1);
        *v1 = v1.rotate_left(13) ^ *v0;
        *v0 = v0.rotate_left(32);
        *v2 = v2.wrapping_add(*v3);
        *v3 = v3.rotate_left(16) ^ *v2;
        *v0 = v0.wrapping_add(*v3);
        *v3 = v3.rotate_left(21) ^ *v0;
        *v2 = v2.wrapping_add(*v1);
        *v1 = v1.rotate_left(17) ^ *v2;
        *v2 = v2.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hasher};
    use std::vec::Vec;

    use super::*;

    /// The standard library's default hasher is SipHash-1-3 with a key of zeros.
    #[test]
    fn it_is_the_hash_of_the_standard_library() {
        for length in 0..70 {
            let bytes: Vec<u8> = (0..length).collect();
            let mut theirs = DefaultHasher::new();
            theirs.write(&bytes);
            assert_eq!(HashKey::new([0; 16]).hash(&bytes), theirs.finish(), "{length} bytes");
        }
    }

    #[test]
    fn every_byte_of_the_key_changes_the_hash() {
        let mut hashes: Vec<u64> = (0..16)
            .map(|at| {
                let mut key = [0; 16];
                key[at] = 1;
                HashKey::new(key).hash(b"token")
            })
            .collect();
        hashes.push(HashKey::new([0; 16]).hash(b"token"));
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 17);
    }
}

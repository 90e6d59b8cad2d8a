//! The only source of randomness: trace and span ids, and keys of hashes.
//!
//! Ids have to be unique over all sidecars of an installation, not secret, so a fast generator (xoshiro256++ by
//! Blackman and Vigna, public domain) is seeded with 256 bits of the operating system's randomness once for each
//! listener. Every connection gets a stretch of its own of that generator's sequence, 2^128 numbers long, so that no
//! two connections of a process can draw the same id other than by chance.

use std::hash::{BuildHasher, RandomState};

use redistributed_core::trace::{Ids, SpanId, TraceId};

/// A key for hashes that nobody outside can compute. It comes from the operating system's randomness by way of the keys that the standard
/// library's maps have.
pub fn secret_key() -> [u8; 16] {
    let random = RandomState::new();
    let mut key = [0; 16];
    for (index, bytes) in key.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        *bytes = random.hash_one(index).to_le_bytes();
    }
    key
}

/// A generator of random ids.
#[derive(Clone, Debug)]
pub struct Entropy {
    state: [u64; 4],
}

impl Entropy {
    /// A generator with a seed from the operating system.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn from_os() -> Result<Self, getrandom::Error> {
        let mut seed = [0u8; 32];
        getrandom::fill(&mut seed)?;
        Ok(Self::from_seed(seed))
    }

    fn from_seed(seed: [u8; 32]) -> Self {
        let mut state = [0u64; 4];
        for (word, bytes) in state.iter_mut().zip(seed.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        // The only state from which the generator yields nothing but zeros.
        if state == [0; 4] {
            state = [1, 2, 3, 4];
        }
        Self { state }
    }

    /// Splits off a generator whose next 2^128 numbers come neither from this one nor from any other that is split off it.
    #[must_use]
    pub fn split(&mut self) -> Self {
        let split = self.clone();
        self.jump();
        split
    }

    fn next(&mut self) -> u64 {
        let [s0, s1, s2, s3] = &mut self.state;
        let result = s0.wrapping_add(*s3).rotate_left(23).wrapping_add(*s0);
        let t = *s1 << 17;
        *s2 ^= *s0;
        *s3 ^= *s1;
        *s1 ^= *s2;
        *s0 ^= *s3;
        *s2 ^= t;
        *s3 = s3.rotate_left(45);
        result
    }

    /// Moves the generator on by 2^128 numbers, so that another can use those in between.
    fn jump(&mut self) {
        const JUMP: [u64; 4] =
            [0x180e_c6d3_3cfd_0aba, 0xd5a6_1266_f0c9_392c, 0xa958_2618_e03f_c9aa, 0x39ab_dc45_29b1_661c];
        let mut target = [0u64; 4];
        for word in JUMP {
            for bit in 0..u64::BITS {
                if word >> bit & 1 == 1 {
                    target.iter_mut().zip(self.state).for_each(|(target, state)| *target ^= state);
                }
                self.next();
            }
        }
        self.state = target;
    }
}

impl Ids for Entropy {
    fn are_random(&self) -> bool {
        true
    }

    fn trace_id(&mut self) -> TraceId {
        loop {
            let value = u128::from(self.next()) << 64 | u128::from(self.next());
            if let Some(id) = TraceId::from_u128(value) {
                return id;
            }
        }
    }

    fn span_id(&mut self) -> SpanId {
        loop {
            if let Some(id) = SpanId::from_u64(self.next()) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn numbers_are_those_of_the_reference_implementation() {
        // State 1, 2, 3, 4: the vector that the reference C code and the `rand_xoshiro` crate agree on.
        let mut entropy = Entropy { state: [1, 2, 3, 4] };
        let numbers: Vec<u64> = (0..4).map(|_| entropy.next()).collect();
        assert_eq!(numbers, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
    }

    #[test]
    fn ids_of_split_generators_differ() {
        let mut root = Entropy::from_seed([7; 32]);
        let mut seen = HashSet::new();
        for mut split in [root.split(), root.split(), root.split()] {
            for _ in 0..1000 {
                assert!(seen.insert(split.trace_id()));
            }
        }
    }

    #[test]
    fn processes_do_not_share_a_sequence() {
        assert_ne!(Entropy::from_os().unwrap().state, Entropy::from_os().unwrap().state);
    }

    #[test]
    fn an_all_zero_seed_still_gives_ids() {
        let mut entropy = Entropy::from_seed([0; 32]);
        assert_ne!(entropy.span_id(), entropy.span_id());
    }
}

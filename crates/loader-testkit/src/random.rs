//! Reproducible pseudorandom bytes, and names that are not reproducible.

use crate::seed::random_hex;

/// Pseudorandom number generator (SplitMix64) with its state.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// Returns the next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `limit`.
    ///
    /// # Panics
    /// If `limit` is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.number() % limit as u64) as usize
    }

    /// Returns `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        for _ in 0..len.div_ceil(8) {
            bytes.extend(self.number().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

/// Returns a name of letters and digits that no other call returns, in any process.
///
/// # Panics
/// If the kernel has no random bytes.
pub fn unique_name() -> String {
    random_hex(6)
}

#[cfg(test)]
mod tests {
    use super::{Random, unique_name};

    #[test]
    fn unique_names_differ() {
        assert_ne!(unique_name(), unique_name());
    }

    /// The first numbers of the reference implementation (Vigna, splitmix64.c) from seed 0.
    #[test]
    fn the_numbers_are_those_of_splitmix64() {
        let mut random = Random(0);
        assert_eq!([random.number(), random.number()], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    }

    #[test]
    fn bytes_have_the_requested_length() {
        for len in [0, 1, 7, 8, 9, 1000] {
            assert_eq!(Random(1).bytes(len).len(), len);
        }
        assert!(Random(1).bytes(9) == Random(1).bytes(10)[..9] && Random(1).bytes(9) != Random(2).bytes(9));
    }
}

//! Any `k` of `n`: byte by byte, the key is the value at 0 of a polynomial of
//! degree below `k` over GF(2^8), and the fragment with index `x` holds its value
//! at `x`.

use super::{Fragment, Share};
use crate::gf256::{inverse, mul};
use crate::key::random;
use crate::{Error, Key};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The shares with the indices 1 to `n`. The coefficients above the key are
/// uniform: a leading zero must be possible, or `k - 1` fragments would exclude
/// values of the key.
pub(super) fn split(key: &Key, k: u8, n: u8) -> Result<Vec<Share>, Error> {
    let mut coefficients = Zeroizing::new(vec![0; (usize::from(k) - 1) * Key::LEN]);
    random(&mut coefficients)?;
    Ok((1..=n).map(|x| share_at(x, key.expose(), &coefficients)).collect())
}

/// The value at `x`, byte by byte, of the polynomial with the lowest coefficient
/// `constant` and the others in `coefficients`, 32 bytes for each power, from
/// the first up.
fn share_at(x: u8, constant: &[u8; Key::LEN], coefficients: &[u8]) -> Share {
    let mut value = Zeroizing::new([0; Key::LEN]);
    // Horner's rule, from the highest power down.
    for row in coefficients.chunks_exact(Key::LEN).rev().chain([constant.as_slice()]) {
        for (value, coefficient) in value.iter_mut().zip(row) {
            *value = mul(*value, x) ^ coefficient;
        }
    }
    value
}

/// The key: the value at 0.
pub(super) fn join(fragments: &[Fragment]) -> Key {
    Key::from_bytes(*interpolate(fragments, 0))
}

/// True when `other` lies on the polynomial through `fragments`.
pub(super) fn fits(fragments: &[Fragment], other: &Fragment) -> bool {
    interpolate(fragments, other.index).ct_eq(other.share.as_slice()).into()
}

/// The value at `x` of the polynomial of lowest degree through all of
/// `fragments` (Lagrange). Their indices are distinct.
fn interpolate(fragments: &[Fragment], x: u8) -> Share {
    let mut value = Zeroizing::new([0; Key::LEN]);
    for (i, fragment) in fragments.iter().enumerate() {
        let others = fragments.iter().enumerate().filter(|(j, _)| *j != i);
        let weight = others
            .fold(1, |weight, (_, other)| mul(weight, mul(x ^ other.index, inverse(fragment.index ^ other.index))));
        for (value, byte) in value.iter_mut().zip(fragment.share.iter()) {
            *value ^= mul(*byte, weight);
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_share_of_two_says_nothing_of_the_key() {
        for x in [1, 2, 255] {
            for secret in 0..=255 {
                let mut seen = [0; 256];
                for coefficient in 0..=255 {
                    let share = share_at(x, &[secret; 32], &[coefficient; 32]);
                    seen[usize::from(share[0])] += 1;
                }
                assert_eq!(seen, [1; 256], "share {x}, secret {secret}");
            }
        }
    }

    #[test]
    fn two_shares_of_three_say_nothing_of_the_key() {
        let mut highs = [0; 32];
        for secret in [0, 1, 0x53, 255] {
            let mut seen = vec![0_u8; 65536];
            // Each of the 32 bytes of a share stands for a polynomial of its own.
            for (low, block) in (0..=255).flat_map(|low| (0..8).map(move |block| (low, block))) {
                (block * 32..=block * 32 + 31).zip(&mut highs).for_each(|(high, byte)| *byte = high);
                let coefficients = [[low; 32], highs].concat();
                let [one, two] = [7, 200].map(|x| share_at(x, &[secret; 32], &coefficients));
                for pair in one.iter().zip(two.iter()) {
                    seen[usize::from(u16::from_be_bytes([*pair.0, *pair.1]))] += 1;
                }
            }
            assert!(seen.iter().all(|count| *count == 1), "secret {secret}");
        }
    }

    #[test]
    fn shares_are_values_of_the_polynomial() {
        // 0x2a + 0x05 x + 0x80 x^2 at 1 and 3: x^2 is 5, 0x80 times 5 is 0xb6,
        // 5 times 3 is 0x0f.
        let mut coefficients = [5; 64];
        coefficients[32..].fill(0x80);
        assert_eq!(share_at(1, &[0x2a; 32], &coefficients)[0], 0x2a ^ 5 ^ 0x80);
        assert_eq!(share_at(3, &[0x2a; 32], &coefficients)[0], 0x2a ^ 0x0f ^ mul(0x80, 5));
    }
}

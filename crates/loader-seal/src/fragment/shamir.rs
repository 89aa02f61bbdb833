//! Shamir's secret sharing, `k` of `n`: each byte of the key is the value at 0 of a
//! polynomial of degree `k` - 1 over GF(2^8), and the share with index `x` contains the
//! value at `x`.

use super::{Fragment, Share};
use crate::gf256::{inverse, mul};
use crate::key::fill_random;
use crate::{Error, Key};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Returns the shares with the indices 1 to `n`. All random coefficients are uniform: if
/// the leading one could not be zero, `k` - 1 fragments would exclude a value of the key.
pub(super) fn split(key: &Key, k: u8, n: u8) -> Result<Vec<Share>, Error> {
    let mut coefficients = Zeroizing::new(vec![0; (usize::from(k) - 1) * Key::LEN]);
    fill_random(&mut coefficients)?;
    Ok((1..=n).map(|x| share_at(x, key.expose(), &coefficients)).collect())
}

/// Evaluates 32 polynomials at `x`. Their constants are `constant`; `coefficients` contains
/// 32 bytes for each higher power, in ascending order.
fn share_at(x: u8, constant: &[u8; Key::LEN], coefficients: &[u8]) -> Share {
    let mut value = Zeroizing::new([0; Key::LEN]);
    // Horner's method, from the highest power down.
    for row in coefficients.chunks_exact(Key::LEN).rev().chain([constant.as_slice()]) {
        for (value, coefficient) in value.iter_mut().zip(row) {
            *value = mul(*value, x) ^ coefficient;
        }
    }
    value
}

/// Interpolates the key, which is the value at 0.
pub(super) fn join(fragments: &[Fragment]) -> Key {
    Key::from_bytes(*interpolate(fragments, 0))
}

/// Returns true if `other` is on the polynomial through `fragments`.
pub(super) fn is_consistent(fragments: &[Fragment], other: &Fragment) -> bool {
    interpolate(fragments, other.index).ct_eq(other.share.as_slice()).into()
}

/// Evaluates at `x` the polynomial of lowest degree through `fragments` (Lagrange
/// interpolation). The indices of the fragments are distinct.
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
    fn one_share_of_two_has_no_information_about_the_key() {
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
    fn two_shares_of_three_have_no_information_about_the_key() {
        let mut highs = [0; 32];
        for secret in [0, 1, 0x53, 255] {
            let mut seen = vec![0_u8; 65536];
            // Each of the 32 bytes of a share belongs to its own polynomial.
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

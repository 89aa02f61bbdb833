//! The field GF(2^8) of AES (FIPS 197 section 4): polynomial 0x11B, addition is
//! exclusive or. No tables and no branches on a value, so that the time says
//! nothing of a secret.

use std::hint::black_box;

/// What is left of the polynomial 0x11B when its bit 8 is dropped.
const POLYNOMIAL: u8 = 0x1b;

/// The product of `a` and `b`.
pub(crate) fn mul(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    for _ in 0..8 {
        product ^= a & mask(b & 1);
        a = (a << 1) ^ (POLYNOMIAL & mask(a >> 7));
        b >>= 1;
    }
    product
}

/// The inverse of `a`, which is its 254th power; 0 for 0.
pub(crate) fn inverse(a: u8) -> u8 {
    // 254 = 2 + 4 + 8 + .. + 128
    let mut power = a;
    let mut inverse = 1;
    for _ in 1..8 {
        power = mul(power, power);
        inverse = mul(inverse, power);
    }
    inverse
}

/// 0xff for 1, 0 for 0. `black_box` hides from the compiler that there are only
/// two cases, which it could turn into a branch.
fn mask(bit: u8) -> u8 {
    black_box(bit).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Product of the polynomials, then division by 0x11B: the definition.
    fn slow_mul(a: u8, b: u8) -> u8 {
        let mut wide = (0..8).filter(|bit| b >> bit & 1 == 1).fold(0, |sum, bit| sum ^ u16::from(a) << bit);
        for bit in (8..15).rev() {
            if wide >> bit & 1 == 1 {
                wide ^= 0x11b << (bit - 8);
            }
        }
        u8::try_from(wide).unwrap()
    }

    #[test]
    fn products_are_those_of_the_definition() {
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(mul(a, b), slow_mul(a, b), "{a} {b}");
            }
        }
        // FIPS 197 section 4.2
        assert_eq!((mul(0x57, 0x83), mul(0x57, 0x13)), (0xc1, 0xfe));
    }

    #[test]
    fn the_axioms_of_a_field_hold() {
        for a in 0..=255 {
            assert_eq!((mul(a, 1), mul(a, 0)), (a, 0));
            for b in 0..=255 {
                assert_eq!(mul(a, b), mul(b, a));
                for c in [2, 0x53, 0xff] {
                    assert_eq!(mul(mul(a, b), c), mul(a, mul(b, c)));
                    assert_eq!(mul(a ^ b, c), mul(a, c) ^ mul(b, c));
                }
            }
        }
    }

    #[test]
    fn every_value_but_zero_has_one_inverse() {
        assert_eq!(inverse(0), 0);
        for a in 1..=255 {
            assert_eq!(mul(a, inverse(a)), 1, "{a}");
            assert_eq!(inverse(inverse(a)), a);
        }
    }
}

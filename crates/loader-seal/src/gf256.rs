//! Arithmetic in the field GF(2^8) of AES (FIPS 197 section 4): polynomial 0x11B, addition
//! is XOR. Runs in constant time: no tables, and no branches on values.

use std::hint::black_box;

/// The polynomial 0x11B without its bit 8.
const POLYNOMIAL: u8 = 0x1b;

/// Returns the product of `a` and `b`.
pub(crate) fn mul(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    for _ in 0..8 {
        product ^= a & mask(b & 1);
        a = (a << 1) ^ (POLYNOMIAL & mask(a >> 7));
        b >>= 1;
    }
    product
}

/// Returns the inverse of `a`, which is its 254th power, or 0 for 0.
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

/// Returns 0xff for 1, and 0 for 0. `black_box` prevents the compiler from using a branch
/// for the two cases.
fn mask(bit: u8) -> u8 {
    black_box(bit).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Multiplies by the definition: product of the polynomials, modulo 0x11B.
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
    fn products_match_the_definition() {
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(mul(a, b), slow_mul(a, b), "{a} {b}");
            }
        }
        // FIPS 197 section 4.2.
        assert_eq!((mul(0x57, 0x83), mul(0x57, 0x13)), (0xc1, 0xfe));
    }

    #[test]
    fn field_axioms_hold() {
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
    fn every_value_except_zero_has_an_inverse() {
        assert_eq!(inverse(0), 0);
        for a in 1..=255 {
            assert_eq!(mul(a, inverse(a)), 1, "{a}");
            assert_eq!(inverse(inverse(a)), a);
        }
    }
}

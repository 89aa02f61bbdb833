//! Bytes as one line of text with a checksum: bech32m (BIP-350) without its
//! limit of 90 characters.

use crate::Error;
use bech32::primitives::decode::{CheckedHrpstring, CheckedHrpstringError, UncheckedHrpstringError};
use bech32::{Bech32m, ByteIterExt, Fe32IterExt, Hrp};
use zeroize::Zeroizing;

/// Case of a line that is written. Reading takes either, never both in one line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// For what may be shown.
    Lower,
    /// For secrets, so that they can be told at a glance and searched for.
    Upper,
}

/// The line for `data` with the human-readable part `hrp` (lower case, without
/// the `1` that ends it).
pub(crate) fn encode(hrp: &str, data: &[u8], case: Case) -> Zeroizing<String> {
    // hrp, separator, five bits a character, checksum: never grows, so that no
    // copy of a secret is left behind by a reallocation.
    let mut text = Zeroizing::new(String::with_capacity(hrp.len() + 1 + data.len().div_ceil(5) * 8 + 6));
    let hrp = Hrp::parse_unchecked(hrp);
    for c in data.iter().copied().bytes_to_fes().with_checksum::<Bech32m>(&hrp).chars() {
        text.push(if case == Case::Upper { c.to_ascii_uppercase() } else { c });
    }
    text
}

/// The `N` bytes of a line with the human-readable part `hrp`.
///
/// # Errors
///
/// [`Error::Malformed`] when the line is damaged, mixes upper and lower case,
/// has another human-readable part or another length.
pub(crate) fn decode<const N: usize>(hrp: &str, line: &str) -> Result<Zeroizing<[u8; N]>, Error> {
    let checked = CheckedHrpstring::new::<Bech32m>(line).map_err(|error| Error::malformed(fault(&error)))?;
    if checked.hrp() != Hrp::parse_unchecked(hrp) {
        return Err(Error::malformed("not a line of the kind that belongs here"));
    }
    let mut data = Zeroizing::new([0; N]);
    let mut bytes = checked.byte_iter();
    if bytes.len() != N {
        return Err(Error::malformed("the line is whole but has the wrong length"));
    }
    data.iter_mut().zip(&mut bytes).for_each(|(to, from)| *to = from);
    // The bits that fill up the last character must be zero and fewer than five:
    // there is one line for one value.
    if !encode(hrp, data.as_slice(), Case::Lower).eq_ignore_ascii_case(line) {
        return Err(Error::malformed("the line is damaged: its padding is not zero"));
    }
    Ok(data)
}

fn fault(error: &CheckedHrpstringError) -> &'static str {
    match error {
        CheckedHrpstringError::Parse(UncheckedHrpstringError::Char(
            bech32::primitives::decode::CharError::MixedCase,
        )) => "the line mixes upper and lower case",
        _ => "the line is damaged: its checksum does not match",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bech32::Fe32;

    #[test]
    fn lines_longer_than_ninety_characters_come_back() {
        let line = encode("x", &[0x5a; 61], Case::Lower);
        assert!(line.len() > 90);
        assert_eq!(*decode::<61>("x", &line).unwrap(), [0x5a; 61]);
        assert_eq!(*decode::<61>("x", &line.to_uppercase()).unwrap(), [0x5a; 61]);
    }

    #[test]
    fn the_checksum_is_that_of_bip_350() {
        assert_eq!(*encode("a", &[], Case::Lower), *"a1lqfn3a");
        assert!(decode::<0>("a", "A1LQFN3A").is_ok());
        // valid under BIP-173, whose checksum is another
        assert!(decode::<0>("a", "a12uel5l").is_err());
        assert!(decode::<0>("b", "a1lqfn3a").is_err());
    }

    #[test]
    fn one_value_has_one_line() {
        let line = |fes: &[u8]| -> String {
            let fes = fes.iter().map(|fe| Fe32::try_from(*fe).unwrap());
            fes.with_checksum::<Bech32m>(&Hrp::parse_unchecked("a")).chars().collect()
        };
        assert_eq!(*decode::<1>("a", &line(&[31, 28])).unwrap(), [0xff]);
        for bad in [&[31, 29][..], &[31, 30], &[31, 28, 0], &[31]] {
            assert_eq!(decode::<1>("a", &line(bad)).unwrap_err().code(), "malformed", "{bad:?}");
        }
    }

    #[test]
    fn a_buffer_for_a_line_never_grows() {
        for len in 0..80 {
            let hrp = "az-frag-";
            let planned = hrp.len() + 1 + (len * 8_usize).div_ceil(5) + 6;
            let line = encode(hrp, &vec![1; len], Case::Upper);
            assert_eq!(line.len(), planned);
            assert!(line.len() <= hrp.len() + 1 + len.div_ceil(5) * 8 + 6);
        }
    }
}

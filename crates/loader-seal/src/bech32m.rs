//! Encoding of bytes as a line of text with a checksum: bech32m (BIP 350) without its
//! limit of 90 characters (crates/loader-seal/README.md, "Keys and fragments as text").

use crate::Error;
use bech32::primitives::decode::{CheckedHrpstring, CheckedHrpstringError, UncheckedHrpstringError};
use bech32::{Bech32m, ByteIterExt, Fe32IterExt, Hrp};
use zeroize::Zeroizing;

/// Case of an encoded line. Decoding accepts both, but not mixed in one line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// For public values.
    Lower,
    /// For secrets, so that they are easy to recognize and to search for.
    Upper,
}

/// Encodes `data` with the human-readable part `hrp` (lower case, without the separator
/// `1`).
pub(crate) fn encode(hrp: &str, data: &[u8], case: Case) -> Zeroizing<String> {
    // Human-readable part, separator, five bits per character, checksum. The string never grows: a reallocation would
    // leave a copy of the secret in memory.
    let mut text = Zeroizing::new(String::with_capacity(hrp.len() + 1 + data.len().div_ceil(5) * 8 + 6));
    let hrp = Hrp::parse_unchecked(hrp);
    for c in data.iter().copied().bytes_to_fes().with_checksum::<Bech32m>(&hrp).chars() {
        text.push(if case == Case::Upper { c.to_ascii_uppercase() } else { c });
    }
    text
}

/// Decodes a line of `N` bytes with the human-readable part `hrp`.
///
/// # Errors
/// [`Error::Malformed`] if the line is damaged, mixes upper and lower case, or has another
/// human-readable part or length.
pub(crate) fn decode<const N: usize>(hrp: &str, line: &str) -> Result<Zeroizing<[u8; N]>, Error> {
    let checked = CheckedHrpstring::new::<Bech32m>(line).map_err(|error| Error::malformed(describe(&error)))?;
    if checked.hrp() != Hrp::parse_unchecked(hrp) {
        return Err(Error::malformed("the line has another type than expected"));
    }
    let mut data = Zeroizing::new([0; N]);
    let mut bytes = checked.byte_iter();
    if bytes.len() != N {
        return Err(Error::malformed("the line is undamaged but has the wrong length"));
    }
    data.iter_mut().zip(&mut bytes).for_each(|(to, from)| *to = from);
    // The padding bits in the last character must be zero and fewer than five, so that each value has one encoding.
    if !encode(hrp, data.as_slice(), Case::Lower).eq_ignore_ascii_case(line) {
        return Err(Error::malformed("the line is damaged: its padding is not zero"));
    }
    Ok(data)
}

fn describe(error: &CheckedHrpstringError) -> &'static str {
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
    use loader_model::Coded;

    #[test]
    fn long_line_round_trips() {
        let line = encode("x", &[0x5a; 61], Case::Lower);
        assert!(line.len() > 90);
        assert_eq!(*decode::<61>("x", &line).unwrap(), [0x5a; 61]);
        assert_eq!(*decode::<61>("x", &line.to_uppercase()).unwrap(), [0x5a; 61]);
    }

    #[test]
    fn checksum_matches_bip_350() {
        assert_eq!(*encode("a", &[], Case::Lower), *"a1lqfn3a");
        assert!(decode::<0>("a", "A1LQFN3A").is_ok());
        // Valid bech32 (BIP 173), which has another checksum.
        assert!(decode::<0>("a", "a12uel5l").is_err());
        assert!(decode::<0>("b", "a1lqfn3a").is_err());
    }

    #[test]
    fn each_value_has_one_encoding() {
        let line = |fes: &[u8]| -> String {
            let fes = fes.iter().map(|fe| Fe32::try_from(*fe).unwrap());
            fes.with_checksum::<Bech32m>(&Hrp::parse_unchecked("a")).chars().collect()
        };
        assert_eq!(*decode::<1>("a", &line(&[31, 28])).unwrap(), [0xff]);
        for bad in [&[31, 29][..], &[31, 30], &[31, 28, 0], &[31]] {
            assert_eq!(decode::<1>("a", &line(bad)).unwrap_err().code().as_str(), "malformed", "{bad:?}");
        }
    }

    #[test]
    fn buffer_for_a_line_never_grows() {
        for len in 0..80 {
            let hrp = "az-frag-";
            let planned = hrp.len() + 1 + (len * 8_usize).div_ceil(5) + 6;
            let line = encode(hrp, &vec![1; len], Case::Upper);
            assert_eq!(line.len(), planned);
            assert!(line.len() <= hrp.len() + 1 + len.div_ceil(5) * 8 + 6);
        }
    }
}

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

//! Strict parser for public keys in DER (X.690).

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// Returns the algorithm identifier and the key of a SubjectPublicKeyInfo (RFC 5280
/// section 4.1.2.7).
pub(super) fn public_key_info(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut inner = whole(SEQUENCE, der)?;
    let algorithm = take(SEQUENCE, &mut inner)?;
    let bits = take(BIT_STRING, &mut inner)?;
    // The first byte is the number of unused bits; a key has none.
    let (0, key) = bits.split_first().map(|(unused, key)| (*unused, key))? else { return None };
    inner.is_empty().then_some((algorithm, key))
}

/// Returns modulus and exponent of an RSAPublicKey (RFC 8017 appendix A.1.1),
/// big-endian without leading zeros.
pub(super) fn rsa_public_key(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut inner = whole(SEQUENCE, der)?;
    let (n, e) = (unsigned(take(INTEGER, &mut inner)?)?, unsigned(take(INTEGER, &mut inner)?)?);
    inner.is_empty().then_some((n, e))
}

/// Returns true if `bytes` are one SEQUENCE, as all keys and certificates are.
pub(super) fn is_sequence(bytes: &[u8]) -> bool {
    whole(SEQUENCE, bytes).is_some()
}

fn whole(tag: u8, mut der: &[u8]) -> Option<&[u8]> {
    let content = take(tag, &mut der)?;
    der.is_empty().then_some(content)
}

/// Removes the first element, which must have this tag, and returns its content.
fn take<'a>(tag: u8, der: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    *der = rest;
    (*found == tag).then_some(content)
}

fn unsigned(integer: &[u8]) -> Option<&[u8]> {
    match integer {
        [0, rest @ ..] if rest.first().is_some_and(|first| first & 0x80 != 0) => Some(rest),
        [first, ..] if *first != 0 && first & 0x80 == 0 => Some(integer),
        _ => None,
    }
}

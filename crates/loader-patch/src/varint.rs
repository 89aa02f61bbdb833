//! Numbers of variable length: 7 bits in each byte, the lowest first; bit 7 means that more follow.

/// Maximum number of bytes.
const LEN_MAX: usize = 10;

/// Appends `number`.
pub(crate) fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Appends a signed number: 0, -1, 1, -2 and so on as 0, 1, 2, 3.
pub(crate) fn put_signed(bytes: &mut Vec<u8>, number: i64) {
    put_number(bytes, (number << 1 ^ number >> 63) as u64);
}

/// Removes a number from the start of `bytes`.
///
/// # Errors
/// A description of the defect.
pub(crate) fn take_number(bytes: &mut &[u8]) -> Result<u64, &'static str> {
    let mut number = 0;
    for i in 0..LEN_MAX {
        let (byte, rest) = bytes.split_first().ok_or("a number that is cut off")?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if i == LEN_MAX - 1 && bits > 1 {
            break;
        }
        number |= bits << (7 * i);
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err("a number of more than 64 bits")
}

/// Removes a signed number from the start of `bytes`.
///
/// # Errors
/// Those of [`take_number`].
pub(crate) fn take_signed(bytes: &mut &[u8]) -> Result<i64, &'static str> {
    let number = take_number(bytes)?;
    Ok((number >> 1) as i64 ^ -((number & 1) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        for number in [0, 1, 127, 128, 300, 1 << 35, u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            assert_eq!(take_number(&mut &bytes[..]), Ok(number));
            for signed in [number as i64, (number as i64).wrapping_neg()] {
                let mut bytes = Vec::new();
                put_signed(&mut bytes, signed);
                assert_eq!(take_signed(&mut &bytes[..]), Ok(signed));
            }
        }
    }

    #[test]
    fn long_numbers_are_refused() {
        assert!(take_number(&mut &[0xff; 11][..]).is_err());
        assert!(take_number(&mut &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2][..]).is_err());
        assert!(take_number(&mut &[0x80; 9][..]).is_err());
    }
}

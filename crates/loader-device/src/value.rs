//! From the bytes of a file to the value of a source.

use crate::placeholder;
use zeroize::Zeroizing;

/// Longest value in bytes; a serial has a few dozen.
pub(crate) const VALUE_MAX: usize = 1024;

/// The value in the bytes of a file: without the NUL that ends a string of the
/// device tree, without white space around it, in lower case, since firmware is
/// known to change its mind about that.
///
/// # Errors
/// Why the value says nothing of the device.
pub(crate) fn clean(bytes: &[u8]) -> Result<Zeroizing<String>, &'static str> {
    let end = bytes.iter().rposition(|byte| *byte != 0 && !byte.is_ascii_whitespace()).map_or(0, |last| last + 1);
    let bytes = bytes[..end].trim_ascii_start();
    if bytes.is_empty() {
        return Err("empty");
    }
    if bytes.len() > VALUE_MAX {
        return Err("too long for a serial");
    }
    if !bytes.iter().all(|byte| (0x20..0x7f).contains(byte)) {
        return Err("not one line of printable text");
    }
    let value: Zeroizing<String> = Zeroizing::new(bytes.iter().map(|byte| byte.to_ascii_lowercase() as char).collect());
    match placeholder::reason(&value) {
        None => Ok(value),
        Some(reason) => Err(reason),
    }
}

/// What stands behind `field` and a colon in the last line that begins with it.
pub(crate) fn field<'b>(bytes: &'b [u8], field: &str) -> Option<&'b [u8]> {
    let mut lines = bytes.split(|byte| *byte == b'\n').rev();
    lines.find_map(|line| line.strip_prefix(field.as_bytes())?.trim_ascii_start().strip_prefix(b":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_strings_and_lines_are_not_part_of_a_value() {
        for bytes in
            [&b"10000000A1B2c3d4"[..], b"10000000a1b2c3d4\0", b" 10000000a1b2c3d4\n", b"10000000a1b2c3d4 \r\n\0\0"]
        {
            assert_eq!(*clean(bytes).unwrap(), "10000000a1b2c3d4");
        }
        assert_eq!(*clean(b"PF3 K9/Q7-x.").unwrap(), "pf3 k9/q7-x.");
    }

    #[test]
    fn what_is_no_value_is_refused_with_its_reason() {
        for (bytes, why) in [
            (&b""[..], "empty"),
            (b" \0\n\0", "empty"),
            (b"pf3k9q7x\npf3k9q7y", "not one line of printable text"),
            (b"pf3k\09q7x", "not one line of printable text"),
            (b"pf3k\xff9q7x", "not one line of printable text"),
            (&[b'a'; VALUE_MAX + 1], "too long for a serial"),
        ] {
            assert_eq!(clean(bytes).unwrap_err(), why);
        }
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let cpuinfo =
            b"processor\t: 0\nSerialNumber : no\nHardware\t: BCM2835\nSerial\t\t: 10000000a1b2c3d4\nModel : x\n";
        assert_eq!(field(cpuinfo, "Serial"), Some(&b" 10000000a1b2c3d4"[..]));
        assert_eq!(field(b"flags : Serial\n", "Serial"), None);
    }
}

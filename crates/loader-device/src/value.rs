//! Conversion of file contents to values of sources.

use crate::placeholder;
use zeroize::Zeroizing;

/// Longest value in bytes; serials have a few dozen.
pub(crate) const VALUE_MAX: usize = 1024;

/// Returns the value in the content of a file: without the NUL that ends a string in the device
/// tree, without surrounding white space, and in lower case, since firmware updates are known to
/// change the case.
///
/// # Errors
/// The reason why the value does not identify the device.
pub(crate) fn normalize(bytes: &[u8]) -> Result<Zeroizing<String>, &'static str> {
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

/// Returns the text after `field` and a colon in the last line that begins with them.
pub(crate) fn last_field<'b>(bytes: &'b [u8], field: &str) -> Option<&'b [u8]> {
    let mut lines = bytes.split(|byte| *byte == b'\n').rev();
    lines.find_map(|line| line.strip_prefix(field.as_bytes())?.trim_ascii_start().strip_prefix(b":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn string_and_line_terminators_are_not_part_of_a_value() {
        for bytes in
            [&b"10000000A1B2c3d4"[..], b"10000000a1b2c3d4\0", b" 10000000a1b2c3d4\n", b"10000000a1b2c3d4 \r\n\0\0"]
        {
            assert_eq!(*normalize(bytes).unwrap(), "10000000a1b2c3d4");
        }
        assert_eq!(*normalize(b"PF3 K9/Q7-x.").unwrap(), "pf3 k9/q7-x.");
    }

    #[test]
    fn content_without_a_value_is_rejected_with_a_reason() {
        for (bytes, why) in [
            (&b""[..], "empty"),
            (b" \0\n\0", "empty"),
            (b"pf3k9q7x\npf3k9q7y", "not one line of printable text"),
            (b"pf3k\09q7x", "not one line of printable text"),
            (b"pf3k\xff9q7x", "not one line of printable text"),
            (&[b'a'; VALUE_MAX + 1], "too long for a serial"),
        ] {
            assert_eq!(normalize(bytes).unwrap_err(), why);
        }
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let cpuinfo =
            b"processor\t: 0\nSerialNumber : no\nHardware\t: BCM2835\nSerial\t\t: 10000000a1b2c3d4\nModel : x\n";
        assert_eq!(last_field(cpuinfo, "Serial"), Some(&b" 10000000a1b2c3d4"[..]));
        assert_eq!(last_field(b"flags : Serial\n", "Serial"), None);
    }
}

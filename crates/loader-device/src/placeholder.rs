//! Placeholders: values that many devices share because the manufacturer did not set them.

/// Placeholder texts in lower case, reduced to letters and digits.
const TEXTS: &[&str] = &[
    "tobefilledbyoem",
    "tobefilledbyoemxx",
    "filledbyoem",
    "fillbyoem",
    "defaultstring",
    "default",
    "none",
    "null",
    "nil",
    "empty",
    "unset",
    "undefined",
    "uninitialized",
    "unknown",
    "invalid",
    "notspecified",
    "unspecified",
    "notavailable",
    "notapplicable",
    "notpresent",
    "notset",
    "noserial",
    "noserialnumber",
    "na",
    "oem",
    "oemstring",
    "asset",
    "serial",
    "serialno",
    "serialnumber",
    "systemserialnumber",
    "systemserial",
    "baseboardserialnumber",
    "boardserialnumber",
    "chassisserialnumber",
    "type2boardserialnumber",
    "productserialnumber",
    "systemproductname",
    "sernum0",
    "sernum",
    "standard",
    "sample",
    "test",
    "eval",
    "deadbeef",
    "baadf00d",
    // UUIDs of boards that were never given one
    "03000200040005000006000700080009",
    "00020003000400050006000700080009",
    "11111111222233334444555555555555",
    "00112233445566778899aabbccddeeff",
    "1234567812345678123456781234567812345678",
    "12345678123456781234567812345678",
    "fefefefefefefefefefefefefefefefe",
    "0123456789abcdef0123456789abcdef",
    "030201000504070608090a0b0c0d0e0f",
    "10000000000080000040000000000000",
    // Eight bytes that count down
    "00000000000000000807060504030201",
    // HP MicroServer Gen8
    "3139313835385a433135353130323750",
    // Giada N70E-DR
    "5c4606fa192f453ab2997b088c63bb9b",
    // A Dell without a service tag
    "4c4c454400002010802080c04f202020",
    // Rockchip's U-Boot generates this serial from a constant seed
    "c3d9b8674f4b94f6",
];

/// Sequences that no random serial contains: a value with [`RUN_LEN`] consecutive characters of
/// one of them is a placeholder.
const RUNS: &[&str] = &["01234567890123456789", "fedcba9876543210", "98765432109876543210", "0123456789abcdef"];
const RUN_LEN: usize = 8;

/// Least number of letters and digits that can distinguish devices.
const LEN_MIN: usize = 4;

/// Returns why `value`, in lower case, does not identify the device; `None` if it does.
pub(crate) fn reason(value: &str) -> Option<&'static str> {
    let text: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
    reason_of_text(&text).or_else(|| swapped_uuid(&text).and_then(|swapped| reason_of_text(&swapped)))
}

/// Returns why the CID of an eMMC, in lower case, does not identify the device: its
/// serial number, bytes 10 to 13 (JESD84-B51, section 7.2), was never written.
pub(crate) fn cid_reason(cid: &str) -> Option<&'static str> {
    const SERIAL: std::ops::Range<usize> = 20..28;
    let is_unset = matches!(cid.get(SERIAL), Some("00000000" | "ffffffff"));
    (cid.len() == 32 && is_unset).then_some("placeholder: a CID without a serial number")
}

/// Returns a UUID with the bytes of its first three fields reversed: firmware and kernel use
/// different byte orders, depending on the SMBIOS version (DSP0134, 7.2.1).
fn swapped_uuid(text: &str) -> Option<String> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let reversed = |field: &str| -> String { (0..field.len() / 2).rev().map(|i| &field[2 * i..][..2]).collect() };
    Some([&reversed(&text[..8]), &reversed(&text[8..12]), &reversed(&text[12..16]), &text[16..]].concat())
}

fn reason_of_text(text: &str) -> Option<&'static str> {
    let first = text.chars().next();
    if text.is_empty() || text.chars().all(|c| Some(c) == first) {
        return Some("placeholder: one repeated character");
    }
    if TEXTS.contains(&text) || text.contains("tobefilled") || text.contains("defaultstring") {
        return Some("placeholder: a text that was never filled in");
    }
    // A short value may be a part of a run; a long value may contain a part of one.
    let is_sequence =
        |run: &&str| run.contains(text) || (0..=run.len() - RUN_LEN).any(|at| text.contains(&run[at..at + RUN_LEN]));
    if RUNS.iter().any(is_sequence) {
        return Some("placeholder: characters in ascending or descending order");
    }
    let distinct = text.bytes().fold(0_u128, |seen, byte| seen | 1 << (byte & 0x7f)).count_ones();
    if text.len() >= 8 && distinct <= 2 {
        return Some("placeholder: two repeated characters");
    }
    if text.len() < LEN_MIN {
        return Some("too short to distinguish devices");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_default_values_are_placeholders() {
        for value in [
            "to be filled by o.e.m.",
            "to be filled by o.e.m",
            "default string",
            "none",
            "not specified",
            "n/a",
            "system serial number",
            "0",
            "0000000000000000",
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "03000200-0400-0500-0006-000700080009",
            "........",
            "xxxxxxxxxx",
            "0123456789",
            "123456789",
            "1234567890",
            "12345",
            "mb-1234567890",
            "bss-0123456789",
            "0123456789abcdef",
            "9876543210",
            "01010101010101",
            "fefefefe-fefe-fefe-fefe-fefefefefefe",
            "12345678-1234-5678-90ab-cddeefaabbcc",
            "a1",
            "  ",
            "31393138-3538-5a43-3135-353130323750",
            "38313931-3835-435a-3135-353130323750",
            "00000000-0000-0000-0807-060504030201",
            "78563412-3412-7856-90ab-cddeefaabbcc",
            "00020003-0004-0005-0006-000700080009",
            "44454c4c-0000-1020-8020-80c04f202020",
            "03020100-0504-0706-0809-0a0b0c0d0e0f",
            "00010203-0405-0607-0809-0a0b0c0d0e0f",
            "33221100-5544-7766-8899-aabbccddeeff",
        ] {
            assert!(reason(value).is_some(), "{value}");
        }
    }

    #[test]
    fn a_cid_without_a_serial_number_is_a_placeholder() {
        for (cid, expected) in [
            ("150100385339363039020d2a4b7c8f00", false),
            ("15010038533936303902000000008f00", true),
            ("1501003853393630390200000000ffff", true),
            ("150100385339363039020000000a8f00", false),
            ("15010038533936303902ffffffff8f00", true),
            ("00000000", false),
        ] {
            assert_eq!(cid_reason(cid).is_some(), expected, "{cid}");
        }
    }

    #[test]
    fn real_serials_are_not_placeholders() {
        for value in [
            "10000000a1b2c3d4",
            "4c4c4544-0042-3510-8052-b4c04f564231",
            "/7xk2kh3/cnws20007j00c3/",
            "s4evnf0m812345p",
            "150100385339363039020d2a4b7c8f00",
            "pf3k9q7x",
            "31393138-3538-5a43-3135-353130323751",
            "00000000-0000-0000-0807-060504030202",
            "1421219034",
            "e1ab2c",
            "7f3c",
        ] {
            assert_eq!(reason(value), None, "{value}");
        }
    }
}

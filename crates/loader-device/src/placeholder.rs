//! Values that a maker forgot to fill in, which many devices share.

/// Texts in lower case, without anything but letters and digits.
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
    // A Dell without a service tag
    "4c4c454400002010802080c04f202020",
    // What Rockchip's U-Boot draws from a seed that is always the same
    "c3d9b8674f4b94f6",
];

/// Runs of a value that nobody draws by chance; any part of them of this many
/// characters gives a placeholder away.
const RUNS: &[&str] = &["01234567890123456789", "fedcba9876543210", "98765432109876543210", "0123456789abcdef"];
const RUN_LEN: usize = 8;

/// Fewest letters and digits that can tell devices apart.
const LEN_MIN: usize = 4;

/// Why `value`, in lower case, says nothing of the device; `None` where it does.
pub(crate) fn reason(value: &str) -> Option<&'static str> {
    let text: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
    let first = text.chars().next();
    if text.is_empty() || text.chars().all(|c| Some(c) == first) {
        return Some("placeholder: one character over and over");
    }
    if TEXTS.contains(&text.as_str()) || text.contains("tobefilled") || text.contains("defaultstring") {
        return Some("placeholder: a text that was never filled in");
    }
    // Short values are caught when they are part of a run; long ones when they hold one.
    let counts =
        |run: &&str| run.contains(&text) || (0..=run.len() - RUN_LEN).any(|at| text.contains(&run[at..at + RUN_LEN]));
    if RUNS.iter().any(counts) {
        return Some("placeholder: characters that count up or down");
    }
    let distinct = text.bytes().fold(0_u128, |seen, byte| seen | 1 << (byte & 0x7f)).count_ones();
    if text.len() >= 8 && distinct <= 2 {
        return Some("placeholder: two characters over and over");
    }
    if text.len() < LEN_MIN {
        return Some("too short to tell devices apart");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makers_leave_behind_is_a_placeholder() {
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
        ] {
            assert!(reason(value).is_some(), "{value}");
        }
    }

    #[test]
    fn what_looks_like_a_serial_is_one() {
        for value in [
            "10000000a1b2c3d4",
            "4c4c4544-0042-3510-8052-b4c04f564231",
            "/7xk2kh3/cnws20007j00c3/",
            "s4evnf0m812345p",
            "150100385339363039020d2a4b7c8f00",
            "pf3k9q7x",
            "1421219034",
            "e1ab2c",
            "7f3c",
        ] {
            assert_eq!(reason(value), None, "{value}");
        }
    }
}

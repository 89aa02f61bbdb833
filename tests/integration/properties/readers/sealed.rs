//! Sealed files: header, fields, stream.

use loader_seal::{FIXED_LEN, Header, Key, Metadata, SealOptions, seal};
use std::sync::OnceLock;

/// Valid files and their keys.
const SAMPLES: [(&[u8], &str); 5] = [
    (
        include_bytes!("../../../vectors/ok_s1_8089.azs"),
        "AZ-SECRET-KEY-1QX7LM3XZHSPQ5S7GF877LLXAZUTE6CH8QTX8XCRATFFKWXUXCE57Z7N4YZK",
    ),
    (
        include_bytes!("../../../vectors/ok_s2_8121.azs"),
        "AZ-SECRET-KEY-1QXPSZ02PPPKXMT0EN60JCAL3SD75PNAND2T8SXSPMSMUPY9EY5LCGLR4WCT",
    ),
    (
        include_bytes!("../../../vectors/ok_s1_1.azs"),
        "AZ-SECRET-KEY-1QYFCHRK2VSTYUKF2VCYJDHCCNVMQZM556NZ9VV7CAHRDWGUFW877ZA2EL8D",
    ),
    (
        include_bytes!("../../../vectors/ok_s2_4041.azs"),
        "AZ-SECRET-KEY-1Q9WDY234N33795Y0AQS8HG7N3FYNJXA69HLSPK8Z73Z7DDLGZ2PQCGNJUGW",
    ),
    (
        include_bytes!("../../../vectors/ok_s2_0.azs"),
        "AZ-SECRET-KEY-1QXZLDAT32U2TT38VRGX082DK6VJDLTYHLSWFWK9TQ29V4HJNGGU8CPHP2EU",
    ),
];

const MAC_LEN: usize = 32;

/// Maximum length of the fields in bytes, so that the header fits into 64 KiB.
const FIELDS_MAX: usize = 65536 - FIXED_LEN - MAC_LEN;

struct Sample {
    header: Vec<u8>,
    body: &'static [u8],
    plain: Vec<u8>,
    keys: [Key; 1],
}

fn samples() -> &'static [Sample] {
    static SAMPLES_OPEN: OnceLock<Vec<Sample>> = OnceLock::new();
    SAMPLES_OPEN.get_or_init(|| {
        let open = |(sealed, key): &(&'static [u8], &str)| {
            let (keys, mut rest) = ([Key::parse(key).unwrap()], *sealed);
            let header = Header::read(&mut rest).unwrap();
            let (body, bytes, mut plain) = (rest, header.as_bytes().to_vec(), Vec::new());
            header.unlock(&keys).unwrap().open(&mut rest, &mut plain, 1).unwrap();
            Sample { header: bytes, body, plain, keys }
        };
        SAMPLES.iter().map(open).collect()
    })
}

/// A parsed header is a prefix of its input, is formatted to the same bytes, and opens only
/// if it was created with the key.
pub(super) fn header(input: &[u8]) {
    let mut rest = input;
    let Ok(header) = Header::read(&mut rest) else { return };
    let bytes = header.as_bytes().to_vec();
    assert_eq!([&bytes, rest].concat(), input);
    let again = Header::read(&mut &bytes[..]).unwrap();
    assert_eq!(format!("{again:?}"), format!("{header:?}"));
    assert!(header.sealed_len().is_none_or(|len| len > bytes.len() as u64));
    let _ = header.unverified_metadata();
    for sample in samples() {
        assert_eq!(header.clone().unlock(&sample.keys).is_ok(), bytes == sample.header);
    }
}

/// Fields keep their values when they are sealed again.
pub(super) fn tlvs(input: &[u8]) {
    let fields = &input[..input.len().min(FIELDS_MAX)];
    let mut bytes = samples()[0].header[..FIXED_LEN].to_vec();
    bytes[36..].copy_from_slice(&((FIXED_LEN + fields.len() + MAC_LEN) as u32).to_be_bytes());
    bytes.extend(fields);
    bytes.extend([0; MAC_LEN]);
    let header = Header::read(&mut &bytes[..]).unwrap();
    let Ok(metadata) = header.unverified_metadata() else { return };
    assert_eq!(resealed(&metadata), metadata);
}

fn resealed(metadata: &Metadata) -> Metadata {
    let options =
        SealOptions { metadata: metadata.clone(), spare_slots: 0, segment_log2: 12, ..SealOptions::default() };
    let mut sealed = Vec::new();
    let keys = &samples()[0].keys;
    // The additional slot may exceed the maximum length of a header.
    if seal(&mut &b""[..], &mut sealed, keys, &options).is_err() {
        return metadata.clone();
    }
    Header::read(&mut &sealed[..]).unwrap().unlock(keys).unwrap().metadata().clone()
}

/// After a valid header only its own stream is accepted. Any other stream releases at most
/// a prefix of the valid plaintext.
pub(super) fn stream(input: &[u8]) {
    let Some((choice, body)) = input.split_first() else { return };
    let sample = &samples()[usize::from(choice % 16) % SAMPLES.len()];
    let unlocked = Header::read(&mut &sample.header[..]).unwrap().unlock(&sample.keys).unwrap();
    let mut released = Vec::new();
    let threads = if *choice < 128 { 1 } else { 3 };
    let outcome = unlocked.open(&mut &body[..], &mut released, threads);
    assert_eq!(outcome.is_ok(), body == sample.body);
    assert!(sample.plain.starts_with(&released));
    assert!(outcome.is_err() || released == sample.plain);
}

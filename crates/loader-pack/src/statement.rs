//! Statement of the publisher about the content (crates/loader-pack/README.md, "Statement").

use crate::error::{UNKNOWN_FIELD, UNKNOWN_SIGNATURE};
use crate::{Error, Mismatch, PIECE_LENS, PIECES_MAX, Signature};
use loader_model::Description;
use sha2::{Digest, Sha256};
use std::fmt;

/// Type of the field after the statement that contains a signature.
const SIGNATURE: u8 = 0x01;

const CONTENT_TYPE: u8 = 0x03;
const NAME: u8 = 0x04;
const RELEASE: u8 = 0x05;
const IMAGES: u8 = 0x06;
const CONTENT_LEN: u8 = 0x10;
const CONTENT_DIGEST: u8 = 0x11;
const PIECE_LEN: u8 = 0x12;
const PIECE_DIGESTS: u8 = 0x13;

/// Lowest type that readers skip if they do not know it.
const FIRST_OPTIONAL: u8 = 0x80;

/// Length in bytes of the type and the length of a field.
const FIELD_HEAD_LEN: usize = 5;

/// Length of a digest in bytes.
const DIGEST_LEN: usize = 32;

/// Maximum length in bytes of a statement without its piece digests.
const DESCRIPTION_MAX: usize = 128 * 1024;

/// Maximum length in bytes of all signatures together.
const SIGNATURES_LEN_MAX: usize = 64 * 1024;

/// Maximum number of signatures: each costs a verification.
pub const SIGNATURES_MAX: usize = 16;

/// Identifier of a release: SHA-256 of the statement without its signatures. It does not
/// depend on how the content is compressed or sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReleaseId([u8; DIGEST_LEN]);

impl ReleaseId {
    /// Returns the id with this digest.
    pub fn from_bytes(digest: [u8; DIGEST_LEN]) -> Self {
        Self(digest)
    }

    /// Returns the digest, 32 bytes.
    pub fn as_bytes(&self) -> &[u8; DIGEST_LEN] {
        &self.0
    }
}

/// Writes 64 lower-case hexadecimal digits.
impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Statement about the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    bytes: Vec<u8>,
    description: Description,
    content_len: u64,
    content_digest: [u8; DIGEST_LEN],
    piece_len: usize,
    piece_digests: Vec<[u8; DIGEST_LEN]>,
    signatures: Vec<Signature>,
}

impl Statement {
    /// Creates a statement.
    ///
    /// # Errors
    /// [`Error::DescriptionTooLong`].
    pub(crate) fn new(
        description: Description,
        content_len: u64,
        content_digest: [u8; DIGEST_LEN],
        piece_len: usize,
        piece_digests: Vec<[u8; DIGEST_LEN]>,
    ) -> Result<Self, Error> {
        let mut bytes = Vec::new();
        let mut put = |kind: u8, value: &[u8]| put_field(&mut bytes, kind, value);
        let Description { content_type, name, release, images } = &description;
        for (kind, text) in [(CONTENT_TYPE, content_type), (NAME, name)] {
            text.iter().for_each(|text| put(kind, text.as_bytes()));
        }
        release.iter().for_each(|number| put(RELEASE, &number.to_be_bytes()));
        images.iter().for_each(|json| put(IMAGES, json.as_bytes()));
        put(CONTENT_LEN, &content_len.to_be_bytes());
        put(CONTENT_DIGEST, &content_digest);
        put(PIECE_LEN, &(piece_len as u32).to_be_bytes());
        put(PIECE_DIGESTS, piece_digests.as_flattened());
        if bytes.len() > DESCRIPTION_MAX + piece_digests.len() * DIGEST_LEN {
            return Err(Error::DescriptionTooLong);
        }
        Ok(Self { bytes, description, content_len, content_digest, piece_len, piece_digests, signatures: Vec::new() })
    }

    /// Returns the maximum length in bytes of statement and signatures about content of
    /// `pieces` pieces.
    pub(crate) fn payload_len_max(pieces: usize) -> usize {
        4 + DESCRIPTION_MAX + pieces * DIGEST_LEN + SIGNATURES_LEN_MAX
    }

    /// Adds `signatures` to those of the statement.
    ///
    /// # Errors
    /// [`Error::Signatures`] if there are more than [`SIGNATURES_MAX`], or two of one key.
    pub(crate) fn add_signatures(&mut self, signatures: &[Signature]) -> Result<(), Error> {
        self.signatures.extend(signatures);
        check_signatures(&self.signatures).map_err(Error::Signatures)
    }

    /// Returns the content of the skippable frame: length of the statement (4 bytes),
    /// statement, signatures.
    pub(crate) fn to_payload(&self) -> Vec<u8> {
        let mut payload = [&(self.bytes.len() as u32).to_be_bytes()[..], &self.bytes].concat();
        for signature in &self.signatures {
            put_field(&mut payload, SIGNATURE, &signature.encode());
        }
        payload
    }

    /// Parses the content of the skippable frame.
    ///
    /// # Errors
    /// A description of the defect.
    pub(crate) fn from_payload(payload: &[u8]) -> Result<Self, &'static str> {
        let (len, rest) = payload.split_first_chunk::<4>().ok_or("it is too short")?;
        let len = u32::from_be_bytes(*len) as usize;
        let (bytes, fields) = rest.split_at_checked(len).ok_or("its length is wrong")?;
        if fields.len() > SIGNATURES_LEN_MAX {
            return Err("its signatures are longer than 64 KiB");
        }
        let mut previous = 0;
        let mut signatures = Vec::new();
        for field in Fields(fields) {
            let (kind, value) = field?;
            if kind < previous {
                return Err("its signatures are not in order");
            }
            previous = kind;
            match kind {
                SIGNATURE => signatures.push(Signature::decode(value).ok_or("a signature has a wrong length")?),
                kind if kind < FIRST_OPTIONAL => return Err(UNKNOWN_SIGNATURE),
                _ => {}
            }
        }
        check_signatures(&signatures)?;
        let statement = Self { signatures, ..Self::parse(bytes)? };
        if bytes.len() - statement.piece_digests.len() * DIGEST_LEN > DESCRIPTION_MAX {
            return Err("its description is longer than 128 KiB");
        }
        Ok(statement)
    }

    fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut description = Description::default();
        let (mut content_len, mut content_digest, mut piece_len, mut digests) = (None, None, None, None);
        let mut previous = 0;
        for field in Fields(bytes) {
            let (kind, value) = field?;
            if kind <= previous {
                return Err("its fields are not in order");
            }
            previous = kind;
            let text = || String::from_utf8(value.to_vec()).map_err(|_| "a text is not UTF-8");
            match kind {
                CONTENT_TYPE => description.content_type = Some(text()?),
                NAME => description.name = Some(text()?),
                RELEASE => description.release = Some(number(value)?),
                IMAGES => description.images = Some(text()?),
                CONTENT_LEN => content_len = Some(number(value)?),
                CONTENT_DIGEST => content_digest = Some(value.try_into().map_err(|_| WRONG_LEN)?),
                PIECE_LEN => piece_len = Some(u32::from_be_bytes(value.try_into().map_err(|_| WRONG_LEN)?) as usize),
                PIECE_DIGESTS => digests = Some(value),
                kind if kind >= FIRST_OPTIONAL => {}
                _ => return Err(UNKNOWN_FIELD),
            }
        }
        let missing = "a field is missing";
        let content_len = content_len.ok_or(missing)?;
        let piece_len = piece_len.filter(|len| len.is_power_of_two() && PIECE_LENS.contains(len));
        let piece_len = piece_len.ok_or("its piece length is not a power of two from 4 KiB to 4 MiB")?;
        let (piece_digests, rest) = digests.ok_or(missing)?.as_chunks::<DIGEST_LEN>();
        let pieces = content_len.div_ceil(piece_len as u64);
        if !rest.is_empty() || piece_digests.len() as u64 != pieces || piece_digests.len() > PIECES_MAX {
            return Err("its lengths contradict each other");
        }
        Ok(Self {
            bytes: bytes.to_vec(),
            description,
            content_len,
            content_digest: content_digest.ok_or(missing)?,
            piece_len,
            piece_digests: piece_digests.to_vec(),
            signatures: Vec::new(),
        })
    }

    /// Returns the identifier of the release.
    pub fn release_id(&self) -> ReleaseId {
        ReleaseId(Sha256::digest(&self.bytes).into())
    }

    /// Returns the signatures, which are not verified; each has another key.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Returns the description of the content.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Returns the length of the content in bytes.
    pub fn content_len(&self) -> u64 {
        self.content_len
    }

    /// Returns the SHA-256 of the content.
    pub fn content_digest(&self) -> &[u8; DIGEST_LEN] {
        &self.content_digest
    }

    /// Returns the length in bytes of every piece but the last.
    pub fn piece_len(&self) -> usize {
        self.piece_len
    }

    /// Returns the SHA-256 of each piece.
    pub fn piece_digests(&self) -> &[[u8; DIGEST_LEN]] {
        &self.piece_digests
    }

    /// Returns the length in bytes of piece `index`.
    pub(crate) fn len_of_piece(&self, index: usize) -> usize {
        let start = index as u64 * self.piece_len as u64;
        self.content_len.saturating_sub(start).min(self.piece_len as u64) as usize
    }

    /// Compares the statement with the description of the content in the header of its file,
    /// which a holder of a key can rewrite, and with the length there, if there is one.
    /// Returns the name of the first difference.
    pub fn difference(&self, header: &Description, content_len: Option<u64>) -> Option<&'static str> {
        let stated = &self.description;
        let differs = [
            ("name", stated.name != header.name),
            ("release", stated.release != header.release),
            ("content type", stated.content_type != header.content_type),
            ("list of images", stated.images != header.images),
            ("length of the content", content_len.is_some_and(|len| len != self.content_len)),
        ];
        differs.into_iter().find(|(_, differs)| *differs).map(|(what, _)| what)
    }

    /// Checks the length of piece `index`.
    pub(crate) fn check_piece_len(&self, index: usize, len: usize) -> Result<(), Mismatch> {
        let declared = self.len_of_piece(index);
        if declared == len {
            return Ok(());
        }
        Err(Mismatch::PieceLen { piece: index as u64, declared: declared as u64, actual: len as u64 })
    }

    /// Checks the digest of piece `index`.
    pub(crate) fn check_piece(&self, index: usize, digest: &[u8; DIGEST_LEN]) -> Result<(), Mismatch> {
        if self.piece_digests.get(index) == Some(digest) {
            return Ok(());
        }
        Err(Mismatch::Piece { piece: index as u64, offset: index as u64 * self.piece_len as u64 })
    }
}

fn put_field(bytes: &mut Vec<u8>, kind: u8, value: &[u8]) {
    bytes.push(kind);
    bytes.extend((value.len() as u32).to_be_bytes());
    bytes.extend(value);
}

fn check_signatures(signatures: &[Signature]) -> Result<(), &'static str> {
    if signatures.len() > SIGNATURES_MAX {
        return Err("it has more than 16 signatures");
    }
    let is_repeated = |(i, signature): (usize, &Signature)| signatures[..i].iter().any(|s| s.key() == signature.key());
    if signatures.iter().enumerate().any(is_repeated) { Err("it has two signatures of one key") } else { Ok(()) }
}

const WRONG_LEN: &str = "a field has a wrong length";

fn number(value: &[u8]) -> Result<u64, &'static str> {
    value.try_into().map(u64::from_be_bytes).map_err(|_| WRONG_LEN)
}

/// Iterates over type and value of fields.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u8, &'a [u8]), &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.0.split_first_chunk::<FIELD_HEAD_LEN>().and_then(|(head, rest)| {
            let [kind, len @ ..] = *head;
            let (value, rest) = rest.split_at_checked(u32::from_be_bytes(len) as usize)?;
            self.0 = rest;
            Some((kind, value))
        });
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or("a field is longer than the statement"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> Description {
        Description {
            content_type: Some("text/plain".to_owned()),
            name: Some("models/a".to_owned()),
            release: Some(7),
            images: Some("[]".to_owned()),
        }
    }

    fn statement() -> Statement {
        Statement::new(description(), 5000, [9; 32], 4096, vec![[1; 32], [2; 32]]).unwrap()
    }

    #[test]
    fn payload_round_trips_and_the_id_identifies_it() {
        for description in [Description::default(), description()] {
            let statement = Statement::new(description, 5000, [9; 32], 4096, vec![[1; 32]; 2]).unwrap();
            let parsed = Statement::from_payload(&statement.to_payload()).unwrap();
            assert_eq!(parsed, statement);
            assert_eq!(parsed.release_id(), statement.release_id());
        }
        let other = Statement::new(Description { release: Some(8), ..description() }, 5000, [9; 32], 4096, vec![]);
        assert_ne!(other.unwrap().release_id(), statement().release_id());
        assert_eq!(statement().release_id().to_string().len(), 64);
    }

    #[test]
    fn cuts_and_foreign_fields_are_refused() {
        let payload = statement().to_payload();
        for at in 0..payload.len() {
            assert!(Statement::from_payload(&payload[..at]).is_err(), "{at}");
        }
        let with = |field: &[u8]| {
            let mut bytes = statement().bytes;
            bytes.extend(field);
            let statement = Statement { bytes, ..statement() };
            Statement::from_payload(&statement.to_payload())
        };
        assert!(with(&[0x80, 0, 0, 0, 1, 5]).is_ok(), "optional");
        assert_ne!(with(&[0x80, 0, 0, 0, 1, 5]).unwrap().release_id(), statement().release_id());
        assert_eq!(with(&[0x7f, 0, 0, 0, 0]), Err("it has a field that this version does not know"));
        assert_eq!(with(&[0x13, 0, 0, 0, 0]), Err("its fields are not in order"));
        let signed = |field: &[u8]| Statement::from_payload(&[&payload[..], field].concat());
        assert_eq!(signed(&[2, 0, 0, 0, 0]), Err("it has a signature that this version does not know"));
        assert_eq!(signed(&[1, 0, 0, 0, 0]), Err("a signature has a wrong length"));
        assert_eq!(signed(&[0x90, 0, 0, 0, 1, 1]).unwrap(), statement());
        assert_eq!(signed(&[0x90, 0, 0, 0, 2, 1]), Err("a field is longer than the statement"));
    }

    #[test]
    fn signatures_round_trip_and_do_not_change_the_release_id() {
        let signature = |key: u8| Signature::decode(&[&[key; 32][..], &[key + 1; 64]].concat()).unwrap();
        let mut signed = statement();
        signed.add_signatures(&[signature(1), signature(2)]).unwrap();
        let parsed = Statement::from_payload(&signed.to_payload()).unwrap();
        assert_eq!(parsed.signatures(), [signature(1), signature(2)]);
        assert_eq!(parsed.release_id(), statement().release_id());

        assert!(signed.add_signatures(&[signature(1)]).is_err());
        assert_eq!(Statement::from_payload(&signed.to_payload()), Err("it has two signatures of one key"));
        let many: Vec<_> = (0..SIGNATURES_MAX as u8 + 1).map(signature).collect();
        let signed = Statement { signatures: many, ..statement() };
        assert_eq!(Statement::from_payload(&signed.to_payload()), Err("it has more than 16 signatures"));
    }

    #[test]
    fn contradicting_lengths_are_refused() {
        let cases = [(5000, 4096, 1), (5000, 4096, 3), (0, 4096, 1), (u64::MAX, 4096, 2)];
        for (content_len, piece_len, pieces) in cases {
            let made = Statement::new(Description::default(), content_len, [0; 32], piece_len, vec![[0; 32]; pieces]);
            let parsed = Statement::from_payload(&made.unwrap().to_payload());
            assert_eq!(parsed, Err("its lengths contradict each other"), "{content_len} {piece_len} {pieces}");
        }
        for piece_len in [0, 2048, 5000, 1 << 23] {
            let made = Statement::new(Description::default(), 1, [0; 32], piece_len, vec![[0; 32]]).unwrap();
            assert!(Statement::from_payload(&made.to_payload()).unwrap_err().contains("piece length"), "{piece_len}");
        }
    }

    #[test]
    fn long_descriptions_are_refused() {
        let description = Description { images: Some("x".repeat(DESCRIPTION_MAX)), ..Description::default() };
        assert!(matches!(Statement::new(description, 0, [0; 32], 4096, vec![]), Err(Error::DescriptionTooLong)));
    }
}

//! Packed content: frames, statement, seek table.

use loader_model::Description;
use loader_pack::{PackOptions, PackedFile, ReleaseId, Signature, SigningKey, Verify, pack_pieces, unpack};
use sha2::{Digest, Sha256};
use std::io::{self, Cursor, Write};
use std::sync::LazyLock;

/// Output that only hashes.
struct Hasher(Sha256, u64);

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        self.1 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl loader_pipe::Sink for Hasher {}

/// PKCS #8 of an Ed25519 key (RFC 8410) up to its 32 bytes, which are all 7 here.
const PKCS8_PREFIX: [u8; 16] = [48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32];

fn signing_key() -> SigningKey {
    SigningKey::from_pkcs8(&[&PKCS8_PREFIX[..], &[7; 32]].concat()).unwrap()
}

/// The only release that the key has signed.
static SIGNED: LazyLock<(ReleaseId, Vec<u8>)> = LazyLock::new(|| {
    let description = Description { name: Some("models/a".to_owned()), release: Some(7), ..Description::default() };
    let options = PackOptions { description, ..PackOptions::default() };
    let mut packed = Vec::new();
    let pieces = pack_pieces(&mut &b"signed"[..], &mut packed, &options).unwrap();
    let id = pieces.statement().release_id();
    pieces.finish(&mut packed, &[signing_key().sign(&id)]).unwrap();
    (id, packed)
});

/// Returns packed content that the key has signed.
#[allow(dead_code, reason = "the fuzz targets have their own seeds")]
pub(crate) fn signed() -> Vec<u8> {
    SIGNED.1.clone()
}

/// The readers of streams and of files accept the same inputs, and only content that matches
/// its statement. A valid signature is on a release that the key has signed.
pub(super) fn packed(input: &[u8]) {
    let (mut streamed, mut from_file) = (Hasher(Sha256::new(), 0), Hasher(Sha256::new(), 0));
    let stream = unpack(&mut &*input, &mut streamed, Verify::PiecesAndContent, 1);
    let file = PackedFile::open(Cursor::new(input)).and_then(|mut file| {
        file.unpack(&mut from_file, Verify::PiecesAndContent, 1).map(|()| file.statement().clone())
    });
    assert_eq!(stream.is_ok(), file.is_ok(), "{:?} {:?}", stream.err(), file.err());
    let (Ok(stream), Ok(file)) = (stream, file) else { return };
    assert_eq!(stream, file);
    let id = file.release_id();
    let is_by_key = |signature: &&Signature| signature.key() == signing_key().public_key();
    if file.signatures().iter().filter(is_by_key).any(|signature| signature.is_valid(&id)) {
        assert_eq!(id, SIGNED.0, "a forged signature");
    }
    for Hasher(content, len) in [streamed, from_file] {
        let digest: [u8; 32] = content.finalize().into();
        assert_eq!((&digest, len), (stream.content_digest(), stream.content_len()));
    }
}

//! Packed content: frames, statement, seek table.

use loader_pack::{PackedFile, Verify, unpack};
use sha2::{Digest, Sha256};
use std::io::{self, Cursor, Write};

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

/// The readers of streams and of files accept the same inputs, and only content that matches
/// its statement.
pub(super) fn packed(input: &[u8]) {
    let (mut streamed, mut from_file) = (Hasher(Sha256::new(), 0), Hasher(Sha256::new(), 0));
    let stream = unpack(&mut &*input, &mut streamed, Verify::PiecesAndContent, 1);
    let file = PackedFile::open(Cursor::new(input)).and_then(|mut file| {
        file.unpack(&mut from_file, Verify::PiecesAndContent, 1).map(|()| file.statement().clone())
    });
    assert_eq!(stream.is_ok(), file.is_ok(), "{:?} {:?}", stream.err(), file.err());
    let (Ok(stream), Ok(file)) = (stream, file) else { return };
    assert_eq!(stream, file);
    for Hasher(content, len) in [streamed, from_file] {
        let digest: [u8; 32] = content.finalize().into();
        assert_eq!((&digest, len), (stream.content_digest(), stream.content_len()));
    }
}

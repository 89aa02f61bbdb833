//! The content of one member as it passes: its digests, and the text of a small
//! document.

use crate::Error;
use crate::name::hex;
use flate2::write::MultiGzDecoder;
use sha2::{Digest, Sha256};
use std::io::{self, Write};

/// What a file in the archive turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) size: u64,
    /// SHA-256 of the bytes as they are stored.
    pub(crate) sha256: [u8; 32],
    pub(crate) coding: Coding,
}

/// How the bytes of a file are packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Plain,
    /// gzip, with the SHA-256 of the unpacked bytes where they were looked at.
    Gzip(Option<[u8; 32]>),
    /// Another packing, by the name of its program; not looked into.
    Other(&'static str),
}

impl File {
    /// The digest of the stored bytes.
    pub(crate) fn digest(&self) -> String {
        format!("sha256:{}", hex(&self.sha256))
    }

    /// The digest of the unpacked bytes, where it is known.
    pub(crate) fn diff_id(&self) -> Option<String> {
        match &self.coding {
            Coding::Plain => Some(self.digest()),
            Coding::Gzip(unpacked) => unpacked.as_ref().map(|sha256| format!("sha256:{}", hex(sha256))),
            Coding::Other(_) => None,
        }
    }
}

/// Bytes that tell how the rest is packed.
const START_LEN: usize = 6;

/// The packing that begins like this to any engine; `None` for none that is known.
pub(crate) fn packing(start: &[u8]) -> Option<&'static str> {
    match start {
        [0x1f, 0x8b, ..] => Some("gzip"),
        // Also a frame that is to be skipped, with another behind it.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some("zstd"),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some("xz"),
        [b'B', b'Z', b'h', ..] => Some("bzip2"),
        _ => None,
    }
}

/// Looks at the content of a file.
pub(crate) struct Content {
    size: u64,
    seen: u64,
    stored: Sha256,
    start: Vec<u8>,
    unpack: bool,
    gzip: Option<MultiGzDecoder<Hashing>>,
    packing: Option<&'static str>,
}

/// A writer that only hashes.
struct Hashing(Sha256);

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Content {
    /// For a file of `size` bytes; with `unpack`, gzip is looked into.
    pub(crate) fn new(size: u64, unpack: bool) -> Self {
        let (stored, start) = (Sha256::new(), Vec::with_capacity(START_LEN));
        Self { size, seen: 0, stored, start, unpack, gzip: None, packing: None }
    }

    /// True before the first byte.
    pub(crate) fn is_fresh(&self) -> bool {
        self.seen == 0
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`Error::Malformed`] where gzip is damaged.
    pub(crate) fn push(&mut self, member: &str, bytes: &[u8]) -> Result<(), Error> {
        self.stored.update(bytes);
        self.seen += bytes.len() as u64;
        let missing = START_LEN - self.start.len();
        if missing == 0 {
            return self.unpack(member, bytes);
        }
        let (head, rest) = bytes.split_at(missing.min(bytes.len()));
        self.start.extend(head);
        if self.start.len() == START_LEN || self.seen == self.size {
            self.packing = packing(&self.start);
            if self.unpack && self.packing == Some("gzip") {
                self.gzip = Some(MultiGzDecoder::new(Hashing(Sha256::new())));
                let start = self.start.clone();
                self.unpack(member, &start)?;
                return self.unpack(member, rest);
            }
        }
        Ok(())
    }

    fn unpack(&mut self, member: &str, bytes: &[u8]) -> Result<(), Error> {
        match &mut self.gzip {
            Some(gzip) => {
                gzip.write_all(bytes).map_err(|error| Error::malformed(member, format_args!("gzip: {error}")))
            }
            None => Ok(()),
        }
    }

    /// What the file was.
    ///
    /// # Errors
    /// [`Error::Malformed`] where gzip ends too early or fails its own check.
    pub(crate) fn finish(self, member: &str) -> Result<File, Error> {
        let bad = |error: io::Error| Error::malformed(member, format_args!("gzip: {error}"));
        let coding = match (self.gzip, self.packing) {
            (Some(gzip), _) => Coding::Gzip(Some(gzip.finish().map_err(bad)?.0.finalize().into())),
            (None, Some("gzip")) => Coding::Gzip(None),
            (None, Some(other)) => Coding::Other(other),
            (None, None) => Coding::Plain,
        };
        Ok(File { size: self.size, sha256: self.stored.finalize().into(), coding })
    }
}

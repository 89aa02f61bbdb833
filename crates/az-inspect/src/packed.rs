//! Report on packed content, which needs the key and the complete file.

use loader_pack::{PackedFile, Statement};
use loader_seal::{Error, Unlocked};
use serde::Serialize;
use std::io::{Read, Seek};

/// What is known about packed content. Nothing without the key.
#[derive(Default)]
pub(crate) struct PackedReport {
    pub(crate) statement: Option<StatementReport>,
    /// Whether the file is complete, if that was checked.
    pub(crate) is_complete: Option<bool>,
}

/// The statement of the publisher. Sizes are in bytes.
#[derive(Serialize)]
pub(crate) struct StatementReport {
    release_id: String,
    pub(crate) content_size: u64,
    content_sha256: String,
    piece_size: usize,
    packed_size: u64,
}

impl PackedReport {
    /// Reads the statement from `file`. If the file is incomplete or damaged at its end,
    /// there is no statement.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub(crate) fn read(unlocked: &Unlocked, file: impl Read + Seek) -> Result<Self, Error> {
        if unlocked.metadata().encoding.as_deref() != Some(loader_pack::ENCODING) {
            return Ok(Self::default());
        }
        let opened = unlocked.opened_file(file).and_then(|plaintext| {
            PackedFile::open(plaintext).map(Some).or_else(|error| match error {
                loader_pack::Error::Read(error) => Err(Error::from_io(error)),
                _ => Ok(None),
            })
        });
        let packed = match opened {
            Err(Error::Read(error)) => return Err(Error::Read(error)),
            outcome => outcome.ok().flatten(),
        };
        let statement = packed.map(|packed| StatementReport::new(packed.statement(), packed.packed_len()));
        Ok(Self { is_complete: Some(statement.is_some()), statement })
    }
}

impl StatementReport {
    fn new(statement: &Statement, packed_size: u64) -> Self {
        Self {
            release_id: statement.release_id().to_string(),
            content_size: statement.content_len(),
            content_sha256: hex::encode(statement.content_digest()),
            piece_size: statement.piece_len(),
            packed_size,
        }
    }
}

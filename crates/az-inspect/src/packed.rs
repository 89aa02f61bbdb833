//! Report on packed content, which needs the key and the complete file.

use loader_model::Coded;
use loader_pack::{PackedFile, Statement};
use loader_release::{OpenError, Policy};
use loader_seal::{Error, Unlocked};
use loader_stage::ErrorCode;
use serde::Serialize;
use std::io::{Read, Seek};

/// What is known about packed content. Nothing without the key.
#[derive(Default)]
pub(crate) struct PackedReport {
    pub(crate) statement: Option<StatementReport>,
    /// Whether the file is complete, if that was checked.
    pub(crate) is_complete: Option<bool>,
    /// Why the content is not accepted.
    pub(crate) refusal: Option<OpenError>,
}

/// The statement of the publisher. Sizes are in bytes.
#[derive(Serialize)]
pub(crate) struct StatementReport {
    release_id: String,
    pub(crate) content_size: u64,
    content_sha256: String,
    piece_size: usize,
    packed_size: u64,
    signatures: Vec<SignatureReport>,
}

#[derive(Serialize)]
struct SignatureReport {
    /// SHA-256 of the public key.
    key: String,
    valid: bool,
}

impl PackedReport {
    /// Reads the statement from `file`. If the file is incomplete or damaged at its end,
    /// there is no statement.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub(crate) fn read(unlocked: &Unlocked, policy: &Policy, file: impl Read + Seek) -> Result<Self, Error> {
        if unlocked.metadata().encoding.as_deref() != Some(loader_pack::ENCODING) {
            let accepted = policy.check_without_statement(&unlocked.metadata().description);
            return Ok(Self { refusal: accepted.err().map(OpenError::from), ..Self::default() });
        }
        let opened = unlocked.opened_file(file).map(PackedFile::open);
        let packed = match opened {
            Err(Error::Read(error)) | Ok(Err(loader_pack::Error::Read(error))) => match Error::from_io(error) {
                error @ Error::Read(_) => return Err(error),
                _ => None,
            },
            // It may be complete, but a newer version is needed to read it.
            Ok(Err(error)) if error.code() == ErrorCode::Unsupported => return Ok(Self::default()),
            Err(_) | Ok(Err(_)) => None,
            Ok(Ok(packed)) => Some(packed),
        };
        let Some(packed) = packed else { return Ok(Self { is_complete: Some(false), ..Self::default() }) };
        let statement = packed.statement();
        Ok(Self {
            is_complete: Some(true),
            refusal: policy.check_statement(statement, unlocked.metadata()).err(),
            statement: Some(StatementReport::new(statement, packed.packed_len())),
        })
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
            signatures: statement
                .signatures()
                .iter()
                .map(|signature| SignatureReport {
                    key: signature.key().to_string(),
                    valid: signature.is_valid(&statement.release_id()),
                })
                .collect(),
        }
    }
}

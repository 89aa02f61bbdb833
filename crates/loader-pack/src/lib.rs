//! Packed content (crates/loader-pack/README.md): content as a sequence of zstd frames,
//! one for each piece, followed by a statement about the content and a seek table.
//!
//! [`pack`] and [`unpack`] read and write streams; [`pack_pieces`] lets a publisher sign the
//! statement; [`PackedFile`] and [`PieceReader`] read at any position; [`repack`] packs content for
//! which there already is a statement.
//! Pieces are compressed and decompressed by several threads, in order and in memory
//! that does not depend on the length of the content, except for at most 160 bytes per
//! piece of 4 MiB. The
//! crate opens no socket and does not know how packed content is sealed.

mod codec;
mod error;
mod frame;
mod packed_file;
mod packer;
mod piece_reader;
mod repacker;
mod seek_table;
mod signature;
mod statement;
mod unpacker;

pub use error::{Error, Mismatch};
pub use packed_file::PackedFile;
pub use packer::{PackOptions, Packed, PackedPieces, pack, pack_pieces};
pub use piece_reader::PieceReader;
pub use repacker::{StatedContent, copy_stated, repack};
pub use signature::{PublisherKey, SIGNATURE_LEN, Signature, SigningKey, signed_message};
pub use statement::{ReleaseId, SIGNATURES_MAX, Statement};
pub use unpacker::unpack;

/// Name of the encoding in the header of a sealed file.
pub const ENCODING: &str = "zstd";

/// Length in bytes of every piece but the last, which may be shorter. Shorter pieces make
/// the file longer, longer ones need more memory
/// (crates/loader-pack/README.md, "Choices").
pub const PIECE_LEN: usize = 1 << 22;

/// Range of the piece lengths that readers accept. A piece length is a power of two.
const PIECE_LENS: std::ops::RangeInclusive<usize> = 1 << 12..=PIECE_LEN;

/// Maximum number of pieces: 1 TiB of content.
pub const PIECES_MAX: usize = 1 << 18;

/// Accepted compression levels of zstd.
pub const LEVELS: std::ops::RangeInclusive<i32> = 1..=19;

/// Extent of the comparison of content with its statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Every length and the digest of each piece, which covers all of the content.
    Pieces,
    /// Also the digest of the whole content, which takes a second calculation of SHA-256.
    PiecesAndContent,
}

/// Default compression level.
pub const DEFAULT_LEVEL: i32 = 9;

//! The tar format: a parser that the bytes are pushed into, and the header blocks
//! of a new archive.
//!
//! The `tar` crate reads archives in order to unpack them: it accepts the end of the
//! input as the end of the archive, skips padding unseen, and reserves the memory
//! that a long name asks for. A gate needs the opposite, so that the blocks are
//! parsed here. The crate writes the archives of the tests.

mod extensions;
mod header;
mod parser;
mod write;

pub(crate) use header::{BLOCK_LEN, Header, is_file, is_zero};
pub(crate) use parser::{Flaw, Member, Parser, Rules, Visitor};
pub(crate) use write::{END_OF_ARCHIVE, file_header, padding_len};

//! Reading unpacked content at any position.

use crate::codec::PieceDecompressor;
use crate::frame::frame_len_max;
use crate::packed_file::read_frame;
use crate::{Error, PackedFile, Statement};
use sha2::{Digest, Sha256};
use std::io::{Read, Seek, SeekFrom};
use std::sync::atomic::AtomicBool;

/// Unpacked content at any position. Keeps the pieces that were used last, so that reads near
/// each other decompress a piece once. Every piece is checked against the statement.
pub struct PieceReader<R> {
    file: PackedFile<R>,
    /// Offset of each frame in the packed content.
    offsets: Vec<u64>,
    frame: Vec<u8>,
    decompressor: PieceDecompressor,
    /// Pieces in memory, the one that was used last at the end.
    cached: Vec<(usize, Vec<u8>)>,
    capacity: usize,
}

impl<R: Read + Seek> PackedFile<R> {
    /// Returns a reader of the content that keeps `pieces` pieces in memory, at least one.
    ///
    /// # Errors
    /// [`Error::Read`] if the decompressor has too little memory.
    pub fn into_reader(self, pieces: usize) -> Result<PieceReader<R>, Error> {
        let mut next = 0;
        let offset_of = |len: u32| {
            let offset = next;
            next += u64::from(len);
            offset
        };
        let offsets = self.frame_lens().map(offset_of).collect();
        let decompressor = PieceDecompressor::new().map_err(|what| Error::Read(std::io::Error::other(what)))?;
        let frame = vec![0; frame_len_max(self.statement().piece_len())];
        Ok(PieceReader { file: self, offsets, frame, decompressor, cached: Vec::new(), capacity: pieces.max(1) })
    }
}

impl<R: Read + Seek> PieceReader<R> {
    /// Returns the statement.
    pub fn statement(&self) -> &Statement {
        self.file.statement()
    }

    /// Fills `bytes` with the content from `offset`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Frame`], [`Error::Mismatch`], [`Error::Truncated`],
    /// [`Error::Read`].
    pub fn read_at(&mut self, offset: u64, mut bytes: &mut [u8]) -> Result<(), Error> {
        let content_len = self.statement().content_len();
        let len = bytes.len() as u64;
        if offset.checked_add(len).is_none_or(|end| end > content_len) {
            return Err(Error::OutOfRange { offset, len: Some(len), content_len });
        }
        let piece_len = self.statement().piece_len() as u64;
        let mut offset = offset;
        while !bytes.is_empty() {
            let start = (offset % piece_len) as usize;
            let piece = self.piece((offset / piece_len) as usize)?;
            let taken = bytes.len().min(piece.len() - start);
            bytes[..taken].copy_from_slice(&piece[start..start + taken]);
            bytes = &mut bytes[taken..];
            offset += taken as u64;
        }
        Ok(())
    }

    /// Returns piece `index`.
    fn piece(&mut self, index: usize) -> Result<&[u8], Error> {
        let cached = match self.cached.iter().position(|(cached, _)| *cached == index) {
            Some(position) => self.cached.remove(position),
            None => {
                let mut memory = match self.cached.len() < self.capacity {
                    true => Vec::new(),
                    false => self.cached.remove(0).1,
                };
                self.load(index, &mut memory)?;
                (index, memory)
            }
        };
        self.cached.push(cached);
        Ok(self.cached.last().map_or(&[], |(_, piece)| piece))
    }

    fn load(&mut self, index: usize, piece: &mut Vec<u8>) -> Result<(), Error> {
        let offset = self.offsets.get(index).copied().unwrap_or_default();
        let (input, entry) = self.file.frame_source(index);
        input.seek(SeekFrom::Start(offset)).map_err(Error::Read)?;
        let job = read_frame(input, &mut self.frame, (index, offset), &entry, &AtomicBool::new(false))?;
        piece.resize(job.lens.piece, 0);
        let outcome = self.decompressor.decompress(&self.frame[..job.lens.frame], piece);
        outcome.map_err(|what| Error::Frame { index: index as u64, offset, what })?;
        let digest = Sha256::digest(&piece).into();
        self.file.statement().check_piece(index, &digest).map_err(Error::Mismatch)
    }
}

//! Output of whole buffers: to a writer, or to a pipe without copying (vmsplice).
//!
//! `write` copies every byte into pages of the pipe. With vmsplice the pipe refers to the
//! writer's pages instead. A reader may splice or tee those pages on and keep them long
//! after the pipe looks empty, so memory that was passed to a pipe is never written again:
//! it is returned to the kernel and replaced by fresh memory. This is faster than copying
//! only if the kernel supplies fresh memory in huge pages. If it does not, or if it
//! rejects vmsplice, a [`Buffer`] is ordinary memory and its bytes are written.
//!
//! [`process_in_order`] fills, processes and writes such buffers in several threads.
//!
//! [`was_closed_at_start`] reports the standard descriptors that were closed when the
//! process was started.

mod closed_fds;
mod huge_pages;
mod parallel;
mod read;

pub use closed_fds::was_closed_at_start;
use huge_pages::HugePages;
pub use parallel::process_in_order;
pub use read::{read_full, read_full_unless_stopped};
use std::fmt;
use std::io::{self, Write};
use std::ops::{Deref, Range};
use std::os::fd::AsFd;

/// An output of whole buffers.
pub trait Sink: Write {
    /// Returns the kind of memory that buffers for this output should use.
    fn memory(&self) -> Memory {
        Memory::Ordinary
    }

    /// Writes the bytes of `buffer` in `range`. The content of `buffer` is unspecified
    /// afterwards.
    ///
    /// # Errors
    /// Those of [`Write::write_all`].
    fn write_from(&mut self, buffer: &mut Buffer, range: Range<usize>) -> io::Result<()> {
        self.write_all(&buffer[range])
    }
}

impl Sink for Vec<u8> {}
impl Sink for io::Sink {}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn memory(&self) -> Memory {
        (**self).memory()
    }

    fn write_from(&mut self, buffer: &mut Buffer, range: Range<usize>) -> io::Result<()> {
        (**self).write_from(buffer, range)
    }
}

/// Kind of memory of a [`Buffer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// The heap.
    Ordinary,
    /// Huge pages that vmsplice can pass to a pipe, if the kernel supplies them; otherwise the heap.
    Pages,
}

/// Memory that is filled repeatedly and whose bytes can be passed to a pipe.
#[derive(Debug)]
pub struct Buffer(Storage);

enum Storage {
    Heap(Box<[u8]>),
    Pages(HugePages),
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Heap(_) => "Heap",
            Self::Pages(_) => "Pages",
        })
    }
}

impl Buffer {
    /// Allocates a buffer of `len` bytes.
    pub fn new(memory: Memory, len: usize) -> Self {
        let pages = if memory == Memory::Pages { HugePages::new(len) } else { None };
        Self(pages.map_or_else(|| heap(len), Storage::Pages))
    }

    /// Returns the bytes to fill. If the previous bytes were passed to a pipe, this is
    /// different memory.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        if let Storage::Pages(pages) = &mut self.0
            && !pages.next_slot()
        {
            self.0 = heap(pages.len());
        }
        match &mut self.0 {
            Storage::Heap(bytes) => bytes,
            Storage::Pages(pages) => pages.bytes_mut(),
        }
    }

    /// Passes as many of the first bytes in `range` to `pipe` as it accepts without a copy,
    /// and returns their number. The caller writes the rest, which is all of `range` if
    /// this memory or the kernel does not support vmsplice.
    ///
    /// # Errors
    /// [`io::ErrorKind::BrokenPipe`] if the reader has closed the pipe.
    pub fn vmsplice_to(&mut self, pipe: impl AsFd, range: Range<usize>) -> io::Result<usize> {
        match &mut self.0 {
            Storage::Heap(_) => Ok(0),
            Storage::Pages(pages) => pages.vmsplice_to(pipe.as_fd(), range),
        }
    }
}

fn heap(len: usize) -> Storage {
    Storage::Heap(vec![0; len].into_boxed_slice())
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Storage::Heap(bytes) => bytes,
            Storage::Pages(pages) => pages.bytes(),
        }
    }
}

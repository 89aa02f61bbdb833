//! Where whole segments go: a writer, or a pipe that takes the memory itself.
//!
//! `write` copies every byte into pages of the pipe. A pipe can refer to the
//! writer's pages instead (vmsplice), but then they are its own: its reader may
//! splice or tee them on, and keep them long after the pipe looks empty. So memory
//! that was handed over is never written again: it is given back to the system, and
//! fresh memory comes in its place. That pays only where fresh memory comes in huge
//! pages; where it does not, and wherever else the system refuses, a [`Buffer`] is
//! ordinary memory and its bytes are written.
//!
//! Beside that, [`was_closed`] tells what a process was started without.

mod pages;
mod standard;

use pages::Pages;
pub use standard::was_closed;
use std::fmt;
use std::io::{self, Write};
use std::ops::{Deref, Range};
use std::os::fd::AsFd;

/// An output of whole buffers.
pub trait Sink: Write {
    /// What buffers for this output are made of.
    fn memory(&self) -> Memory {
        Memory::Ordinary
    }

    /// Writes the bytes of `buffer` in `range`. Its content is of no use then.
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

/// What a [`Buffer`] is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// The heap.
    Ordinary,
    /// Huge pages that a pipe can take, where the system has them.
    Pages,
}

/// Memory to fill again and again, whose bytes a pipe may take.
#[derive(Debug)]
pub struct Buffer(Kind);

enum Kind {
    Heap(Box<[u8]>),
    Pages(Pages),
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Heap(_) => "Heap",
            Self::Pages(_) => "Pages",
        })
    }
}

impl Buffer {
    /// A buffer of `len` bytes.
    pub fn new(memory: Memory, len: usize) -> Self {
        let pages = if memory == Memory::Pages { Pages::new(len) } else { None };
        Self(pages.map_or_else(|| heap(len), Kind::Pages))
    }

    /// Its bytes, to be filled: other ones than before where a pipe has taken those.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        if let Kind::Pages(pages) = &mut self.0
            && !pages.freshen()
        {
            self.0 = heap(pages.len());
        }
        match &mut self.0 {
            Kind::Heap(bytes) => bytes,
            Kind::Pages(pages) => pages.bytes_mut(),
        }
    }

    /// Lets `pipe` take the bytes in `range`, as many as it can, from the front on;
    /// gives their number. The rest, which is all of it where this memory or the
    /// system does not lend itself to that, has to be written.
    ///
    /// # Errors
    /// [`io::ErrorKind::BrokenPipe`] where the reader went away.
    pub fn hand_over(&mut self, pipe: impl AsFd, range: Range<usize>) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Heap(_) => Ok(0),
            Kind::Pages(pages) => pages.hand_over(pipe.as_fd(), range),
        }
    }
}

fn heap(len: usize) -> Kind {
    Kind::Heap(vec![0; len].into_boxed_slice())
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Kind::Heap(bytes) => bytes,
            Kind::Pages(pages) => pages.bytes(),
        }
    }
}

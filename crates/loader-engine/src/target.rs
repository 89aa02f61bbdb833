//! Where an archive goes.

use crate::{Error, Program, Progress, Upload};

/// An engine's socket, or a program. Dropped before [`Target::commit`], it is
/// left without the end of the archive.
pub enum Target {
    /// The socket: nothing is tagged before the commit.
    Engine(Upload),
    /// A program that stands for an engine.
    Program(Program),
}

impl Target {
    /// Sends the next bytes of the archive.
    ///
    /// # Errors
    /// Those of [`Upload::send`] and [`Program::send`].
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match self {
            Self::Engine(upload) => upload.send(bytes),
            Self::Program(program) => program.send(bytes),
        }
    }

    /// Says that the archive is whole, and waits until it is loaded.
    ///
    /// # Errors
    /// Those of [`Upload::commit`] and [`Program::commit`].
    pub fn commit(self, report: impl FnMut(Progress)) -> Result<(), Error> {
        match self {
            Self::Engine(upload) => upload.commit(report),
            Self::Program(program) => program.commit(),
        }
    }
}

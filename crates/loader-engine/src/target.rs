//! The receiver of an archive.

use crate::{Error, Program, Progress, Upload};

/// An engine's socket or a command. If it is dropped before [`Target::commit`], it never
/// receives the end of the archive.
pub enum Target {
    /// The engine's socket. Nothing is tagged before the commit.
    Engine(Upload),
    /// A command.
    Program(Program),
}

impl Target {
    /// Sends the next bytes of the archive.
    ///
    /// # Errors
    /// Errors of [`Upload::send`] and [`Program::send`].
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match self {
            Self::Engine(upload) => upload.send(bytes),
            Self::Program(program) => program.send(bytes),
        }
    }

    /// Ends the archive and waits until it is loaded.
    ///
    /// # Errors
    /// Errors of [`Upload::commit`] and [`Program::commit`].
    pub fn commit(self, report: impl FnMut(Progress)) -> Result<(), Error> {
        match self {
            Self::Engine(upload) => upload.commit(report),
            Self::Program(program) => program.commit(),
        }
    }
}

//! A command such as `podman load` that receives the archive instead of a socket.

use crate::Error;
use std::io::Write;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

/// A command that reads an archive from its standard input. If it is dropped before
/// [`Program::commit`], it is killed, so that it never reads the end of its input. The
/// command decides what it does with an incomplete archive.
pub struct Program {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    done: bool,
}

impl Program {
    /// Starts `command`, which is split at spaces; no shell is involved.
    ///
    /// # Errors
    /// [`Error::NoProgram`].
    pub fn start(command: &str) -> Result<Self, Error> {
        let mut words = command.split_whitespace();
        let name = words.next().unwrap_or_default().to_owned();
        let child = Command::new(&name).args(words).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        let mut child = child.map_err(|source| Error::NoProgram { name: name.clone(), source })?;
        let input = child.stdin.take();
        Ok(Self { name, child, input, done: false })
    }

    /// Sends the next bytes of the archive.
    ///
    /// # Errors
    /// [`Error::Program`] if the command stopped reading.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let sent = self.input.as_mut().map_or(Ok(()), |input| input.write_all(bytes));
        sent.or_else(|error| {
            self.input = None;
            let status = self.wait()?;
            let why = if status.success() { error.to_string() } else { status.to_string() };
            Err(Error::Program { name: self.name.clone(), why })
        })
    }

    /// Closes the input of the command and waits until it exits.
    ///
    /// # Errors
    /// [`Error::Program`] if the exit status is not 0.
    pub fn commit(mut self) -> Result<(), Error> {
        self.input = None;
        let status = self.wait()?;
        match status.success() {
            true => Ok(()),
            false => Err(Error::Program { name: self.name.clone(), why: status.to_string() }),
        }
    }

    fn wait(&mut self) -> Result<ExitStatus, Error> {
        self.done = true;
        self.child.wait().map_err(|source| Error::NoProgram { name: self.name.clone(), source })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if !self.done {
            // It may have exited already.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

//! Outputs: the raw descriptor of standard output, or a file that appears whole.

use crate::tempfile::TempFile;
use crate::{Failure, OutputArgs, input::PIPE_LEN};
use loader_model::ErrorCode;
use rustix::fs::{Mode, fchmod};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;

/// What is written, which decides where it may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Text for anyone.
    Text,
    /// A key, a fragment, a token: not to a terminal, and a file made for it by
    /// the shell is closed to group and others.
    Secret,
    /// Binary data: not to a terminal.
    Binary,
}

/// A stream to write. Nothing is buffered: a write that returned was accepted
/// by the system.
#[derive(Debug)]
pub struct Output {
    name: String,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    Stdout(File),
    File(TempFile),
}

impl Output {
    pub(crate) fn new(args: &OutputArgs, content: Content) -> Result<Self, Failure> {
        match &args.output {
            Some(path) if path.as_os_str() != "-" => Self::file(path),
            _ => Self::stdout(content, args.force),
        }
    }

    /// A file at `path` that appears when [`Output::commit`] is called.
    ///
    /// # Errors
    /// `cannot_create` where the folder does not take it or `path` is something
    /// other than a regular file.
    pub fn file(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let refuse = |why: &dyn std::fmt::Display| Failure::new(ErrorCode::CannotCreate, format_args!("{name}: {why}"));
        match std::fs::symlink_metadata(path) {
            Ok(existing) if !existing.is_file() && !existing.is_symlink() => {
                return Err(refuse(&"is not a regular file").hint("redirect standard output instead".to_owned()));
            }
            _ => {}
        }
        let file = TempFile::create(path).map_err(|error| refuse(&error))?;
        Ok(Self { name, sink: Sink::File(file) })
    }

    fn stdout(content: Content, force: bool) -> Result<Self, Failure> {
        let name = "standard output".to_owned();
        if content != Content::Text && !force && io::stdout().is_terminal() {
            let what = if content == Content::Secret { "a secret" } else { "binary data" };
            return Err(Failure::new(ErrorCode::Usage, format_args!("{what} is not written to a terminal"))
                .hint("redirect it, use -o FILE, or insist with --force".to_owned()));
        }
        let file = io::stdout().as_fd().try_clone_to_owned().map_err(|error| Failure::io(&name, &error))?;
        let file = File::from(file);
        let metadata = file.metadata().map_err(|error| Failure::io(&name, &error))?;
        if content == Content::Secret && metadata.is_file() && metadata.len() == 0 {
            // The shell made it with the umask; not ours to change is no error.
            let _ = fchmod(&file, Mode::RUSR | Mode::WUSR);
        }
        if !metadata.is_file() {
            // Refused where the user's pipe quota is used up; smaller pipes work too.
            let _ = rustix::pipe::fcntl_setpipe_size(&file, PIPE_LEN);
        }
        Ok(Self { name, sink: Sink::Stdout(file) })
    }

    /// What messages call it: the path, or `standard output`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// `reader_gone` where the reader went away, else `io`.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.write_all(bytes).map_err(|error| Failure::io(&self.name, &error))
    }

    /// Ends the output: a file becomes durable under its name. Dropped without
    /// it, a file leaves nothing behind.
    ///
    /// # Errors
    /// `io` where the system refuses.
    pub fn commit(self) -> Result<(), Failure> {
        match self.sink {
            Sink::Stdout(_) => Ok(()),
            Sink::File(file) => file.commit().map_err(|error| Failure::io(&self.name, &error)),
        }
    }

    /// The file behind the output.
    pub fn as_file(&mut self) -> &mut File {
        match &mut self.sink {
            Sink::Stdout(file) => file,
            Sink::File(file) => file.file(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.as_file().write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

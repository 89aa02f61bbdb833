//! Outputs: unbuffered standard output, or a file that is written atomically.

use crate::atomic_file::{AtomicFile, Existing, dir_of};
use crate::{Failure, OutputArgs, access, input::PIPE_LEN, terminal};
use loader_model::ErrorCode;
use loader_pipe::{Buffer, Memory, was_closed_at_start};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, fchmod, fstatvfs};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Maximum number of symbolic links in a chain, as in the kernel (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Kind of the written data, which determines the outputs that are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Public text, allowed everywhere.
    Text,
    /// A key, a fragment or a token: not allowed on a terminal, nor in a file that another
    /// user may have opened. A new file has mode 0600.
    Secret,
    /// Binary data: not allowed on a terminal.
    Binary,
}

/// A stream to write. It is unbuffered: when a write returns, the kernel has accepted the
/// bytes.
#[derive(Debug)]
pub struct Output {
    name: String,
    destination: Destination,
    written: u64,
}

#[derive(Debug)]
enum Destination {
    Stdout(File),
    Pipe(File),
    File(AtomicFile),
    /// The null device.
    Null(File),
}

impl Output {
    pub(crate) fn new(args: &OutputArgs, content: Content, insecure_perms: bool) -> Result<Self, Failure> {
        match &args.output {
            Some(path) if path.as_os_str() != "-" => Self::named_file(path, content),
            _ => Self::stdout(content, args.force, insecure_perms),
        }
    }

    /// Creates a file that the user named; [`Output::commit`] puts it at `path`. If `path` is
    /// a symbolic link, its target is replaced.
    ///
    /// # Errors
    /// The errors of [`Output::file`]; `cannot_create` for a link of another user.
    pub fn named_file(path: &Path, content: Content) -> Result<Self, Failure> {
        if leads_to_descriptor(path) {
            return Err(not_regular(path));
        }
        let target = follow_links(path).map_err(|error| refuse(path, &error))?;
        let renamed = |output| Self { name: path.display().to_string(), ..output };
        Self::file(&target, content).map(renamed)
    }

    /// Creates a file; [`Output::commit`] puts it at `path`. It has mode 0600, or, unless it
    /// is secret, owner and mode of the file that it replaces. A symbolic link itself is
    /// replaced.
    ///
    /// # Errors
    /// `cannot_create` if a file cannot be created in the directory, or if `path` exists and
    /// is not a regular file.
    pub fn file(path: &Path, content: Content) -> Result<Self, Failure> {
        Self::to_file(
            path,
            if content == Content::Secret { Existing::Replace } else { Existing::ReplaceKeepingAttributes },
        )
    }

    /// Creates a file like [`Output::file`], but [`Output::commit`] fails if `path` exists by
    /// then.
    ///
    /// # Errors
    /// The errors of [`Output::file`].
    pub fn new_file(path: &Path) -> Result<Self, Failure> {
        Self::to_file(path, Existing::Refuse)
    }

    fn to_file(path: &Path, existing: Existing) -> Result<Self, Failure> {
        if path.is_dir() || path.as_os_str().as_bytes().ends_with(b"/") {
            return Err(refuse(path, &"is a directory").hint("add the name of a file".to_owned()));
        }
        // A link to a device or a descriptor must not be replaced by a file.
        if std::fs::metadata(path).is_ok_and(|existing| !existing.is_file()) || leads_to_descriptor(path) {
            return Err(not_regular(path));
        }
        let file = AtomicFile::create(path, existing).map_err(|error| refuse(path, &error))?;
        Ok(Self { name: path.display().to_string(), destination: Destination::File(file), written: 0 })
    }

    /// Creates an output that discards everything.
    ///
    /// # Errors
    /// `io` if the null device cannot be opened.
    pub fn null() -> Result<Self, Failure> {
        let name = "/dev/null".to_owned();
        let file = File::options().write(true).open(&name).map_err(|error| Failure::io(&name, &error))?;
        Ok(Self { name, destination: Destination::Null(file), written: 0 })
    }

    /// Checks that the filesystem of a file has `bytes` bytes of free space; other outputs
    /// need none.
    ///
    /// # Errors
    /// `io` with the number of required and of free bytes.
    pub fn check_room(&mut self, bytes: u64) -> Result<(), Failure> {
        let Destination::File(file) = &mut self.destination else { return Ok(()) };
        let Ok(stat) = fstatvfs(file.file()) else { return Ok(()) };
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free >= bytes {
            return Ok(());
        }
        let what = format_args!("{}: {bytes} bytes are needed and {free} are free", self.name);
        Err(Failure::new(ErrorCode::Io, what).hint("make room, or write elsewhere".to_owned()))
    }

    /// Returns the device number of the filesystem of a file, and `None` for other outputs.
    pub fn device(&mut self) -> Option<u64> {
        let Destination::File(file) = &mut self.destination else { return None };
        file.file().metadata().ok().map(|metadata| metadata.dev())
    }

    fn stdout(content: Content, force: bool, insecure_perms: bool) -> Result<Self, Failure> {
        let name = "standard output".to_owned();
        stdout_is_open()?;
        if content != Content::Text && !force && terminal::shows_output() {
            let what = if content == Content::Secret { "a secret" } else { "binary data" };
            return Err(Failure::new(ErrorCode::Usage, format_args!("refusing to write {what} to a terminal"))
                .hint("redirect standard output, use -o FILE, or use --force".to_owned()));
        }
        let file = io::stdout().as_fd().try_clone_to_owned().map_err(|error| Failure::io(&name, &error))?;
        let file = File::from(file);
        let metadata = file.metadata().map_err(|error| Failure::io(&name, &error))?;
        if content == Content::Secret && !insecure_perms && access::is_readable_device(&file, &metadata) {
            let what = "refusing to write a secret to standard output: other users can read from the device";
            return Err(Failure::new(ErrorCode::Config, what).hint("use -o FILE".to_owned()));
        }
        if content == Content::Secret && (metadata.is_file() || metadata.file_type().is_fifo()) {
            // Changing the mode now would not revoke descriptors that are already open.
            if !insecure_perms && access::may_be_open_elsewhere(&file, &metadata) {
                let what = "refusing to write a secret to standard output: another user may have opened the file";
                return Err(Failure::new(ErrorCode::Config, what)
                    .hint("use -o FILE, or run umask 077 before the shell creates the file".to_owned()));
            }
            if metadata.is_file() && metadata.len() == 0 {
                // The shell created the file with the umask. Some filesystems have no modes.
                let _ = fchmod(&file, Mode::RUSR | Mode::WUSR);
            }
        }
        if !metadata.is_file() {
            // The call fails if the pipe quota of the user is exhausted; a smaller pipe works too.
            let _ = rustix::pipe::fcntl_setpipe_size(&file, PIPE_LEN);
        }
        let destination =
            if metadata.file_type().is_fifo() { Destination::Pipe(file) } else { Destination::Stdout(file) };
        Ok(Self { name, destination, written: 0 })
    }

    /// Returns the name for messages: the path, or `standard output`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns true for a file, which is not visible before [`Output::commit`].
    pub fn is_file(&self) -> bool {
        matches!(self.destination, Destination::File(_))
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// `reader_gone` if the reader closed the pipe; `io` for other failures.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.write_all(bytes).map_err(|error| Failure::io(&self.name, &error))
    }

    /// Replaces the first bytes that were written, which is possible only for a file.
    ///
    /// # Errors
    /// Those of the write; [`io::ErrorKind::Unsupported`] if the output is not a file.
    pub fn overwrite_start(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.destination {
            Destination::File(file) => file.file().write_all_at(bytes, 0),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Completes the output: a file is made durable and put at its path. A file that is
    /// dropped without a commit is removed.
    ///
    /// # Errors
    /// `cannot_create` if a file of [`Output::new_file`] would replace another; `io` for
    /// other failures.
    pub fn commit(self) -> Result<(), Failure> {
        match self.destination {
            Destination::Stdout(_) | Destination::Pipe(_) | Destination::Null(_) => Ok(()),
            Destination::File(file) => file.commit().map_err(|error| commit_failure(&self.name, &error)),
        }
    }

    /// Completes several outputs: either all files are put at their paths, or none is. If one
    /// fails, the replaced files are restored, and only files that this call wrote are removed.
    ///
    /// # Errors
    /// The errors of [`Output::commit`].
    pub fn commit_all(outputs: impl IntoIterator<Item = Self>) -> Result<(), Failure> {
        let files = outputs.into_iter().filter_map(|output| match output.destination {
            Destination::Stdout(_) | Destination::Pipe(_) | Destination::Null(_) => None,
            Destination::File(file) => Some(file),
        });
        AtomicFile::commit_all(files.collect()).map_err(|(path, error)| commit_failure(path.display(), &error))
    }

    /// Discards the bytes written so far. Returns false if that is impossible, because they
    /// were written to standard output.
    ///
    /// # Errors
    /// `io` if the file cannot be truncated.
    pub fn restart(&mut self) -> Result<bool, Failure> {
        match &mut self.destination {
            Destination::Stdout(_) | Destination::Pipe(_) => {}
            Destination::File(file) => {
                let file = file.file();
                file.set_len(0).and_then(|()| file.rewind()).map_err(|error| Failure::io(&self.name, &error))?;
                self.written = 0;
            }
            Destination::Null(_) => self.written = 0,
        }
        Ok(self.written == 0)
    }

    /// Returns the underlying file.
    pub fn as_file(&mut self) -> &mut File {
        match &mut self.destination {
            Destination::Stdout(file) | Destination::Pipe(file) | Destination::Null(file) => file,
            Destination::File(file) => file.file(),
        }
    }
}

/// Checks that standard output was open when the process was started.
///
/// # Errors
/// `io` if it was closed, since written bytes would be lost.
pub fn stdout_is_open() -> Result<(), Failure> {
    if was_closed_at_start(io::stdout().as_raw_fd()) {
        return Err(Failure::new(ErrorCode::Io, "standard output is closed"));
    }
    Ok(())
}

fn refuse(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(ErrorCode::CannotCreate, format_args!("{}: {why}", path.display()))
}

fn not_regular(path: &Path) -> Failure {
    refuse(path, &"is not a regular file").hint("redirect standard output instead".to_owned())
}

/// Returns true if `path` or one of the links that it leads to is a descriptor of a process,
/// such as `/dev/stdout`, whatever kind of file that is.
fn leads_to_descriptor(path: &Path) -> bool {
    links(path).any(|path| {
        let dir = dir_of(&path);
        let dir = dir.canonicalize().unwrap_or(dir.to_owned());
        dir.starts_with("/proc") || dir.starts_with("/dev/fd")
    })
}

/// Follows the symbolic links at `path` and returns the path of the last target, whether it
/// exists or not.
///
/// # Errors
/// The chain of links is too long, or a link belongs to another user, who could choose the
/// replaced file.
fn follow_links(path: &Path) -> io::Result<PathBuf> {
    let is_foreign = |link: &PathBuf| {
        let metadata = link.symlink_metadata();
        metadata.is_ok_and(|metadata| metadata.is_symlink() && !access::is_own(&metadata))
    };
    let links: Vec<_> = links(path).collect();
    if links.iter().any(is_foreign) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "is a symbolic link of another user"));
    }
    if links.len() > MAX_LINKS { Err(Errno::LOOP.into()) } else { Ok(links.last().cloned().unwrap_or_default()) }
}

/// Returns `path`, then the target of the link at `path`, and so on.
fn links(path: &Path) -> impl Iterator<Item = PathBuf> {
    let next = |path: &PathBuf| std::fs::read_link(path).ok().map(|next| dir_of(path).join(next));
    std::iter::successors(Some(path.to_owned()), next).take(MAX_LINKS + 1)
}

fn commit_failure(name: impl std::fmt::Display, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::new(
            ErrorCode::CannotCreate,
            format_args!("{name}: was created by another process, and is not replaced"),
        ),
        _ => Failure::io(name, error),
    }
}

impl Write for Output {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        loop {
            match self.as_file().write(buf) {
                // Another process that shares the descriptor may have made it non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::new(self.as_file(), PollFlags::OUT)], None)?;
                }
                outcome => {
                    let written = outcome?;
                    self.written += written as u64;
                    return Ok(written);
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl loader_pipe::Sink for Output {
    fn memory(&self) -> Memory {
        if matches!(self.destination, Destination::Pipe(_)) { Memory::Pages } else { Memory::Ordinary }
    }

    fn write_from(&mut self, buffer: &mut Buffer, mut range: Range<usize>) -> io::Result<()> {
        if let Destination::Pipe(pipe) = &self.destination {
            let taken = buffer.vmsplice_to(pipe, range.clone())?;
            self.written += taken as u64;
            range.start += taken;
        }
        self.write_all(&buffer[range])
    }
}

//! Outputs: the raw descriptor of standard output, or a file that appears whole.

use crate::tempfile::{Existing, TempFile, dir_of};
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
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Links that the system follows one after another.
const LINKS_MAX: usize = 40;

/// What is written, which decides where it may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Text for anyone.
    Text,
    /// A key, a fragment, a token: not to a terminal, not to a file that another user
    /// may have opened, and a file for it has mode 0600.
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
    written: u64,
}

#[derive(Debug)]
enum Sink {
    Stdout(File),
    Pipe(File),
    File(TempFile),
    /// The null device: what is written is wanted elsewhere.
    Nowhere(File),
}

impl Output {
    pub(crate) fn new(args: &OutputArgs, content: Content, insecure_perms: bool) -> Result<Self, Failure> {
        match &args.output {
            Some(path) if path.as_os_str() != "-" => Self::named_file(path, content),
            _ => Self::stdout(content, args.force, insecure_perms),
        }
    }

    /// A file that the user named, which appears when [`Output::commit`] is called. If
    /// `path` is a symbolic link, the file that it leads to is replaced.
    ///
    /// # Errors
    /// Those of [`Output::file`]; `cannot_create` for a link of another user.
    pub fn named_file(path: &Path, content: Content) -> Result<Self, Failure> {
        if leads_to_descriptor(path) {
            return Err(not_regular(path));
        }
        let target = follow(path).map_err(|error| refuse(path, &error))?;
        let renamed = |output| Self { name: path.display().to_string(), ..output };
        Self::file(&target, content).map(renamed)
    }

    /// A file at `path` that appears when [`Output::commit`] is called. It has mode
    /// 0600, or, unless it is secret, owner and mode of the file that it replaces. A
    /// symbolic link is replaced itself.
    ///
    /// # Errors
    /// `cannot_create` if the directory does not take it or `path` is something
    /// other than a regular file, such as a directory.
    pub fn file(path: &Path, content: Content) -> Result<Self, Failure> {
        Self::to_file(path, if content == Content::Secret { Existing::Replace } else { Existing::TakeOver })
    }

    /// The same if nothing is at `path` yet: what appears there meanwhile is
    /// not replaced.
    ///
    /// # Errors
    /// Those of [`Output::file`].
    pub fn new_file(path: &Path) -> Result<Self, Failure> {
        Self::to_file(path, Existing::Refuse)
    }

    fn to_file(path: &Path, existing: Existing) -> Result<Self, Failure> {
        if path.is_dir() || path.as_os_str().as_bytes().ends_with(b"/") {
            return Err(refuse(path, &"is a folder").hint("name the file in it too".to_owned()));
        }
        // A link to a device or a descriptor was meant to be written through.
        if std::fs::metadata(path).is_ok_and(|existing| !existing.is_file()) || leads_to_descriptor(path) {
            return Err(not_regular(path));
        }
        let file = TempFile::create(path, existing).map_err(|error| refuse(path, &error))?;
        Ok(Self { name: path.display().to_string(), sink: Sink::File(file), written: 0 })
    }

    /// An output that takes everything and keeps nothing.
    ///
    /// # Errors
    /// `io` where the null device cannot be opened.
    pub fn nowhere() -> Result<Self, Failure> {
        let name = "/dev/null".to_owned();
        let file = File::options().write(true).open(&name).map_err(|error| Failure::io(&name, &error))?;
        Ok(Self { name, sink: Sink::Nowhere(file), written: 0 })
    }

    /// Checks that the file system of a file has room for `bytes`; other outputs
    /// always have.
    ///
    /// # Errors
    /// `io` with the bytes that are needed and those that are free.
    pub fn check_room(&mut self, bytes: u64) -> Result<(), Failure> {
        let Sink::File(file) = &mut self.sink else { return Ok(()) };
        let Ok(stat) = fstatvfs(file.file()) else { return Ok(()) };
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free >= bytes {
            return Ok(());
        }
        let what = format_args!("{}: {bytes} bytes are needed and {free} are free", self.name);
        Err(Failure::new(ErrorCode::Io, what).hint("make room, or write elsewhere".to_owned()))
    }

    /// The file system of a file; other outputs take no room.
    pub fn device(&mut self) -> Option<u64> {
        let Sink::File(file) = &mut self.sink else { return None };
        file.file().metadata().ok().map(|metadata| metadata.dev())
    }

    fn stdout(content: Content, force: bool, insecure_perms: bool) -> Result<Self, Failure> {
        let name = "standard output".to_owned();
        stdout_is_open()?;
        if content != Content::Text && !force && terminal::shows_output() {
            let what = if content == Content::Secret { "a secret" } else { "binary data" };
            return Err(Failure::new(ErrorCode::Usage, format_args!("{what} is not written to a terminal"))
                .hint("redirect it, use -o FILE, or insist with --force".to_owned()));
        }
        let file = io::stdout().as_fd().try_clone_to_owned().map_err(|error| Failure::io(&name, &error))?;
        let file = File::from(file);
        let metadata = file.metadata().map_err(|error| Failure::io(&name, &error))?;
        if content == Content::Secret && (metadata.is_file() || metadata.file_type().is_fifo()) {
            // A mode that is closed only now does not close the descriptors of others.
            if !insecure_perms && access::may_be_open_elsewhere(&file, &metadata) {
                let what = "a secret is not written to standard output: another user may have opened the file";
                return Err(Failure::new(ErrorCode::Config, what)
                    .hint("use -o FILE, or run umask 077 before the shell creates the file".to_owned()));
            }
            if metadata.is_file() && metadata.len() == 0 {
                // The shell created it with the umask; some filesystems have no modes.
                let _ = fchmod(&file, Mode::RUSR | Mode::WUSR);
            }
        }
        if !metadata.is_file() {
            // Refused where the user's pipe quota is used up; smaller pipes work too.
            let _ = rustix::pipe::fcntl_setpipe_size(&file, PIPE_LEN);
        }
        let sink = if metadata.file_type().is_fifo() { Sink::Pipe(file) } else { Sink::Stdout(file) };
        Ok(Self { name, sink, written: 0 })
    }

    /// What messages call it: the path, or `standard output`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True for a file, of which nothing is seen before [`Output::commit`].
    pub fn is_file(&self) -> bool {
        matches!(self.sink, Sink::File(_))
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
            Sink::Stdout(_) | Sink::Pipe(_) | Sink::Nowhere(_) => Ok(()),
            Sink::File(file) => file.commit().map_err(|error| uncommitted(&self.name, &error)),
        }
    }

    /// Ends several outputs: all files become durable under their names, or none
    /// does. Then what they replaced is there again, and nothing is removed that
    /// was not written by this call.
    ///
    /// # Errors
    /// `cannot_create` where something stands in the place of a new file, `io`
    /// where the system refuses.
    pub fn commit_all(outputs: impl IntoIterator<Item = Self>) -> Result<(), Failure> {
        let files = outputs.into_iter().filter_map(|output| match output.sink {
            Sink::Stdout(_) | Sink::Pipe(_) | Sink::Nowhere(_) => None,
            Sink::File(file) => Some(file),
        });
        TempFile::commit_all(files.collect()).map_err(|(path, error)| uncommitted(path.display(), &error))
    }

    /// Takes back what was written; `false` where it has left the process and
    /// cannot be taken back.
    ///
    /// # Errors
    /// `io` where the file cannot be emptied.
    pub fn restart(&mut self) -> Result<bool, Failure> {
        match &mut self.sink {
            Sink::Stdout(_) | Sink::Pipe(_) => {}
            Sink::File(file) => {
                let file = file.file();
                file.set_len(0).and_then(|()| file.rewind()).map_err(|error| Failure::io(&self.name, &error))?;
                self.written = 0;
            }
            Sink::Nowhere(_) => self.written = 0,
        }
        Ok(self.written == 0)
    }

    /// The file behind the output.
    pub fn as_file(&mut self) -> &mut File {
        match &mut self.sink {
            Sink::Stdout(file) | Sink::Pipe(file) | Sink::Nowhere(file) => file,
            Sink::File(file) => file.file(),
        }
    }
}

/// Passes where the process was started with a standard output.
///
/// # Errors
/// `io`: what is written to a descriptor that was closed would be lost.
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

/// Returns true if `path` leads, link by link, to a descriptor of a process, such as
/// `/dev/stdout`, whatever that is open on.
fn leads_to_descriptor(path: &Path) -> bool {
    links(path).any(|path| {
        let dir = dir_of(&path);
        let dir = dir.canonicalize().unwrap_or(dir.to_owned());
        dir.starts_with("/proc") || dir.starts_with("/dev/fd")
    })
}

/// Returns the path of the file that `path` leads to, link by link, whether it exists
/// or not.
///
/// # Errors
/// Too many links, or one of another user, who would choose the file to replace.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let is_foreign = |link: &PathBuf| {
        let metadata = link.symlink_metadata();
        metadata.is_ok_and(|metadata| metadata.is_symlink() && !access::is_own(&metadata))
    };
    let links: Vec<_> = links(path).collect();
    if links.iter().any(is_foreign) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "is a symbolic link of another user"));
    }
    if links.len() > LINKS_MAX { Err(Errno::LOOP.into()) } else { Ok(links.last().cloned().unwrap_or_default()) }
}

/// Yields `path`, the path that the link there contains, and so on.
fn links(path: &Path) -> impl Iterator<Item = PathBuf> {
    let next = |path: &PathBuf| std::fs::read_link(path).ok().map(|next| dir_of(path).join(next));
    std::iter::successors(Some(path.to_owned()), next).take(LINKS_MAX + 1)
}

fn uncommitted(name: impl std::fmt::Display, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::new(ErrorCode::CannotCreate, format_args!("{name}: appeared meanwhile, and is left as it is"))
        }
        _ => Failure::io(name, error),
    }
}

impl Write for Output {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        loop {
            match self.as_file().write(buf) {
                // Whoever shares the other end may have made it non-blocking.
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
        if matches!(self.sink, Sink::Pipe(_)) { Memory::Pages } else { Memory::Ordinary }
    }

    fn write_from(&mut self, buffer: &mut Buffer, mut range: Range<usize>) -> io::Result<()> {
        if let Sink::Pipe(pipe) = &self.sink {
            let taken = buffer.vmsplice_to(pipe, range.clone())?;
            self.written += taken as u64;
            range.start += taken;
        }
        self.write_all(&buffer[range])
    }
}

//! Inputs: a file, a descriptor, or standard input, which can only be read once.

use crate::Failure;
use loader_model::ErrorCode;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};

/// Size in bytes to which a pipe is enlarged, if the kernel allows it.
pub(crate) const PIPE_LEN: usize = 1 << 20;

/// A stream to read, with its name for messages.
#[derive(Debug)]
pub struct Input {
    name: String,
    path: Option<PathBuf>,
    file: File,
    len: Option<u64>,
    from_start: bool,
}

impl Input {
    pub(crate) fn stdin() -> Result<Self, Failure> {
        let name = "standard input".to_owned();
        if loader_pipe::was_closed_at_start(io::stdin().as_raw_fd()) {
            return Err(Failure::new(ErrorCode::Io, format_args!("{name} is closed")));
        }
        let file = io::stdin().as_fd().try_clone_to_owned().map_err(|error| Failure::io(&name, &error))?;
        Self::new(name, File::from(file))
    }

    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Ok(Self { path: Some(path.to_owned()), ..Self::new(name, file)? }),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Err(Failure::new(ErrorCode::NotFound, format_args!("{name}: no such file")))
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(Failure::new(ErrorCode::NotFound, format_args!("{name}: not readable: permission denied")))
            }
            Err(error) => Err(Failure::io(name, &error)),
        }
    }

    /// Opens a descriptor that the process inherited.
    pub(crate) fn descriptor(fd: u32) -> Result<Self, Failure> {
        let name = format!("file descriptor {fd}");
        let not_open = || Failure::new(ErrorCode::NotFound, format_args!("{name} is not open"));
        if !is_inherited(fd) {
            return Err(not_open());
        }
        let file = match duplicate(fd) {
            Ok(file) => file,
            Err(error) if error.raw_os_error() == Some(Errno::BADF.raw_os_error()) => return Err(not_open()),
            // A sandbox may forbid pidfd_getfd; then a file of this user can be opened again.
            Err(_) => File::open(format!("/proc/self/fd/{fd}")).map_err(|error| Failure::io(&name, &error))?,
        };
        Self::new(name, file)
    }

    fn new(name: String, mut file: File) -> Result<Self, Failure> {
        let metadata = file.metadata().map_err(|error| Failure::io(&name, &error))?;
        if metadata.is_dir() {
            return Err(Failure::new(ErrorCode::NotFound, format_args!("{name}: is a directory")));
        }
        let len = metadata.is_file().then_some(metadata.len());
        let from_start = match len {
            Some(_) => file.stream_position().map_err(|error| Failure::io(&name, &error))? == 0,
            None => false,
        };
        if len.is_none() {
            // The call fails if the pipe quota of the user is exhausted; a smaller pipe works too.
            let _ = rustix::pipe::fcntl_setpipe_size(&file, PIPE_LEN);
        }
        Ok(Self { name, path: None, file, len, from_start })
    }

    /// Returns the name for messages: the path, or `standard input`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the path, or `None` for standard input and descriptors.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Returns the length of the file in bytes, if it is a regular file that was opened at its
    /// start. A length of 0 counts as unknown, because files in `/proc` report it whatever
    /// they contain.
    pub fn known_len(&self) -> Option<u64> {
        self.len.filter(|len| self.from_start && *len > 0)
    }

    /// Returns true for a regular file, which can be read at any offset.
    pub fn is_seekable(&self) -> bool {
        self.len.is_some()
    }

    /// Returns true for a regular file that was opened at its start, so that offsets are
    /// relative to the start of the file.
    pub fn is_from_start(&self) -> bool {
        self.from_start
    }

    /// Returns the file, to seek or to read at an offset.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Returns a reader of this input that never waits for long.
    pub fn polled(&mut self) -> PolledInput<'_> {
        PolledInput(self)
    }

    /// Reads at most `limit` bytes of UTF-8 text.
    ///
    /// # Errors
    /// The errors of [`Input::read_all`]; `malformed` with the name of the encoding if the
    /// text begins with a byte order mark or is UTF-16 or UTF-32, as editors on Windows write
    /// it.
    pub fn read_text(&mut self, limit: usize) -> Result<zeroize::Zeroizing<Vec<u8>>, Failure> {
        let bytes = self.read_all(limit)?;
        match other_encoding(&bytes) {
            None => Ok(bytes),
            Some(encoding) => Err(Failure::new(ErrorCode::Malformed, format_args!("{}: is {encoding}", self.name))
                .hint("save it as UTF-8 without a byte order mark".to_owned())),
        }
    }

    /// Reads the whole input, at most `limit` bytes.
    ///
    /// # Errors
    /// `malformed` if the input is longer than `limit`; `io` if a read fails.
    pub fn read_all(&mut self, limit: usize) -> Result<zeroize::Zeroizing<Vec<u8>>, Failure> {
        // A single allocation, so that no copy of a secret remains in freed memory.
        let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(limit + 1));
        let read = self.by_ref().take(limit as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| Failure::io(&self.name, &error))?;
        if bytes.len() > limit {
            return Err(Failure::new(ErrorCode::Malformed, format_args!("{}: longer than {limit} bytes", self.name)));
        }
        Ok(bytes)
    }
}

/// A reader of an [`Input`] whose reads wait for a limited time and then fail with
/// [`io::ErrorKind::WouldBlock`], so that the caller can check whether it still needs the
/// bytes.
pub struct PolledInput<'a>(&'a mut Input);

/// Longest wait of one read of a [`PolledInput`].
const POLL_TIMEOUT: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

impl Read for PolledInput<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if !self.0.is_seekable() {
            let mut ready = [PollFd::new(&self.0.file, PollFlags::IN)];
            if poll(&mut ready, Some(&POLL_TIMEOUT))? == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        self.0.file.read(buf)
    }
}

/// Returns the name of the encoding if it is not UTF-8 without a byte order mark. It is
/// detected by the byte order mark or by the zero bytes of the first two characters.
fn other_encoding(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xef, 0xbb, 0xbf, ..] => Some("UTF-8 with a byte order mark"),
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32 text"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16 text"),
        [0, 0, 0, 1..=255, ..] | [1..=255, 0, 0, 0, ..] => Some("UTF-32 text"),
        [0, 1..=255, 0, 1..=255, ..] | [1..=255, 0, 1..=255, 0, ..] => Some("UTF-16 text"),
        _ => None,
    }
}

/// Duplicates the descriptor `fd` of this process.
fn duplicate(fd: u32) -> io::Result<File> {
    let this = pidfd_open(getpid(), PidfdFlags::empty())?;
    Ok(File::from(pidfd_getfd(this, fd as RawFd, PidfdGetfdFlags::empty())?))
}

/// Returns true if the descriptor was inherited from the parent process: all descriptors that
/// this process opens have the close-on-exec flag.
fn is_inherited(fd: u32) -> bool {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let infos = Path::new("/proc/self/fdinfo");
    if !infos.is_dir() {
        // Without /proc this cannot be checked.
        return true;
    }
    let info = std::fs::read_to_string(infos.join(fd.to_string())).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).is_some_and(|flags| flags & CLOSE_ON_EXEC == 0)
}

impl Read for Input {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read(buf) {
                // Another process that shares the descriptor may have made it non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::new(&self.file, PollFlags::IN)], None)?;
                }
                outcome => return outcome,
            }
        }
    }
}

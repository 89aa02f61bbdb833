//! Bounded wait for a file that another process has locked.

use crate::events::Emitter;
use crate::{Failure, access};
use loader_model::{ErrorCode, Step};
use std::cell::Cell;
use std::env;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Environment variable with the longest wait in seconds.
const TIMEOUT_VAR: &str = "AZ_LOCK_TIMEOUT";

/// Default of [`TIMEOUT_VAR`]. The wait is bounded because another user may hold a lock forever.
const DEFAULT_SECONDS: u64 = 60;

/// Time between two attempts.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A wait for a lock that fails if the locked file has not changed for a while. It continues
/// as long as another process changes the file, for example downloads it. Changes of a file
/// that belongs to another user do not extend the wait, since that user could make them
/// forever.
pub struct LockWait<'a> {
    emitter: &'a Emitter,
    limit: Duration,
    /// The last state of the file, and the time since when it is unchanged.
    unchanged: Cell<Option<(FileState, Instant)>>,
}

/// Device, inode, size and time of the last change.
type FileState = (u64, u64, u64, i64, i64);

/// A process that holds a lock.
#[derive(Debug, PartialEq, Eq)]
struct LockHolder {
    pid: u32,
    command: Option<String>,
}

impl<'a> LockWait<'a> {
    pub(crate) fn new(emitter: &'a Emitter) -> Result<Self, Failure> {
        let seconds = match env::var(TIMEOUT_VAR) {
            Err(_) => DEFAULT_SECONDS,
            Ok(text) if text.is_empty() => DEFAULT_SECONDS,
            Ok(text) => text.parse().map_err(|_| {
                Failure::new(ErrorCode::Config, format_args!("{TIMEOUT_VAR} is not a number: {text}"))
                    .hint("set it to a number of seconds; 0 does not wait".to_owned())
            })?,
        };
        Ok(Self { emitter, limit: Duration::from_secs(seconds), unchanged: Cell::new(None) })
    }

    /// Waits for a moment after the caller failed to lock `file`. The first call for a file
    /// reports the step `lock-wait` with the process that holds the lock.
    ///
    /// # Errors
    /// [`io::ErrorKind::ResourceBusy`] if the file has been locked for too long.
    pub fn wait(&self, file: &File) -> io::Result<()> {
        let metadata = file.metadata()?;
        let state = (metadata.dev(), metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec());
        let is_same_file = |before: &FileState| (before.0, before.1) == (state.0, state.1);
        let since = match self.unchanged.get() {
            Some((before, since)) if before == state || is_same_file(&before) && !access::is_own(&metadata) => since,
            before => {
                if before.is_none_or(|(before, _)| !is_same_file(&before)) {
                    self.report(holder(file).as_ref());
                }
                let now = Instant::now();
                self.unchanged.set(Some((state, now)));
                now
            }
        };
        if since.elapsed() < self.limit {
            sleep(POLL_INTERVAL);
            return Ok(());
        }
        let by = lock_holder(file).unwrap_or_else(|| "another process".to_owned());
        let seconds = self.limit.as_secs();
        let what = if access::is_own(&metadata) {
            format!("locked by {by}, and unchanged for {seconds} seconds ({TIMEOUT_VAR})")
        } else {
            format!("locked by {by} for {seconds} seconds ({TIMEOUT_VAR}); the file belongs to another user")
        };
        Err(io::Error::new(io::ErrorKind::ResourceBusy, what))
    }

    fn report(&self, holder: Option<&LockHolder>) {
        let mut detail = Vec::new();
        if let Some(holder) = holder {
            detail.push(("pid", holder.pid.into()));
            detail.extend(holder.command.as_deref().map(|command| ("command", command.into())));
        }
        self.emitter.step(Step::LockWait, &detail);
    }
}

impl std::fmt::Display for LockHolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {}", self.pid)?;
        self.command.as_ref().map_or(Ok(()), |command| write!(f, " ({command})"))
    }
}

/// Returns the description of the process that holds a lock on `file`, such as
/// `process 4711 (az-push)`, if the kernel reports one.
pub fn lock_holder(file: &File) -> Option<String> {
    holder(file).map(|holder| holder.to_string())
}

/// Returns the process that holds a lock on `file`. The kernel does not report processes of
/// another PID namespace.
fn holder(file: &File) -> Option<LockHolder> {
    let metadata = file.metadata().ok()?;
    let dev = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
    let pid = parse_lock_holder(&fs::read_to_string("/proc/locks").ok()?, dev, metadata.ino())?;
    let command = fs::read_to_string(format!("/proc/{pid}/comm")).ok();
    Some(LockHolder { pid, command: command.map(|command| command.trim_end().to_owned()) })
}

/// Finds the process that holds a lock on the file with this device and inode in the text of
/// `/proc/locks` (proc_locks(5)). On overlayfs and btrfs this text contains another device
/// number than the metadata of the file; the inode alone is sufficient if only one line has
/// it.
fn parse_lock_holder(locks: &str, dev: (u32, u32), inode: u64) -> Option<u32> {
    let held = locks.lines().filter_map(|line| {
        let [_, "FLOCK", _, _, pid, place, ..] = line.split_whitespace().collect::<Vec<_>>()[..] else { return None };
        let [major, minor, ino] = place.split(':').collect::<Vec<_>>()[..] else { return None };
        let dev = (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
        let pid: u32 = pid.parse().ok().filter(|pid| *pid > 0)?;
        (ino.parse() == Ok(inode)).then_some((dev, pid))
    });
    let held: Vec<_> = held.collect();
    match held[..] {
        [(_, pid)] => Some(pid),
        _ => held.iter().find(|(there, _)| *there == dev).map(|(_, pid)| *pid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loader_model::StageName;

    const LOCKS: &str = "\
1: POSIX  ADVISORY  WRITE 10 fe:00:77 0 EOF
2: FLOCK  ADVISORY  WRITE 11 fe:00:77 0 EOF
2: -> FLOCK  ADVISORY  WRITE 12 fe:00:77 0 EOF
3: FLOCK  ADVISORY  READ 13 08:11:77 0 EOF
4: FLOCK  ADVISORY  WRITE 0 fe:00:78 0 EOF
5: FLOCK  ADVISORY  WRITE 14 00:2a:79 0 EOF
";

    /// Calls `wait` at most 100 times, before each of which the file changes. Returns the
    /// number of calls until the wait failed.
    fn waits_for_changing_file(owner: u32) -> Option<usize> {
        let (emitter, _) = Emitter::from_environment(StageName::Fetch);
        let file = ::tempfile::tempfile().unwrap();
        std::os::unix::fs::fchown(&file, Some(owner), None).unwrap();
        let limit = Duration::from_millis(120);
        let lock_wait = LockWait { emitter: &emitter, limit, unchanged: Cell::new(None) };
        (1..=100).find(|len| {
            file.set_len(*len as u64).unwrap();
            lock_wait.wait(&file).is_err()
        })
    }

    #[test]
    fn changes_of_a_file_of_another_user_do_not_extend_the_wait() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        assert!(waits_for_changing_file(65534).is_some());
    }

    #[test]
    fn a_process_that_waits_for_the_lock_is_not_the_holder() {
        assert_eq!(parse_lock_holder(LOCKS, (0xfe, 0), 77), Some(11));
        assert_eq!(parse_lock_holder(LOCKS, (8, 0x11), 77), Some(13));
        assert_eq!(parse_lock_holder(LOCKS, (7, 7), 77), None, "two files have this inode");
        assert_eq!(parse_lock_holder(LOCKS, (7, 7), 79), Some(14), "the only file with this inode");
        assert_eq!(parse_lock_holder(LOCKS, (0xfe, 0), 78), None, "a process of another namespace");
        assert_eq!(parse_lock_holder("nonsense\n1:\n", (0, 0), 1), None);
    }
}

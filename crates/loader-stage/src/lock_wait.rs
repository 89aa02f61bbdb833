//! A wait for a file that another process has locked, with an end.

use crate::{Failure, Stage};
use loader_model::ErrorCode;
use std::cell::Cell;
use std::env;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Variable that sets the longest wait, in seconds.
const TIMEOUT: &str = "AZ_LOCK_TIMEOUT";

/// Longest wait unless [`TIMEOUT`] is set: another user may hold a lock forever.
const DEFAULT_SECONDS: u64 = 60;

/// Time between two tries.
const TRY_EVERY: Duration = Duration::from_millis(50);

/// A wait that ends when the locked file has not changed for a while. A process that
/// works on the file, such as one that downloads it, is waited for as long as it does.
pub struct LockWait<'a> {
    stage: &'a Stage,
    limit: Duration,
    /// The file as it was last seen, and since when it is so.
    unchanged: Cell<Option<(State, Instant)>>,
}

/// Device, inode, size and time of the last change.
type State = (u64, u64, u64, i64, i64);

/// A process that holds a lock.
#[derive(Debug, PartialEq, Eq)]
struct Holder {
    pid: u32,
    command: Option<String>,
}

impl<'a> LockWait<'a> {
    pub(crate) fn new(stage: &'a Stage) -> Result<Self, Failure> {
        let seconds = match env::var(TIMEOUT) {
            Err(_) => DEFAULT_SECONDS,
            Ok(text) if text.is_empty() => DEFAULT_SECONDS,
            Ok(text) => text.parse().map_err(|_| {
                Failure::new(ErrorCode::Config, format_args!("{TIMEOUT} is {text}"))
                    .hint("it is a number of seconds; 0 does not wait at all".to_owned())
            })?,
        };
        Ok(Self { stage, limit: Duration::from_secs(seconds), unchanged: Cell::new(None) })
    }

    /// Waits a moment, for a caller that could not lock `file`. The first call of a wait
    /// reports the step `lock-wait` with the process that holds the lock.
    ///
    /// # Errors
    /// [`io::ErrorKind::ResourceBusy`] if the file has been locked for too long.
    pub fn wait(&self, file: &File) -> io::Result<()> {
        let metadata = file.metadata()?;
        let state = (metadata.dev(), metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec());
        let since = match self.unchanged.get() {
            Some((before, since)) if before == state => since,
            before => {
                if before.is_none_or(|(before, _)| (before.0, before.1) != (state.0, state.1)) {
                    self.report(holder(file).as_ref());
                }
                let now = Instant::now();
                self.unchanged.set(Some((state, now)));
                now
            }
        };
        if since.elapsed() < self.limit {
            sleep(TRY_EVERY);
            return Ok(());
        }
        let by = lock_holder(file).unwrap_or_else(|| "another process".to_owned());
        let what = format!("locked by {by}, and unchanged for {} seconds ({TIMEOUT})", self.limit.as_secs());
        Err(io::Error::new(io::ErrorKind::ResourceBusy, what))
    }

    fn report(&self, holder: Option<&Holder>) {
        let mut detail = Vec::new();
        if let Some(holder) = holder {
            detail.push(("pid", holder.pid.into()));
            detail.extend(holder.command.as_deref().map(|command| ("command", command.into())));
        }
        self.stage.step("lock-wait", &detail);
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {}", self.pid)?;
        self.command.as_ref().map_or(Ok(()), |command| write!(f, " ({command})"))
    }
}

/// Returns the process that holds a lock on `file`, such as `process 4711 (az-push)`, if
/// the kernel names it.
pub fn lock_holder(file: &File) -> Option<String> {
    holder(file).map(|holder| holder.to_string())
}

/// Returns the process that holds a lock on `file`, if the kernel names it: not for a
/// process of another PID namespace.
fn holder(file: &File) -> Option<Holder> {
    let metadata = file.metadata().ok()?;
    let dev = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
    let pid = holder_in(&fs::read_to_string("/proc/locks").ok()?, dev, metadata.ino())?;
    let command = fs::read_to_string(format!("/proc/{pid}/comm")).ok();
    Some(Holder { pid, command: command.map(|command| command.trim_end().to_owned()) })
}

/// Returns the process that holds a lock on the file with this device and inode, by the
/// lines of `/proc/locks` (proc_locks(5)). On overlayfs and btrfs the kernel names another
/// device there than for the file; then the inode decides, if only one line has it.
fn holder_in(locks: &str, dev: (u32, u32), inode: u64) -> Option<u32> {
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

    const LOCKS: &str = "\
1: POSIX  ADVISORY  WRITE 10 fe:00:77 0 EOF
2: FLOCK  ADVISORY  WRITE 11 fe:00:77 0 EOF
2: -> FLOCK  ADVISORY  WRITE 12 fe:00:77 0 EOF
3: FLOCK  ADVISORY  READ 13 08:11:77 0 EOF
4: FLOCK  ADVISORY  WRITE 0 fe:00:78 0 EOF
5: FLOCK  ADVISORY  WRITE 14 00:2a:79 0 EOF
";

    #[test]
    fn a_holder_has_the_lock_and_does_not_wait_for_it() {
        assert_eq!(holder_in(LOCKS, (0xfe, 0), 77), Some(11));
        assert_eq!(holder_in(LOCKS, (8, 0x11), 77), Some(13));
        assert_eq!(holder_in(LOCKS, (7, 7), 77), None, "two files have this inode");
        assert_eq!(holder_in(LOCKS, (7, 7), 79), Some(14), "the only file with this inode");
        assert_eq!(holder_in(LOCKS, (0xfe, 0), 78), None, "a process of another namespace");
        assert_eq!(holder_in("nonsense\n1:\n", (0, 0), 1), None);
    }
}

//! The daily log of all lines, unchanged.

use crate::clock;
use loader_stage::{ErrorCode, Failure, append_regular};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const PREFIX: &str = "log_loader_";
const SUFFIX: &str = ".txt";
const DAY_SECONDS: u64 = 86_400;

/// A directory of files `log_loader_YYYYMMDD.txt`, one for each day (UTC).
#[derive(Debug)]
pub(crate) struct DailyLog {
    dir: PathBuf,
    keep_days: u16,
    day: String,
    file: File,
    /// True if the last write failed.
    is_failing: bool,
}

impl DailyLog {
    /// Opens the log of today in `dir`, after creating the directory if necessary. Removes logs
    /// older than `keep_days` days, counting today, but always keeps the newest `keep_days` files:
    /// a clock that is wrong for a moment must not cause the removal of all logs.
    ///
    /// # Errors
    /// `cannot_create` if the file cannot be created.
    pub(crate) fn open(dir: &Path, keep_days: u16, now: SystemTime) -> Result<Self, Failure> {
        let day = clock::day(now);
        let file = fs::create_dir_all(dir)
            .and_then(|()| open_day(dir, &day))
            .map_err(|error| Failure::new(ErrorCode::CannotCreate, format_args!("{}: {error}", dir.display())))?;
        let log = Self { dir: dir.to_owned(), keep_days, day, file, is_failing: false };
        log.remove_old(now);
        Ok(log)
    }

    /// Appends `line` and a newline. Returns a message for the first of several failed writes.
    pub(crate) fn append(&mut self, line: &[u8], now: SystemTime) -> Option<String> {
        let error = self.write(line, now).err();
        let was_failing = std::mem::replace(&mut self.is_failing, error.is_some());
        error.filter(|_| !was_failing).map(|error| format!("az-status: {}: {error}", self.dir.display()))
    }

    fn write(&mut self, line: &[u8], now: SystemTime) -> io::Result<()> {
        let today = clock::day(now);
        if today != self.day {
            self.file = open_day(&self.dir, &today)?;
            self.day = today;
            self.remove_old(now);
        }
        // A single write, so that processes that share the log do not mix their lines.
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
        self.file.write_all(&bytes)
    }

    /// Removes old logs, by the day in their names, not by their modification times.
    fn remove_old(&self, now: SystemTime) {
        let today = clock::seconds(now) / DAY_SECONDS;
        let day_of = |name: &OsString| {
            let day = name.to_str()?.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
            Some(clock::day_start(day)? / DAY_SECONDS)
        };
        let names = loader_stage::entry_names(&self.dir).unwrap_or_default();
        let mut logs: Vec<_> = names.into_iter().filter_map(|name| Some((day_of(&name)?, name))).collect();
        logs.sort_unstable();
        let excess = logs.len().saturating_sub(usize::from(self.keep_days));
        for (_, name) in logs[..excess].iter().filter(|(day, _)| day + u64::from(self.keep_days) <= today) {
            // If the removal fails, it is tried again tomorrow.
            let _ = fs::remove_file(self.dir.join(name));
        }
    }
}

fn open_day(dir: &Path, day: &str) -> io::Result<File> {
    append_regular(&dir.join(format!("{PREFIX}{day}{SUFFIX}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use loader_testkit::file_names;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn midnight_opens_a_new_file_and_removes_the_oldest() {
        let dir = tempfile::tempdir().unwrap();
        // Two seconds before midnight of 2026-11-23.
        let evening = UNIX_EPOCH + Duration::from_secs(1_795_478_398);
        for name in ["log_loader_20261121.txt", "log_loader_20261122.txt", "log_loader_20261120.txt.gz", "other.txt"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        let mut log = DailyLog::open(dir.path(), 2, evening).unwrap();
        assert_eq!(log.append(b"before", evening), None);
        assert_eq!(
            file_names(dir.path()),
            ["log_loader_20261120.txt.gz", "log_loader_20261122.txt", "log_loader_20261123.txt", "other.txt"]
        );
        let morning = evening + Duration::from_secs(4);
        assert_eq!(log.append(b"after\xff", morning), None);
        assert_eq!(
            file_names(dir.path()),
            ["log_loader_20261120.txt.gz", "log_loader_20261123.txt", "log_loader_20261124.txt", "other.txt"]
        );
        assert_eq!(fs::read(dir.path().join("log_loader_20261123.txt")).unwrap(), b"before\n");
        assert_eq!(fs::read(dir.path().join("log_loader_20261124.txt")).unwrap(), b"after\xff\n");
    }

    #[test]
    fn a_clock_that_jumps_does_not_remove_all_logs() {
        let dir = tempfile::tempdir().unwrap();
        for day in 20_261_101..20_261_105 {
            fs::write(dir.path().join(format!("log_loader_{day}.txt")), "x").unwrap();
        }
        let far = UNIX_EPOCH + Duration::from_secs(4_070_908_800);
        drop(DailyLog::open(dir.path(), 3, far).unwrap());
        assert_eq!(
            file_names(dir.path()),
            ["log_loader_20261103.txt", "log_loader_20261104.txt", "log_loader_20990101.txt"]
        );
        let booted = tempfile::tempdir().unwrap();
        let mut log = DailyLog::open(booted.path(), 3, UNIX_EPOCH).unwrap();
        assert_eq!(log.append(b"before the clock was set", UNIX_EPOCH), None);
        assert_eq!(log.append(b"after", UNIX_EPOCH + Duration::from_secs(1_795_478_398)), None);
        assert_eq!(file_names(booted.path()), ["log_loader_19700101.txt", "log_loader_20261123.txt"]);
    }

    #[test]
    fn a_symbolic_link_in_place_of_the_log_is_rejected() {
        let dir = tempfile::tempdir().unwrap();
        let now = UNIX_EPOCH;
        std::os::unix::fs::symlink("/dev/full", dir.path().join("log_loader_19700101.txt")).unwrap();
        assert_eq!(DailyLog::open(dir.path(), 1, now).unwrap_err().code(), ErrorCode::CannotCreate);
    }
}

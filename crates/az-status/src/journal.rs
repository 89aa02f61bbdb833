//! The daily log: every line as it came.

use crate::{clock, folder};
use loader_stage::{ErrorCode, Failure};
use rustix::fs::{Mode, OFlags, open};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const PREFIX: &str = "log_loader_";
const SUFFIX: &str = ".txt";
const DAY_SECONDS: u64 = 86_400;

/// Files `log_loader_YYYYMMDD.txt` in one folder, one a day (UTC).
#[derive(Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
    keep_days: u16,
    day: String,
    file: File,
    broken: bool,
}

impl Journal {
    /// The log of today in `folder`, which is made where it is not there; logs
    /// of more than `keep_days` days, today included, are removed, yet as many as
    /// days stay: a clock that was wrong for once does not take them all.
    ///
    /// # Errors
    /// `cannot_create` where the folder does not take the file.
    pub(crate) fn open(folder: &Path, keep_days: u16, now: SystemTime) -> Result<Self, Failure> {
        let day = clock::day(now);
        let file = fs::create_dir_all(folder)
            .and_then(|()| append(folder, &day))
            .map_err(|error| Failure::new(ErrorCode::CannotCreate, format_args!("{}: {error}", folder.display())))?;
        let journal = Self { folder: folder.to_owned(), keep_days, day, file, broken: false };
        journal.remove_old(now);
        Ok(journal)
    }

    /// Appends `line` and a newline. A failure is told once, as a line of text.
    pub(crate) fn line(&mut self, line: &[u8], now: SystemTime) -> Option<String> {
        let error = self.write(line, now).err();
        let told = std::mem::replace(&mut self.broken, error.is_some());
        error.filter(|_| !told).map(|error| format!("az-status: {}: {error}", self.folder.display()))
    }

    fn write(&mut self, line: &[u8], now: SystemTime) -> io::Result<()> {
        let today = clock::day(now);
        if today != self.day {
            self.file = append(&self.folder, &today)?;
            self.day = today;
            self.remove_old(now);
        }
        // One write, so that two processes with one log do not mix their lines.
        let mut whole = Vec::with_capacity(line.len() + 1);
        whole.extend_from_slice(line);
        whole.push(b'\n');
        self.file.write_all(&whole)
    }

    /// Removes logs by their names alone: the day that a name tells counts, not
    /// the time of the file.
    fn remove_old(&self, now: SystemTime) {
        let today = clock::seconds(now) / DAY_SECONDS;
        let day_of = |name: &OsString| {
            let day = name.to_str()?.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
            Some(clock::day_start(day)? / DAY_SECONDS)
        };
        let names = folder::names(&self.folder).unwrap_or_default();
        let mut logs: Vec<_> = names.into_iter().filter_map(|name| Some((day_of(&name)?, name))).collect();
        logs.sort_unstable();
        let spare = logs.len().saturating_sub(usize::from(self.keep_days));
        for (_, name) in logs[..spare].iter().filter(|(day, _)| day + u64::from(self.keep_days) <= today) {
            // What cannot be removed now will be tried again tomorrow.
            let _ = fs::remove_file(self.folder.join(name));
        }
    }
}

fn append(folder: &Path, day: &str) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let path = folder.join(format!("{PREFIX}{day}{SUFFIX}"));
    Ok(File::from(open(path, flags, Mode::RUSR | Mode::WUSR)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn midnight_opens_a_new_file_and_removes_the_oldest() {
        let folder = tempfile::tempdir().unwrap();
        // Two seconds before midnight of 2026-11-23.
        let evening = UNIX_EPOCH + Duration::from_secs(1_795_478_398);
        for name in ["log_loader_20261121.txt", "log_loader_20261122.txt", "log_loader_20261120.txt.gz", "other.txt"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let mut journal = Journal::open(folder.path(), 2, evening).unwrap();
        assert_eq!(journal.line(b"before", evening), None);
        assert_eq!(
            names(folder.path()),
            ["log_loader_20261120.txt.gz", "log_loader_20261122.txt", "log_loader_20261123.txt", "other.txt"]
        );
        let morning = evening + Duration::from_secs(4);
        assert_eq!(journal.line(b"after\xff", morning), None);
        assert_eq!(
            names(folder.path()),
            ["log_loader_20261120.txt.gz", "log_loader_20261123.txt", "log_loader_20261124.txt", "other.txt"]
        );
        assert_eq!(fs::read(folder.path().join("log_loader_20261123.txt")).unwrap(), b"before\n");
        assert_eq!(fs::read(folder.path().join("log_loader_20261124.txt")).unwrap(), b"after\xff\n");
    }

    #[test]
    fn a_clock_that_jumps_does_not_take_the_logs() {
        let folder = tempfile::tempdir().unwrap();
        for day in 20_261_101..20_261_105 {
            fs::write(folder.path().join(format!("log_loader_{day}.txt")), "x").unwrap();
        }
        let far = UNIX_EPOCH + Duration::from_secs(4_070_908_800);
        drop(Journal::open(folder.path(), 3, far).unwrap());
        assert_eq!(
            names(folder.path()),
            ["log_loader_20261103.txt", "log_loader_20261104.txt", "log_loader_20990101.txt"]
        );
        let booted = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(booted.path(), 3, UNIX_EPOCH).unwrap();
        assert_eq!(journal.line(b"before the clock was set", UNIX_EPOCH), None);
        assert_eq!(journal.line(b"after", UNIX_EPOCH + Duration::from_secs(1_795_478_398)), None);
        assert_eq!(names(booted.path()), ["log_loader_19700101.txt", "log_loader_20261123.txt"]);
    }

    #[test]
    fn a_log_that_is_a_link_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let now = UNIX_EPOCH;
        std::os::unix::fs::symlink("/dev/full", folder.path().join("log_loader_19700101.txt")).unwrap();
        assert_eq!(Journal::open(folder.path(), 1, now).unwrap_err().code(), ErrorCode::CannotCreate);
    }
}

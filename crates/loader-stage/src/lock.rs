//! The process that holds a lock.

use rustix::fs::{fstat, major, minor};
use std::fs::File;

/// All locks of the machine (proc_locks(5)).
const LOCKS: &str = "/proc/locks";

/// Returns the id of the process that holds the `flock` lock of `file`; `None` if the
/// kernel does not name it, as for a process in another PID namespace.
pub fn lock_holder(file: &File) -> Option<u32> {
    let stat = fstat(file).ok()?;
    let place = format!("{:02x}:{:02x}:{}", major(stat.st_dev), minor(stat.st_dev), stat.st_ino);
    holder_in(&std::fs::read_to_string(LOCKS).ok()?, &place)
}

/// The holder in a table of lines such as
/// `1: FLOCK  ADVISORY  WRITE 4711 08:02:1234 0 EOF`. A line of a process that waits has
/// `->` after its number.
fn holder_in(table: &str, place: &str) -> Option<u32> {
    table.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (kind, pid, at) = (words.next()?, words.nth(2)?, words.next()?);
        pid.parse().ok().filter(|pid| kind == "FLOCK" && at == place && *pid != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{FlockOperation, flock};

    #[test]
    fn the_holder_is_found_and_not_one_that_waits() {
        let table = "1: POSIX  ADVISORY  WRITE 7 08:02:5 0 EOF\n2: -> FLOCK  ADVISORY  WRITE 8 08:02:5 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 9 08:02:5 0 EOF\n4: FLOCK  ADVISORY  WRITE 0 08:02:6 0 EOF\n";
        assert_eq!(holder_in(table, "08:02:5"), Some(9));
        assert_eq!(holder_in(table, "08:02:6"), None);
    }

    #[test]
    fn the_kernel_names_this_process() {
        let file = File::open(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(lock_holder(&file), None);
        flock(&file, FlockOperation::LockExclusive).unwrap();
        assert_eq!(lock_holder(&file), Some(std::process::id()));
    }
}

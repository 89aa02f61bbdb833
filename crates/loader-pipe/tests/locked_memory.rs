//! A process whose memory is locked can still pass pages to a pipe.
//!
//! Its own binary: `mlockall` locks the memory of the whole process.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue may panic")]

use loader_pipe::{Buffer, Memory};
use rustix::mm::{MlockAllFlags, mlockall, munlockall};
use std::io::{self, Write};

const MIB: usize = 1 << 20;

/// Sends 64 buffers and returns the number of bytes that the pipe took without a copy.
fn spliced_bytes() -> usize {
    let (mut reader, mut writer) = io::pipe().unwrap();
    let reading = std::thread::spawn(move || io::copy(&mut reader, &mut io::sink()).unwrap());
    let mut buffer = Buffer::new(Memory::Pages, MIB + 1);
    let mut spliced = 0;
    for round in 0..64 {
        buffer.bytes_mut().fill(round);
        let accepted = buffer.vmsplice_to(&writer, 0..MIB).unwrap();
        writer.write_all(&buffer[accepted..MIB]).unwrap();
        spliced += accepted;
    }
    drop(writer);
    assert_eq!(reading.join().unwrap(), 64 * MIB as u64);
    spliced
}

#[test]
fn pages_are_spliced_although_memory_is_locked() {
    let unlocked = spliced_bytes();
    if mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).is_err() {
        // If RLIMIT_MEMLOCK forbids it, the filters lock nothing either.
        return;
    }
    let locked = spliced_bytes();
    munlockall().unwrap();
    assert!(locked > unlocked / 2, "spliced bytes: {unlocked} of unlocked and {locked} of locked memory");
}

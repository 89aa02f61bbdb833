//! A process whose memory is locked gives pages away all the same.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use loader_pipe::{Buffer, Memory};
use rustix::mm::{MlockAllFlags, mlockall, munlockall};
use std::io::{self, Write};

const MIB: usize = 1 << 20;

/// Bytes that were taken of 64 buffers.
fn taken() -> usize {
    let (mut reader, mut writer) = io::pipe().unwrap();
    let reading = std::thread::spawn(move || io::copy(&mut reader, &mut io::sink()).unwrap());
    let mut buffer = Buffer::new(Memory::Pages, MIB + 1);
    let mut taken = 0;
    for round in 0..64 {
        buffer.bytes_mut().fill(round);
        let some = buffer.hand_over(&writer, 0..MIB).unwrap();
        writer.write_all(&buffer[some..MIB]).unwrap();
        taken += some;
    }
    drop(writer);
    assert_eq!(reading.join().unwrap(), 64 * MIB as u64);
    taken
}

#[test]
fn locked_memory_is_no_hindrance() {
    let before = taken();
    if mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).is_err() {
        // Under a limit nothing is locked, as in the filters.
        return;
    }
    let locked = taken();
    munlockall().unwrap();
    assert!(locked > before / 2, "{before} bytes were taken, and {locked} of locked memory");
}

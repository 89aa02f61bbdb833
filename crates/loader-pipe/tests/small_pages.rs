//! A system without huge pages: buffers are ordinary memory, and nothing is taken,
//! until there are huge pages again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use loader_pipe::{Buffer, Memory};
use std::fs;

#[test]
fn without_huge_pages_everything_is_left_to_be_written() {
    rustix::thread::disable_transparent_huge_pages(true).unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    for len in [4096, (1 << 20) + 1, 16 << 20] {
        let mut buffer = Buffer::new(Memory::Pages, len);
        for round in 0..5 {
            let bytes = buffer.bytes_mut();
            assert_eq!(bytes.len(), len);
            bytes.fill(round);
            assert_eq!(buffer.hand_over(&writer, 0..len.min(1 << 20)).unwrap(), 0);
            assert!(buffer.iter().all(|byte| *byte == round));
        }
    }
    let mut buffer = Buffer::new(Memory::Pages, (1 << 20) + 1);
    rustix::thread::disable_transparent_huge_pages(false).unwrap();
    let reading = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()).unwrap());
    let mut taken = 0;
    for round in 0..100 {
        buffer.bytes_mut().fill(round);
        taken += buffer.hand_over(&writer, 0..1 << 20).unwrap();
        assert!(buffer.iter().all(|byte| *byte == round));
    }
    drop(writer);
    assert_eq!(reading.join().unwrap(), taken as u64);
    assert!(taken > 0 || !huge_pages_are_given(), "huge pages are there again, and were not tried for");
}

/// Whether the system says so; there is no memory in one piece on every machine all the time.
fn huge_pages_are_given() -> bool {
    let say =
        |name: &str| fs::read_to_string(format!("/sys/kernel/mm/transparent_hugepage/{name}")).unwrap_or_default();
    !say("enabled").contains("[never]") && say("hpage_pmd_size").trim() == "2097152"
}

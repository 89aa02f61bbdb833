//! Without huge pages, no bytes are spliced until there are huge pages again.
//!
//! Its own binary: the setting is that of the whole process.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue may panic")]

use loader_pipe::{Buffer, Memory};
use std::fs;

#[test]
fn without_huge_pages_the_caller_writes_all_bytes() {
    rustix::thread::disable_transparent_huge_pages(true).unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    for len in [4096, (1 << 20) + 1, 16 << 20] {
        let mut buffer = Buffer::new(Memory::Pages, len);
        for round in 0..5 {
            let bytes = buffer.bytes_mut();
            assert_eq!(bytes.len(), len);
            bytes.fill(round);
            assert_eq!(buffer.vmsplice_to(&writer, 0..len.min(1 << 20)).unwrap(), 0);
            assert!(buffer.iter().all(|byte| *byte == round));
        }
    }
    let mut buffer = Buffer::new(Memory::Pages, (1 << 20) + 1);
    rustix::thread::disable_transparent_huge_pages(false).unwrap();
    let reading = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()).unwrap());
    let mut taken = 0;
    for round in 0..100 {
        buffer.bytes_mut().fill(round);
        taken += buffer.vmsplice_to(&writer, 0..1 << 20).unwrap();
        assert!(buffer.iter().all(|byte| *byte == round));
    }
    drop(writer);
    assert_eq!(reading.join().unwrap(), taken as u64);
    assert!(taken > 0 || !has_huge_pages(), "huge pages were available again, but not used");
}

/// Returns true if the kernel supplies huge pages of 2 MiB, as far as its settings tell.
fn has_huge_pages() -> bool {
    let setting =
        |name: &str| fs::read_to_string(format!("/sys/kernel/mm/transparent_hugepage/{name}")).unwrap_or_default();
    !setting("enabled").contains("[never]") && setting("hpage_pmd_size").trim() == "2097152"
}

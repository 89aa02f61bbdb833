//! A system without huge pages: buffers are ordinary memory, and nothing is taken.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use loader_pipe::{Buffer, Memory};

#[test]
fn without_huge_pages_everything_is_left_to_be_written() {
    rustix::thread::disable_transparent_huge_pages(true).unwrap();
    let (_reader, writer) = std::io::pipe().unwrap();
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
}

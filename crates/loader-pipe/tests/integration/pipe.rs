//! Buffers sent through pipes whose readers are slow, keep pages, or close the pipe.

use loader_pipe::{Buffer, Memory};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pipe::{SpliceFlags, fcntl_setpipe_size, tee};
use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::thread;

const MIB: usize = 1 << 20;

/// Fills `bytes` with words that depend on their offset in the stream, which begins at `at`.
fn stamp(bytes: &mut [u8], at: usize) {
    for (i, chunk) in bytes.chunks_mut(8).enumerate() {
        let word = ((at + 8 * i) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
}

fn stamped(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stamp(&mut bytes, 0);
    bytes
}

/// Writes `len` bytes of `buffer` as an output does, and returns how many were spliced.
fn send(buffer: &mut Buffer, pipe: &mut PipeWriter, len: usize) -> io::Result<usize> {
    let taken = buffer.vmsplice_to(&mut *pipe, 0..len)?;
    pipe.write_all(&buffer[taken..len])?;
    Ok(taken)
}

/// Sends `rounds` times `len` bytes through a pipe, from two buffers in turn, and returns
/// how many bytes were spliced.
fn stream(mut pipe: PipeWriter, buffer_len: usize, len: usize, rounds: usize) -> io::Result<usize> {
    let mut buffers = [(); 2].map(|()| Buffer::new(Memory::Pages, buffer_len));
    let mut taken = 0;
    for round in 0..rounds {
        let buffer = &mut buffers[round % 2];
        // Bytes that were spliced before must not change while this is filled.
        let bytes = buffer.bytes_mut();
        assert_eq!(bytes.len(), buffer_len);
        bytes.fill(0xee);
        stamp(&mut bytes[..len], round * len);
        taken += send(buffer, &mut pipe, len)?;
    }
    Ok(taken)
}

fn pipe(len: usize) -> (PipeReader, PipeWriter) {
    let (reader, writer) = io::pipe().unwrap();
    fcntl_setpipe_size(&writer, len).unwrap();
    (reader, writer)
}

/// Reads pieces of an odd size, and lets the writer run ahead.
fn read_slowly(mut reader: PipeReader) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), vec![0; 70_001]);
    loop {
        thread::yield_now();
        match reader.read(&mut piece).unwrap() {
            0 => return all,
            got => all.extend(&piece[..got]),
        }
    }
}

/// Returns true if the kernel supplies huge pages of 2 MiB, as far as its settings tell.
fn has_huge_pages() -> bool {
    let setting =
        |name: &str| fs::read_to_string(format!("/sys/kernel/mm/transparent_hugepage/{name}")).unwrap_or_default();
    !setting("enabled").contains("[never]") && setting("hpage_pmd_size").trim() == "2097152"
}

#[test]
fn a_slow_reader_gets_every_byte_in_order() {
    for (buffer_len, len, rounds) in [
        (MIB + 1, MIB - 16, 9),
        (MIB + 1, MIB, 8),
        (MIB, 776, 20),
        (64 * 1024 + 1, 64 * 1024 - 16, 100),
        (4 * MIB + 1, 4 * MIB, 3),
        (3 * MIB, 3 * MIB, 3),
        (4096, 4080, 30),
    ] {
        for pipe_len in [64 * 1024, MIB] {
            let (reader, writer) = pipe(pipe_len);
            let writing = thread::spawn(move || stream(writer, buffer_len, len, rounds).unwrap());
            assert!(read_slowly(reader) == stamped(rounds * len), "{buffer_len} {len} {pipe_len}");
            let taken = writing.join().unwrap();
            assert!(taken > 0 || buffer_len < 64 * 1024 || !has_huge_pages(), "{buffer_len}: nothing was spliced");
        }
    }
}

#[test]
fn a_reader_that_keeps_pages_in_a_second_pipe_finds_them_unchanged() {
    let (mut reader, writer) = pipe(MIB);
    let (mut kept, second) = pipe(MIB);
    let rounds = 24;
    let writing = thread::spawn(move || stream(writer, MIB + 1, MIB - 16, rounds).unwrap());
    // Keeps the first bytes, then empties the first pipe to its end.
    let keep = loop {
        let len = tee(&reader, &second, MIB, SpliceFlags::empty()).unwrap();
        if len > 0 {
            break len;
        }
    };
    drop(second);
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    writing.join().unwrap();
    let expected = stamped(rounds * (MIB - 16));
    assert!(all == expected);
    let mut lagging = Vec::new();
    kept.read_to_end(&mut lagging).unwrap();
    assert_eq!(lagging.len(), keep);
    assert!(lagging == expected[..keep], "pages in a pipe were overwritten");
}

#[test]
fn a_closed_reader_is_a_broken_pipe() {
    let (reader, writer) = pipe(MIB);
    drop(reader);
    assert_eq!(stream(writer, MIB + 1, MIB, 1).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    let (mut reader, writer) = pipe(64 * 1024);
    let writing = thread::spawn(move || stream(writer, MIB + 1, MIB, 100));
    reader.read_exact(&mut [0; 100_000]).unwrap();
    drop(reader);
    assert_eq!(writing.join().unwrap().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn a_non_blocking_pipe_loses_nothing() {
    let (reader, mut writer) = pipe(64 * 1024);
    fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    let reading = thread::spawn(move || read_slowly(reader));
    let mut buffer = Buffer::new(Memory::Pages, 4 * MIB);
    let mut sent = 0;
    for round in 0..3 {
        stamp(buffer.bytes_mut(), round * 4 * MIB);
        let mut from = 0;
        while from < 4 * MIB {
            from += buffer.vmsplice_to(&mut writer, from..4 * MIB).unwrap();
            match writer.write(&buffer[from..]) {
                Ok(written) => from += written,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        sent += from;
    }
    drop(writer);
    assert!(reading.join().unwrap() == stamped(sent));
}

#[test]
fn a_file_accepts_no_pages_and_loses_nothing() {
    let mut file = File::options().read(true).write(true).open("/dev/null").unwrap();
    let mut buffer = Buffer::new(Memory::Pages, MIB + 1);
    for round in 0..5 {
        stamp(buffer.bytes_mut(), round);
        assert_eq!(buffer.vmsplice_to(&mut file, 0..MIB).unwrap(), 0);
        let mut expected = vec![0; MIB + 1];
        stamp(&mut expected, round);
        assert!(buffer[..] == expected[..], "the caller can still write the rest");
    }
}

#[test]
fn a_range_does_not_affect_its_neighbours() {
    let (mut reader, mut writer) = pipe(MIB);
    let mut buffer = Buffer::new(Memory::Pages, MIB + 1);
    stamp(buffer.bytes_mut(), 0);
    let expected = stamped(MIB + 1);
    for range in [5..5, 100..5000, MIB - 3..MIB] {
        let taken = buffer.vmsplice_to(&mut writer, range.clone()).unwrap();
        writer.write_all(&buffer[range.start + taken..range.end]).unwrap();
        let mut got = vec![0; range.len()];
        reader.read_exact(&mut got).unwrap();
        assert!(got == expected[range.clone()], "{range:?}");
        // Fills the buffer again, in fresh memory if the bytes were spliced.
        stamp(buffer.bytes_mut(), 0);
    }
    // The last byte is in the next slot, so the range is not spliced.
    assert_eq!(buffer.vmsplice_to(&mut writer, 0..MIB + 1).unwrap(), 0);
}

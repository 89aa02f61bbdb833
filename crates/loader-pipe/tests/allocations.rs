//! Sealing and opening allocate their memory once: a longer stream allocates no more.
//! The test is in this crate because a counting allocator needs `unsafe`.
//!
//! Its own binary: the allocator would also count the allocations of other tests.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue may panic")]
#![allow(unsafe_code, reason = "`GlobalAlloc` is an unsafe trait")]

use loader_pipe::{Buffer, Memory, Sink};
use loader_seal::{Header, Key, SealOptions, Suite, seal};
use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

struct CountingAllocator;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is forwarded unchanged to the system allocator.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the contract of the caller is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// The null device, with the buffers of a pipe.
struct NullSink(File);

impl Write for NullSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for NullSink {
    fn memory(&self) -> Memory {
        Memory::Pages
    }

    fn write_from(&mut self, buffer: &mut Buffer, range: Range<usize>) -> io::Result<()> {
        self.write_all(&buffer[range])
    }
}

/// Returns the number of allocations while `segments` segments are sealed, and while they are opened.
fn allocations(suite: Suite, threads: usize, segments: usize) -> (u64, u64) {
    let key = [Key::from_bytes([7; 32])];
    let mut null = NullSink(File::options().write(true).open("/dev/null").unwrap());
    let plain = vec![1; segments << 16];
    let options = SealOptions { suite, threads, segment_log2: 16, ..SealOptions::default() };
    let mut sealed = Vec::new();
    seal(&mut &plain[..], &mut sealed, &key, &options).unwrap();
    let start = ALLOCATIONS.load(Ordering::Relaxed);
    seal(&mut &plain[..], &mut null, &key, &options).unwrap();
    let between = ALLOCATIONS.load(Ordering::Relaxed);
    let mut rest = &sealed[..];
    Header::read(&mut rest).unwrap().unlock(&key).unwrap().open(&mut rest, &mut null, threads).unwrap();
    (between - start, ALLOCATIONS.load(Ordering::Relaxed) - between)
}

#[test]
fn allocations_do_not_depend_on_the_number_of_segments() {
    for suite in [Suite::AesCtrHmac, Suite::AesGcm] {
        for threads in [1, 3] {
            let few = allocations(suite, threads, 8);
            let many = allocations(suite, threads, 400);
            assert!(few.0 > 0 && few.1 > 0);
            assert_eq!(few, many, "{suite:?}, {threads} threads: sealing and opening 8 segments, and 400");
        }
    }
}

//! Progress: counted everywhere, told at most twice a second.

use crate::emit::{Emitter, Report};
use loader_pipe::{Buffer, Memory, Sink};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Least time between two progress lines, and before the first one.
const INTERVAL: Duration = Duration::from_millis(500);

/// A shared count of bytes.
#[derive(Clone)]
pub struct Progress(Arc<Inner>);

struct Inner {
    emitter: Arc<Emitter>,
    done: AtomicU64,
    total: AtomicU64,
    last: Mutex<Instant>,
}

const UNKNOWN: u64 = u64::MAX;

impl Progress {
    pub(crate) fn new(emitter: Arc<Emitter>, start: Instant) -> Self {
        let (done, total) = (AtomicU64::new(UNKNOWN), AtomicU64::new(UNKNOWN));
        Self(Arc::new(Inner { emitter, done, total, last: Mutex::new(start) }))
    }

    /// Sets how many bytes there are in all; the count begins, at 0.
    pub fn set_total(&self, bytes: u64) {
        self.0.total.store(bytes, Ordering::Relaxed);
        let _ = self.0.done.compare_exchange(UNKNOWN, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Begins the count anew, for work that is done again.
    pub fn restart(&self) {
        self.0.done.store(0, Ordering::Relaxed);
    }

    /// Counts `bytes` more, and says so where it is time.
    pub fn add(&self, bytes: u64) {
        let before = self.done().unwrap_or(0);
        self.0.done.store(before + bytes, Ordering::Relaxed);
        let now = Instant::now();
        let Ok(mut last) = self.0.last.try_lock() else { return };
        if now.duration_since(*last) >= INTERVAL {
            *last = now;
            self.0.emitter.report(self.report());
        }
    }

    /// `inner`, whose bytes are counted as they pass.
    pub fn count<T>(&self, inner: T) -> Counted<T> {
        Counted { inner, progress: self.clone() }
    }

    pub(crate) fn report<'a>(&self) -> Report<'a> {
        let total = self.0.total.load(Ordering::Relaxed);
        Report { done: self.done(), total: (total != UNKNOWN).then_some(total), ..Report::default() }
    }

    /// Bytes counted so far; `None` before the first.
    pub fn done(&self) -> Option<u64> {
        let done = self.0.done.load(Ordering::Relaxed);
        (done != UNKNOWN).then_some(done)
    }
}

/// A reader or writer whose bytes count as progress.
pub struct Counted<T> {
    inner: T,
    progress: Progress,
}

impl<T: Read> Read for Counted<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buf)?;
        self.progress.add(read as u64);
        Ok(read)
    }
}

impl<T: Write> Write for Counted<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buf)?;
        self.progress.add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Sink> Sink for Counted<T> {
    fn memory(&self) -> Memory {
        self.inner.memory()
    }

    fn write_from(&mut self, buffer: &mut Buffer, range: Range<usize>) -> io::Result<()> {
        let len = range.len() as u64;
        self.inner.write_from(buffer, range)?;
        self.progress.add(len);
        Ok(())
    }
}

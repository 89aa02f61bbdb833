//! Byte counter whose progress is reported at most twice a second.

use crate::events::{Emitter, EventFields};
use loader_pipe::{Buffer, Memory, Sink};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Minimum time between two progress events, and before the first one.
const INTERVAL: Duration = Duration::from_millis(500);

/// A shared counter of processed bytes that writes progress events.
#[derive(Clone)]
pub struct ByteProgress(Arc<Inner>);

struct Inner {
    emitter: Arc<Emitter>,
    done: AtomicU64,
    total: AtomicU64,
    last: Mutex<Instant>,
}

const UNKNOWN: u64 = u64::MAX;

impl ByteProgress {
    pub(crate) fn new(emitter: Arc<Emitter>, start: Instant) -> Self {
        let (done, total) = (AtomicU64::new(UNKNOWN), AtomicU64::new(UNKNOWN));
        Self(Arc::new(Inner { emitter, done, total, last: Mutex::new(start) }))
    }

    /// Sets the total number of bytes. The counter starts at 0 if nothing was counted yet.
    pub fn set_total(&self, bytes: u64) {
        self.0.total.store(bytes, Ordering::Relaxed);
        let _ = self.0.done.compare_exchange(UNKNOWN, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Resets the counter to 0, for work that is repeated.
    pub fn restart(&self) {
        self.0.done.store(0, Ordering::Relaxed);
    }

    /// Adds `bytes` to the counter, and writes a progress event if the last one is old enough.
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

    /// Wraps a reader or writer so that its bytes are counted.
    pub fn count<T>(&self, inner: T) -> ProgressStream<T> {
        ProgressStream { inner, progress: self.clone() }
    }

    pub(crate) fn report(&self) -> EventFields {
        let total = self.0.total.load(Ordering::Relaxed);
        EventFields { done: self.done(), total: (total != UNKNOWN).then_some(total), ..EventFields::default() }
    }

    /// Returns the number of bytes counted so far, or `None` before the first.
    pub fn done(&self) -> Option<u64> {
        let done = self.0.done.load(Ordering::Relaxed);
        (done != UNKNOWN).then_some(done)
    }
}

/// A reader or writer whose bytes are counted as progress.
pub struct ProgressStream<T> {
    inner: T,
    progress: ByteProgress,
}

impl<T: Read> Read for ProgressStream<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buf)?;
        self.progress.add(read as u64);
        Ok(read)
    }
}

impl<T: Write> Write for ProgressStream<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buf)?;
        self.progress.add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Sink> Sink for ProgressStream<T> {
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

//! Processing of segments by several threads, with output in order.
//!
//! Each thread has one buffer. It reads the next segment while it holds the lock of the
//! source, processes it without a lock, and waits for its turn to write it to the sink.
//! So reading, encryption and writing overlap; memory is one buffer per thread; a slow
//! sink slows the source down; and no segment after a failed one is written.

use crate::Error;
use loader_pipe::{Buffer, Memory};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Processes segments with `threads` threads, including the calling thread.
///
/// `source` reads a segment to a buffer of `buffer_len` bytes of `memory` and returns a
/// job for `process`, or `None` at the end; its flag becomes true if another thread has
/// failed. `process` returns the range of the buffer to write. `sink` receives the
/// buffers in the order of the source.
///
/// # Errors
/// The first error in the order of the source. All segments before it were written.
pub(crate) fn run<J: Send>(
    threads: usize,
    memory: Memory,
    buffer_len: usize,
    source: impl FnMut(&mut [u8], &AtomicBool) -> Result<Option<J>, Error> + Send,
    process: impl Fn(J, &mut [u8]) -> Result<Range<usize>, Error> + Sync,
    sink: impl FnMut(&mut Buffer, Range<usize>) -> Result<(), Error> + Send,
) -> Result<(), Error> {
    let pool = WorkerPool {
        source: Mutex::new(SourceState { read: source, segments_read: 0, ended: false }),
        sink: Mutex::new(SinkState { write: sink, segments_written: 0, failure: None, worker_panicked: false }),
        sink_changed: Condvar::new(),
        stopped: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.max(1) {
            // If a thread cannot be started, fewer threads do the work.
            let spawned = std::thread::Builder::new()
                .stack_size(256 * 1024)
                .spawn_scoped(scope, || pool.worker(memory, buffer_len, &process));
            if spawned.is_err() {
                break;
            }
        }
        pool.worker(memory, buffer_len, &process);
    });
    let sink = pool.sink.into_inner().unwrap_or_else(PoisonError::into_inner);
    sink.failure.map_or(Ok(()), Err)
}

struct WorkerPool<S, K> {
    source: Mutex<SourceState<S>>,
    sink: Mutex<SinkState<K>>,
    sink_changed: Condvar,
    stopped: AtomicBool,
}

struct SourceState<S> {
    read: S,
    segments_read: u64,
    ended: bool,
}

struct SinkState<K> {
    write: K,
    segments_written: u64,
    failure: Option<Error>,
    /// A worker panicked, so the next segment in order may never arrive.
    worker_panicked: bool,
}

impl<S, K> WorkerPool<S, K>
where
    K: FnMut(&mut Buffer, Range<usize>) -> Result<(), Error>,
{
    fn worker<J>(
        &self,
        memory: Memory,
        buffer_len: usize,
        process: impl Fn(J, &mut [u8]) -> Result<Range<usize>, Error>,
    ) where
        S: FnMut(&mut [u8], &AtomicBool) -> Result<Option<J>, Error>,
    {
        let _guard = PanicGuard(self);
        let mut buffer = Buffer::new(memory, buffer_len);
        while let Some((position, job)) = self.read_next(buffer.bytes_mut()) {
            let range = job.and_then(|job| process(job, buffer.bytes_mut()));
            if !self.write_in_order(position, range, &mut buffer) {
                break;
            }
        }
    }

    /// Reads the next segment. Returns its position in the order and its job.
    fn read_next<J>(&self, buffer: &mut [u8]) -> Option<(u64, Result<J, Error>)>
    where
        S: FnMut(&mut [u8], &AtomicBool) -> Result<Option<J>, Error>,
    {
        let mut source = lock(&self.source);
        if source.ended || self.stopped.load(Ordering::Relaxed) {
            return None;
        }
        let job = (source.read)(buffer, &self.stopped).transpose();
        source.ended = !matches!(job, Some(Ok(_)));
        let position = source.segments_read;
        source.segments_read += 1;
        job.map(|job| (position, job))
    }

    /// Waits until all previous segments are written, then writes this one. Returns false
    /// if this or another thread has failed.
    fn write_in_order(&self, position: u64, range: Result<Range<usize>, Error>, buffer: &mut Buffer) -> bool {
        let mut sink = lock(&self.sink);
        while sink.failure.is_none() && !sink.worker_panicked && sink.segments_written != position {
            sink = self.sink_changed.wait(sink).unwrap_or_else(PoisonError::into_inner);
        }
        if sink.failure.is_some() || sink.worker_panicked {
            return false;
        }
        let outcome = range.and_then(|range| (sink.write)(buffer, range));
        sink.segments_written += 1;
        sink.failure = outcome.err();
        self.stopped.store(sink.failure.is_some(), Ordering::Relaxed);
        self.sink_changed.notify_all();
        sink.failure.is_none()
    }
}

/// Stops the other workers if this one panics. Otherwise they would wait for its
/// segment forever, and the panic would not reach the caller.
struct PanicGuard<'a, S, K>(&'a WorkerPool<S, K>);

impl<S, K> Drop for PanicGuard<'_, S, K> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.0.sink).worker_panicked = true;
            self.0.stopped.store(true, Ordering::Relaxed);
            self.0.sink_changed.notify_all();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(threads: usize, fail_at: Option<u8>) -> (Vec<u8>, Result<(), Error>) {
        let mut next = 0;
        let mut written = Vec::new();
        let outcome = run(
            threads,
            Memory::Ordinary,
            4,
            |buffer, _| {
                buffer[1] = next;
                next += 1;
                Ok((next <= 200).then_some(()))
            },
            |(), buffer| {
                if Some(buffer[1]) == fail_at {
                    return Err(Error::HeaderTampered);
                }
                std::thread::yield_now();
                Ok(1..2)
            },
            |buffer, range| {
                written.extend(&buffer[range]);
                Ok(())
            },
        );
        (written, outcome)
    }

    #[test]
    fn output_is_in_order_with_any_number_of_threads() {
        for threads in [0, 1, 2, 7] {
            let (written, outcome) = numbers(threads, None);
            assert!(outcome.is_ok());
            assert_eq!(written, (0..200).collect::<Vec<_>>());
        }
    }

    #[test]
    fn failed_sink_stops_all_threads() {
        for threads in [1, 2, 7] {
            let (mut read, mut written) = (0, 0);
            let outcome = run(
                threads,
                Memory::Ordinary,
                4,
                |_, _| {
                    read += 1;
                    Ok(Some(()))
                },
                |(), _| Ok(0..4),
                |_, _| {
                    written += 1;
                    if written <= 5 { Ok(()) } else { Err(Error::Write(std::io::ErrorKind::BrokenPipe.into())) }
                },
            );
            assert!(matches!(outcome, Err(Error::Write(_))));
            assert_eq!(written, 6, "the sink was called after its error");
            assert!(read <= 6 + threads, "{threads} threads read {read} segments");
        }
    }

    #[test]
    fn panic_in_any_thread_reaches_the_caller() {
        for threads in [1, 2, 7] {
            for fatal in [0, 5] {
                let mut next = 0;
                let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    run(
                        threads,
                        Memory::Ordinary,
                        4,
                        |_, _| {
                            next += 1;
                            Ok(Some(next - 1))
                        },
                        |number: u64, _| {
                            assert_ne!(number, fatal, "the panic of this test");
                            Ok(0..4)
                        },
                        |_, _| Ok(()),
                    )
                }));
                assert!(panicked.is_err(), "{threads} {fatal}");
            }
        }
    }

    #[test]
    fn source_is_not_called_after_its_end_or_error() {
        for threads in [1, 2, 7] {
            for fails in [false, true] {
                let mut calls = 0;
                let source = |_: &mut [u8], _: &AtomicBool| {
                    calls += 1;
                    match calls {
                        4 if fails => Err(Error::HeaderTampered),
                        number => Ok((number < 4).then_some(())),
                    }
                };
                let outcome = run(threads, Memory::Ordinary, 4, source, |(), _| Ok(0..4), |_, _| Ok(()));
                assert_eq!((outcome.is_err(), calls), (fails, 4), "{threads}");
            }
        }
    }

    #[test]
    fn nothing_is_written_after_a_failed_segment() {
        for threads in [1, 2, 7] {
            let (written, outcome) = numbers(threads, Some(17));
            assert!(matches!(outcome, Err(Error::HeaderTampered)));
            assert_eq!(written, (0..17).collect::<Vec<_>>());
        }
    }
}

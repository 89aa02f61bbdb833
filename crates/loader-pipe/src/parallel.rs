//! Processing of blocks by several threads, with output in order.
//!
//! Each thread has one buffer. It reads the next block while it holds the lock of the
//! source, processes it without a lock, and waits for its turn to write it to the sink.
//! So reading, processing and writing overlap; memory is one buffer per thread; a slow
//! sink slows the source down; and no block after a failed one is written.

use crate::{Buffer, Memory};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Processes blocks with `threads` threads, including the calling thread.
///
/// `source` reads a block to a buffer of `buffer_len` bytes of `memory` and returns a
/// job, or `None` at the end; its flag becomes true if another thread has failed.
/// `new_processor` is called once in each thread; the processor works on the buffer and
/// returns what `sink` needs to write it. `sink` receives the buffers in the order of the
/// source.
///
/// # Errors
/// The first error in the order of the source. All blocks before it were written.
pub fn process_in_order<J, T, E, P>(
    threads: usize,
    memory: Memory,
    buffer_len: usize,
    source: impl FnMut(&mut [u8], &AtomicBool) -> Result<Option<J>, E> + Send,
    new_processor: impl Fn() -> P + Sync,
    sink: impl FnMut(&mut Buffer, T) -> Result<(), E> + Send,
) -> Result<(), E>
where
    E: Send,
    P: FnMut(J, &mut [u8]) -> Result<T, E>,
{
    let pool = WorkerPool {
        source: Mutex::new(SourceState { read: source, blocks_read: 0, ended: false }),
        sink: Mutex::new(SinkState { write: sink, blocks_written: 0, failure: None, worker_panicked: false }),
        sink_changed: Condvar::new(),
        stopped: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.max(1) {
            // If a thread cannot be started, fewer threads do the work.
            let spawned = std::thread::Builder::new()
                .stack_size(256 * 1024)
                .spawn_scoped(scope, || pool.worker(memory, buffer_len, new_processor()));
            if spawned.is_err() {
                break;
            }
        }
        pool.worker(memory, buffer_len, new_processor());
    });
    let sink = pool.sink.into_inner().unwrap_or_else(PoisonError::into_inner);
    sink.failure.map_or(Ok(()), Err)
}

struct WorkerPool<S, K, E> {
    source: Mutex<SourceState<S>>,
    sink: Mutex<SinkState<K, E>>,
    sink_changed: Condvar,
    stopped: AtomicBool,
}

struct SourceState<S> {
    read: S,
    blocks_read: u64,
    ended: bool,
}

struct SinkState<K, E> {
    write: K,
    blocks_written: u64,
    failure: Option<E>,
    /// A worker panicked, so the next block in order may never arrive.
    worker_panicked: bool,
}

impl<S, K, E> WorkerPool<S, K, E> {
    fn worker<J, T>(&self, memory: Memory, buffer_len: usize, mut process: impl FnMut(J, &mut [u8]) -> Result<T, E>)
    where
        S: FnMut(&mut [u8], &AtomicBool) -> Result<Option<J>, E>,
        K: FnMut(&mut Buffer, T) -> Result<(), E>,
    {
        let _guard = PanicGuard(self);
        let mut buffer = Buffer::new(memory, buffer_len);
        while let Some((position, job)) = self.read_next(buffer.bytes_mut()) {
            let processed = job.and_then(|job| process(job, buffer.bytes_mut()));
            if !self.write_in_order(position, processed, &mut buffer) {
                break;
            }
        }
    }

    /// Reads the next block. Returns its position in the order and its job.
    fn read_next<J>(&self, buffer: &mut [u8]) -> Option<(u64, Result<J, E>)>
    where
        S: FnMut(&mut [u8], &AtomicBool) -> Result<Option<J>, E>,
    {
        let mut source = lock(&self.source);
        if source.ended || self.stopped.load(Ordering::Relaxed) {
            return None;
        }
        let job = (source.read)(buffer, &self.stopped).transpose();
        source.ended = !matches!(job, Some(Ok(_)));
        let position = source.blocks_read;
        source.blocks_read += 1;
        job.map(|job| (position, job))
    }

    /// Waits until all previous blocks are written, then writes this one. Returns false
    /// if this or another thread has failed.
    fn write_in_order<T>(&self, position: u64, processed: Result<T, E>, buffer: &mut Buffer) -> bool
    where
        K: FnMut(&mut Buffer, T) -> Result<(), E>,
    {
        let mut sink = lock(&self.sink);
        while sink.failure.is_none() && !sink.worker_panicked && sink.blocks_written != position {
            sink = self.sink_changed.wait(sink).unwrap_or_else(PoisonError::into_inner);
        }
        if sink.failure.is_some() || sink.worker_panicked {
            return false;
        }
        let outcome = processed.and_then(|processed| (sink.write)(buffer, processed));
        sink.blocks_written += 1;
        sink.failure = outcome.err();
        self.stopped.store(sink.failure.is_some(), Ordering::Relaxed);
        self.sink_changed.notify_all();
        sink.failure.is_none()
    }
}

/// Stops the other workers if this one panics. Otherwise they would wait for its
/// block forever, and the panic would not reach the caller.
struct PanicGuard<'a, S, K, E>(&'a WorkerPool<S, K, E>);

impl<S, K, E> Drop for PanicGuard<'_, S, K, E> {
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
    use std::ops::Range;

    #[derive(Debug)]
    enum Failed {
        Process,
        Sink,
    }

    fn numbers(threads: usize, fail_at: Option<u8>) -> (Vec<u8>, Result<(), Failed>) {
        let mut next = 0;
        let mut written = Vec::new();
        let outcome = process_in_order(
            threads,
            Memory::Ordinary,
            4,
            |buffer, _| {
                buffer[1] = next;
                next += 1;
                Ok((next <= 200).then_some(()))
            },
            || {
                |(), buffer: &mut [u8]| {
                    if Some(buffer[1]) == fail_at {
                        return Err(Failed::Process);
                    }
                    std::thread::yield_now();
                    Ok(1..2)
                }
            },
            |buffer, range: Range<usize>| {
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
            let outcome = process_in_order(
                threads,
                Memory::Ordinary,
                4,
                |_, _| {
                    read += 1;
                    Ok(Some(()))
                },
                || |(), _: &mut [u8]| Ok(0..4),
                |_, _: Range<usize>| {
                    written += 1;
                    if written <= 5 { Ok(()) } else { Err(Failed::Sink) }
                },
            );
            assert!(matches!(outcome, Err(Failed::Sink)));
            assert_eq!(written, 6, "the sink was called after its error");
            assert!(read <= 6 + threads, "{threads} threads read {read} blocks");
        }
    }

    #[test]
    fn panic_in_any_thread_reaches_the_caller() {
        for threads in [1, 2, 7] {
            for fatal in [0, 5] {
                let mut next = 0;
                let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    process_in_order(
                        threads,
                        Memory::Ordinary,
                        4,
                        |_, _| {
                            next += 1;
                            Ok(Some(next - 1))
                        },
                        || {
                            |number: u64, _: &mut [u8]| {
                                assert_ne!(number, fatal, "the panic of this test");
                                Ok(0..4)
                            }
                        },
                        |_, _: Range<usize>| Ok::<_, Failed>(()),
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
                        4 if fails => Err(Failed::Process),
                        number => Ok((number < 4).then_some(())),
                    }
                };
                let outcome = process_in_order(
                    threads,
                    Memory::Ordinary,
                    4,
                    source,
                    || |(), _: &mut [u8]| Ok(0..4),
                    |_, _: Range<usize>| Ok(()),
                );
                assert_eq!((outcome.is_err(), calls), (fails, 4), "{threads}");
            }
        }
    }

    #[test]
    fn nothing_is_written_after_a_failed_block() {
        for threads in [1, 2, 7] {
            let (written, outcome) = numbers(threads, Some(17));
            assert!(matches!(outcome, Err(Failed::Process)));
            assert_eq!(written, (0..17).collect::<Vec<_>>());
        }
    }
}

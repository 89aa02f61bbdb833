//! Segments by several threads, in order.
//!
//! Each thread has one buffer. It takes the next segment under the lock of the
//! source, works on it alone, and waits for its turn at the sink. So reading,
//! ciphers and writing overlap, memory is one buffer a thread, a slow sink holds
//! the source back, and nothing behind a failed segment is ever written.

use crate::Error;
use loader_pipe::{Buffer, Memory};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Runs segments through `work` with `threads` threads, the caller's among them.
///
/// `source` fills a buffer of `buffer_len` bytes of `memory` and gives what `work` has to
/// know of it, or `None` at the end; the flag tells it that something failed and
/// nobody waits for more. `work` gives the range of the buffer to
/// write. `sink` is called in the order of the source.
///
/// # Errors
/// The first error in that order; everything before it was written.
pub(crate) fn run<J: Send>(
    threads: usize,
    memory: Memory,
    buffer_len: usize,
    source: impl FnMut(&mut [u8], &AtomicBool) -> Result<Option<J>, Error> + Send,
    work: impl Fn(J, &mut [u8]) -> Result<Range<usize>, Error> + Sync,
    sink: impl FnMut(&mut Buffer, Range<usize>) -> Result<(), Error> + Send,
) -> Result<(), Error> {
    let queue = Queue {
        source: Mutex::new(Source { next: source, taken: 0, ended: false }),
        sink: Mutex::new(Sink { put: sink, written: 0, failure: None, abandoned: false }),
        turn: Condvar::new(),
        stopped: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.max(1) {
            // Fewer threads than asked for are slower, not wrong.
            let spawned = std::thread::Builder::new()
                .stack_size(256 * 1024)
                .spawn_scoped(scope, || queue.work_off(memory, buffer_len, &work));
            if spawned.is_err() {
                break;
            }
        }
        queue.work_off(memory, buffer_len, &work);
    });
    let sink = queue.sink.into_inner().unwrap_or_else(PoisonError::into_inner);
    sink.failure.map_or(Ok(()), Err)
}

struct Queue<S, K> {
    source: Mutex<Source<S>>,
    sink: Mutex<Sink<K>>,
    turn: Condvar,
    stopped: AtomicBool,
}

struct Source<S> {
    next: S,
    taken: u64,
    ended: bool,
}

struct Sink<K> {
    put: K,
    written: u64,
    failure: Option<Error>,
    /// A thread panicked: the segment that is due may never come.
    abandoned: bool,
}

impl<S, K> Queue<S, K>
where
    K: FnMut(&mut Buffer, Range<usize>) -> Result<(), Error>,
{
    fn work_off<J>(&self, memory: Memory, buffer_len: usize, work: impl Fn(J, &mut [u8]) -> Result<Range<usize>, Error>)
    where
        S: FnMut(&mut [u8], &AtomicBool) -> Result<Option<J>, Error>,
    {
        let _guard = Abandon(self);
        let mut buffer = Buffer::new(memory, buffer_len);
        while let Some((ticket, job)) = self.take(buffer.bytes_mut()) {
            let range = job.and_then(|job| work(job, buffer.bytes_mut()));
            if !self.give(ticket, range, &mut buffer) {
                break;
            }
        }
    }

    /// The next segment and its place in the order.
    fn take<J>(&self, buffer: &mut [u8]) -> Option<(u64, Result<J, Error>)>
    where
        S: FnMut(&mut [u8], &AtomicBool) -> Result<Option<J>, Error>,
    {
        let mut source = lock(&self.source);
        if source.ended || self.stopped.load(Ordering::Relaxed) {
            return None;
        }
        let job = (source.next)(buffer, &self.stopped).transpose();
        source.ended = !matches!(job, Some(Ok(_)));
        let ticket = source.taken;
        source.taken += 1;
        job.map(|job| (ticket, job))
    }

    /// Writes the segment when its turn has come; false once something failed.
    fn give(&self, ticket: u64, range: Result<Range<usize>, Error>, buffer: &mut Buffer) -> bool {
        let mut sink = lock(&self.sink);
        while sink.failure.is_none() && !sink.abandoned && sink.written != ticket {
            sink = self.turn.wait(sink).unwrap_or_else(PoisonError::into_inner);
        }
        if sink.failure.is_some() || sink.abandoned {
            return false;
        }
        let outcome = range.and_then(|range| (sink.put)(buffer, range));
        sink.written += 1;
        sink.failure = outcome.err();
        self.stopped.store(sink.failure.is_some(), Ordering::Relaxed);
        self.turn.notify_all();
        sink.failure.is_none()
    }
}

/// Lets the other threads end where this one panics, so that the panic goes on in
/// the caller instead of a wait for ever.
struct Abandon<'a, S, K>(&'a Queue<S, K>);

impl<S, K> Drop for Abandon<'_, S, K> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.0.sink).abandoned = true;
            self.0.stopped.store(true, Ordering::Relaxed);
            self.0.turn.notify_all();
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
    fn order_is_kept_with_any_number_of_threads() {
        for threads in [0, 1, 2, 7] {
            let (written, outcome) = numbers(threads, None);
            assert!(outcome.is_ok());
            assert_eq!(written, (0..200).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_sink_that_fails_ends_every_thread_at_once() {
        for threads in [1, 2, 7] {
            let (mut taken, mut written) = (0, 0);
            let outcome = run(
                threads,
                Memory::Ordinary,
                4,
                |_, _| {
                    taken += 1;
                    Ok(Some(()))
                },
                |(), _| Ok(0..4),
                |_, _| {
                    written += 1;
                    if written <= 5 { Ok(()) } else { Err(Error::Write(std::io::ErrorKind::BrokenPipe.into())) }
                },
            );
            assert!(matches!(outcome, Err(Error::Write(_))));
            assert_eq!(written, 6, "it is not called again");
            assert!(taken <= 6 + threads, "{taken} were taken by {threads} threads");
        }
    }

    #[test]
    fn a_panic_in_any_thread_reaches_the_caller() {
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
    fn a_source_that_has_ended_or_failed_is_not_asked_again() {
        for threads in [1, 2, 7] {
            for fails in [false, true] {
                let mut asked = 0;
                let source = |_: &mut [u8], _: &AtomicBool| {
                    asked += 1;
                    match asked {
                        4 if fails => Err(Error::HeaderTampered),
                        number => Ok((number < 4).then_some(())),
                    }
                };
                let outcome = run(threads, Memory::Ordinary, 4, source, |(), _| Ok(0..4), |_, _| Ok(()));
                assert_eq!((outcome.is_err(), asked), (fails, 4), "{threads}");
            }
        }
    }

    #[test]
    fn nothing_behind_a_failure_is_written() {
        for threads in [1, 2, 7] {
            let (written, outcome) = numbers(threads, Some(17));
            assert!(matches!(outcome, Err(Error::HeaderTampered)));
            assert_eq!(written, (0..17).collect::<Vec<_>>());
        }
    }
}

//! The signals that ask a process to end, waited for on a thread.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The last of them that came, from the moment in which it did: before anyone was woken.
static CAME: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// What the process does with a signal that asks it to end: [`RUNNING`], [`COMMITTING`] or
/// [`ENDING`].
static PHASE: AtomicU8 = AtomicU8::new(RUNNING);

/// It ends.
const RUNNING: u8 = 0;

/// It first finishes what it has begun.
const COMMITTING: u8 = 1;

/// It is about to end.
const ENDING: u8 = 2;

/// The signal that has asked the process to end, where one has, although whoever
/// waits for it in [`EndSignals::wait`] may not have heard yet.
pub fn signal_came() -> Option<i32> {
    let signal = CAME.get()?.load(Ordering::SeqCst);
    i32::try_from(signal).ok().filter(|signal| *signal != 0)
}

/// Waits for the end of the process where a signal has asked for it, so that
/// nothing is committed any more.
pub(crate) fn obey() {
    while signal_came().is_some() {
        std::thread::park();
    }
}

/// As [`obey`]; afterwards the first signal does not end the process.
pub(crate) fn begin_commit() {
    obey();
    while PHASE.compare_exchange(RUNNING, COMMITTING, Ordering::SeqCst, Ordering::SeqCst) == Err(ENDING) {
        std::thread::park();
    }
}

/// Returns true if a signal ends the process, which then commits nothing any more.
pub(crate) fn begin_end() -> bool {
    PHASE.compare_exchange(RUNNING, ENDING, Ordering::SeqCst, Ordering::SeqCst) != Err(COMMITTING)
}

/// SIGINT, SIGTERM and SIGHUP, noted from when this exists. A system call that
/// fails while it waits is no panic, as it would be in signal-hook's iterator.
#[derive(Debug)]
pub struct EndSignals {
    seen: Arc<AtomicUsize>,
    woken: UnixStream,
    // Stays open where no signal holds a copy, so that the wait has no end.
    _wake: UnixStream,
}

impl EndSignals {
    /// Notes those that are not in `ignored`, a mask with bit 0 for signal 1.
    ///
    /// # Errors
    /// The system's, where it refuses a handler or a socket.
    pub fn register(ignored: u64) -> io::Result<Self> {
        let seen = Arc::new(AtomicUsize::new(0));
        let (woken, wake) = UnixStream::pair()?;
        // A handler that cannot write wakes enough.
        wake.set_nonblocking(true)?;
        for signal in [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0) {
            let number = signal.unsigned_abs() as usize;
            signal_hook::flag::register_usize(signal, CAME.get_or_init(Arc::default).clone(), number)?;
            signal_hook::flag::register_usize(signal, seen.clone(), number)?;
            signal_hook::low_level::pipe::register(signal, wake.try_clone()?)?;
        }
        Ok(Self { seen, woken, _wake: wake })
    }

    /// Waits for the next signal and gives its number; of several at once the last.
    pub fn wait(&mut self) -> i32 {
        loop {
            match self.seen.swap(0, Ordering::SeqCst) {
                0 => {}
                signal => return i32::try_from(signal).unwrap_or_default(),
            }
            // A system that cannot wait is asked now and then.
            if self.woken.read(&mut [0]).is_err() {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

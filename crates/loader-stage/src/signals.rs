//! Waits for the signals that ask the process to terminate.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The last termination signal, set by the handler itself, before any thread is woken.
static LAST_SIGNAL: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// What the process does with a termination signal: [`RUNNING`], [`COMMITTING`] or [`ENDING`].
static PHASE: AtomicU8 = AtomicU8::new(RUNNING);

/// The process ends.
const RUNNING: u8 = 0;

/// The process first finishes a commit.
const COMMITTING: u8 = 1;

/// The process is about to end.
const ENDING: u8 = 2;

/// Returns the termination signal that the process has received, if any, even if
/// [`TerminationSignals::wait`] has not returned it yet.
pub fn received_signal() -> Option<i32> {
    let signal = LAST_SIGNAL.get()?.load(Ordering::SeqCst);
    i32::try_from(signal).ok().filter(|signal| *signal != 0)
}

/// Blocks forever if a termination signal was received, so that nothing is committed while
/// the signal thread ends the process.
pub(crate) fn park_if_signalled() {
    while received_signal().is_some() {
        std::thread::park();
    }
}

/// Like [`park_if_signalled`]; afterwards the first signal does not end the process.
pub(crate) fn begin_commit() {
    park_if_signalled();
    while PHASE.compare_exchange(RUNNING, COMMITTING, Ordering::SeqCst, Ordering::SeqCst) == Err(ENDING) {
        std::thread::park();
    }
}

/// Returns true if a signal ends the process, which then does not begin a commit any more.
pub(crate) fn begin_end() -> bool {
    PHASE.compare_exchange(RUNNING, ENDING, Ordering::SeqCst, Ordering::SeqCst) != Err(COMMITTING)
}

/// Handlers for SIGINT, SIGTERM and SIGHUP, installed when this value is created. In contrast
/// to signal-hook's iterator, a system call that fails during the wait does not panic.
#[derive(Debug)]
pub struct TerminationSignals {
    pending: Arc<AtomicUsize>,
    wake_receiver: UnixStream,
    // Kept open, so that the read blocks even if no handler has a copy.
    _wake_sender: UnixStream,
}

impl TerminationSignals {
    /// Installs the handlers, except for the signals in `ignored`, a mask with bit 0 for
    /// signal 1.
    ///
    /// # Errors
    /// The error of the system call if a handler or the socket pair cannot be created.
    pub fn register(ignored: u64) -> io::Result<Self> {
        let pending = Arc::new(AtomicUsize::new(0));
        let (wake_receiver, wake_sender) = UnixStream::pair()?;
        // If the socket is full, the receiver is awake anyway.
        wake_sender.set_nonblocking(true)?;
        for signal in [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0) {
            let number = signal.unsigned_abs() as usize;
            signal_hook::flag::register_usize(signal, LAST_SIGNAL.get_or_init(Arc::default).clone(), number)?;
            signal_hook::flag::register_usize(signal, pending.clone(), number)?;
            signal_hook::low_level::pipe::register(signal, wake_sender.try_clone()?)?;
        }
        Ok(Self { pending, wake_receiver, _wake_sender: wake_sender })
    }

    /// Waits for the next signal and returns its number, or the last one if there are several.
    pub fn wait(&mut self) -> i32 {
        loop {
            match self.pending.swap(0, Ordering::SeqCst) {
                0 => {}
                signal => return i32::try_from(signal).unwrap_or_default(),
            }
            // If the read fails, poll instead.
            if self.wake_receiver.read(&mut [0]).is_err() {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

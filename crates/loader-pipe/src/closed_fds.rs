//! The standard descriptors that were closed when the process was started.
#![allow(unsafe_code, reason = "runs before the start-up code of Rust, which reopens closed descriptors")]

use std::ffi::c_int;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU8, Ordering};

/// Bit n is set if descriptor n was closed.
static CLOSED: AtomicU8 = AtomicU8::new(0);

// SAFETY: the section is a table of functions with the C calling convention, which the C
// library calls before `main`. `record_closed` may ignore the arguments that glibc passes.
#[used]
#[unsafe(link_section = ".init_array")]
static RECORD_CLOSED: extern "C" fn() = record_closed;

/// Sets [`CLOSED`]. It runs before the standard library is set up and uses no part that needs it.
extern "C" fn record_closed() {
    for fd in 0..3 {
        // SAFETY: F_GETFD has no effect, and `fd` need not be an open descriptor.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        if flags == -1 && errno() == libc::EBADF {
            CLOSED.fetch_or(1 << fd, Ordering::Relaxed);
        }
    }
}

fn errno() -> c_int {
    // SAFETY: the function has no arguments and no preconditions.
    let location = unsafe { libc::__errno_location() };
    // SAFETY: the location belongs to this thread and lives as long as it.
    unsafe { *location }
}

/// Returns true if `fd` is 0, 1 or 2 and was closed when the process was started. The
/// start-up code of Rust has opened `/dev/null` in its place, so that writes to it would be
/// lost without an error.
pub fn was_closed_at_start(fd: RawFd) -> bool {
    (0..3).contains(&fd) && CLOSED.load(Ordering::Relaxed) & (1 << fd) != 0
}

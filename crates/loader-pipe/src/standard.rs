//! Which of the three standard descriptors the process was started without.
#![allow(unsafe_code, reason = "a look at them before Rust's start-up, which changes them")]

use std::ffi::c_int;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU8, Ordering};

/// Bit n is set where descriptor n was closed.
static CLOSED: AtomicU8 = AtomicU8::new(0);

// SAFETY: the section is a table of functions of the C calling convention, which the C library
// calls one after another before `main`. What glibc passes to them, `look` may leave unread.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

/// Uses nothing of Rust's standard library that has to be set up first.
extern "C" fn look() {
    for fd in 0..3 {
        // SAFETY: asks for the flags of a number, which need not be a descriptor.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        if flags == -1 && errno() == libc::EBADF {
            CLOSED.fetch_or(1 << fd, Ordering::Relaxed);
        }
    }
}

fn errno() -> c_int {
    // SAFETY: no arguments, no conditions.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: this thread's own number, which lives as long as the thread.
    unsafe { *place }
}

/// True where `fd`, 0, 1 or 2, was closed when the process was started. Rust's
/// start-up has opened the null device in its place since, and what is written
/// there is lost without an error.
pub fn was_closed(fd: RawFd) -> bool {
    (0..3).contains(&fd) && CLOSED.load(Ordering::Relaxed) & (1 << fd) != 0
}

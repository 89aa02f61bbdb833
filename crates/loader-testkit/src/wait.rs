//! Bounded waiting in tests.

use std::time::{Duration, Instant};

/// Long enough for a machine with other work; a test never ends because of it unless the
/// awaited state cannot come any more.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// Waits until `is_reached` returns true.
///
/// # Panics
/// If that takes longer than two minutes; the message contains `state`.
#[track_caller]
pub fn wait_until(state: &str, mut is_reached: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_reached() {
        assert!(start.elapsed() < LIMIT, "not reached after {} s: {state}", LIMIT.as_secs());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn returns_as_soon_as_the_state_is_reached() {
        let mut calls = 0;
        super::wait_until("three calls", || {
            calls += 1;
            calls == 3
        });
        assert_eq!(calls, 3);
    }
}

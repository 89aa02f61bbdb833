//! Detection of a clock that was not set.

use std::time::{Duration, SystemTime};

/// 2025-01-01T00:00:00Z, a time before this program was written.
const EARLIEST_VALID: Duration = Duration::from_secs(1_735_689_600);

/// Returns true if `now` is so early that the clock cannot have been set since the device
/// booted.
pub fn is_clock_unset(now: SystemTime) -> bool {
    now < SystemTime::UNIX_EPOCH + EARLIEST_VALID
}

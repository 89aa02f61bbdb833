//! When a clock cannot be right.

use std::time::{Duration, SystemTime};

/// 2025-01-01T00:00:00Z in seconds since 1970, before this program was written.
const UNSET_BEFORE: Duration = Duration::from_secs(1_735_689_600);

/// True where a clock that says `now` was not set since the device booted.
pub fn is_clock_unset(now: SystemTime) -> bool {
    now < SystemTime::UNIX_EPOCH + UNSET_BEFORE
}

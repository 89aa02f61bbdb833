//! The current time, the timestamps of events, and the days of logs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Last second that RFC 3339 can represent: the end of the year 9999.
const LATEST_SECONDS: u64 = 253_402_300_799;

/// Returns the current time, or that in `SOURCE_DATE_EPOCH` if it is set.
pub(crate) fn now() -> SystemTime {
    let fixed = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| seconds.parse::<u64>().ok());
    let seconds = match fixed {
        Some(seconds) => Duration::from_secs(seconds.min(LATEST_SECONDS)),
        None => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
    };
    UNIX_EPOCH + seconds.min(Duration::from_secs(LATEST_SECONDS))
}

/// Returns the seconds since 1970.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Returns `time` as RFC 3339 in UTC with milliseconds.
pub(crate) fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// Returns the milliseconds since 1970 of an RFC 3339 timestamp; `None` if it cannot be parsed.
pub(crate) fn millis(timestamp: &str) -> Option<u64> {
    let since = humantime::parse_rfc3339(timestamp).ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// Returns the day of `time` in UTC as `YYYYMMDD`.
pub(crate) fn day(time: SystemTime) -> String {
    let timestamp = humantime::format_rfc3339_seconds(time).to_string();
    timestamp.chars().filter(char::is_ascii_digit).take(8).collect()
}

/// Returns the seconds since 1970 at the start of a day `YYYYMMDD`; `None` if there is no such day.
pub(crate) fn day_start(day: &str) -> Option<u64> {
    if day.len() != 8 || !day.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (year, month, date) = (&day[..4], &day[4..6], &day[6..]);
    millis(&format!("{year}-{month}-{date}T00:00:00Z")).map(|millis| millis / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_timestamps() {
        let time = UNIX_EPOCH + Duration::from_secs(1_795_422_180);
        assert_eq!(timestamp(time), "2026-11-23T08:23:00.000Z");
        assert_eq!(day(time), "20261123");
        assert_eq!(day_start("20261123"), Some(1_795_422_180 / 86_400 * 86_400));
        for bad in ["2026112", "20261340", "2026112x", "20260230", ""] {
            assert_eq!(day_start(bad), None, "{bad}");
        }
    }

    #[test]
    fn invalid_timestamps_are_none() {
        for bad in ["", "now", "1969-12-31T23:59:59.000Z", "99999-01-01T00:00:00.000Z", "2026-11-23T08:23:00.123"] {
            assert_eq!(millis(bad), None, "{bad}");
        }
    }
}

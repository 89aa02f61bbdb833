//! Retries and the wait before each one.

use crate::Error;
use std::fmt;
use std::time::{Duration, SystemTime};

/// Retry policy for idempotent requests: capped exponential back-off with full jitter.
/// `Retry-After` is honoured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Maximum number of attempts without progress, including the first. 5 by default.
    pub attempts: u32,
    /// Maximum wait before the first retry; it doubles with each retry. 1.5 s by default: a server
    /// that is down costs about 11 s on average, 22 s at most.
    pub first_wait: Duration,
    /// Maximum wait before the first retry after progress, so that a transfer over an unreliable
    /// connection resumes quickly. 0.1 s by default.
    pub wait_after_progress: Duration,
    /// Maximum wait without `Retry-After`. 8 s by default.
    pub longest_wait: Duration,
    /// Maximum wait that the server may request. If it requests more, the request is
    /// not retried. 60 s by default.
    pub longest_retry_after: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 5,
            first_wait: Duration::from_millis(1500),
            wait_after_progress: Duration::from_millis(100),
            longest_wait: Duration::from_secs(8),
            longest_retry_after: Duration::from_secs(60),
        }
    }
}

impl Retry {
    /// Returns the wait after failure number `failures`, counted from 1. `random` is
    /// a uniform fraction in 0..=1: full jitter prevents a fleet from retrying at the
    /// same moment.
    fn wait(&self, failures: u32, asked: Option<Duration>, random: f64) -> Duration {
        let bound = self.first_wait.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(self.longest_wait);
        let jitter = bound.mul_f64(random.clamp(0.0, 1.0));
        asked.map_or(jitter, |asked| asked.max(jitter.min(self.first_wait)))
    }
}

/// Number of bytes without a failure that counts as progress. A connection that
/// always breaks earlier is treated as down.
const PROGRESS_MIN: u64 = 16 * 1024;

/// Notice that a request will be retried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryNotice {
    /// Number of the failed attempt, counted from 1 since the last progress.
    pub attempt: u32,
    /// Maximum number of attempts.
    pub attempts: u32,
    /// Wait before the next attempt.
    pub wait: Duration,
    /// Error of the attempt, one line.
    pub reason: String,
}

/// Callback that is called before each retry.
pub type Notify<'a> = &'a dyn Fn(&RetryNotice);

/// Counts the attempts of one request.
pub struct Attempts<'a> {
    policy: &'a Retry,
    notify: Notify<'a>,
    failures: u32,
    received: u64,
    /// True if there was progress since the last failure.
    has_progress: bool,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(policy: &'a Retry, notify: Notify<'a>) -> Self {
        Self { policy, notify, failures: 0, received: 0, has_progress: false }
    }

    /// Records the error of one attempt and waits until the next attempt may be made.
    ///
    /// # Errors
    /// `error` itself if a retry cannot help, [`Error::GaveUp`] after the last attempt.
    pub fn wait_for_retry(&mut self, error: Error) -> Result<(), Error> {
        if !error.is_transient() {
            return Err(error);
        }
        self.failures += 1;
        self.received = 0;
        let had_progress = std::mem::take(&mut self.has_progress);
        let asked = if let Error::Busy { retry_after, .. } = &error { *retry_after } else { None };
        let too_long = asked.is_some_and(|asked| asked > self.policy.longest_retry_after);
        if too_long || self.failures >= self.policy.attempts {
            return Err(match self.failures {
                1 => error,
                attempts => Error::GaveUp { attempts, last: Box::new(error) },
            });
        }
        let random = random_fraction();
        let wait = match asked {
            None if had_progress => self.policy.wait_after_progress.mul_f64(random),
            _ => self.policy.wait(self.failures, asked, random),
        };
        (self.notify)(&RetryNotice {
            attempt: self.failures,
            attempts: self.policy.attempts,
            wait,
            reason: error.to_string(),
        });
        std::thread::sleep(wait);
        Ok(())
    }

    /// Records `bytes` received. After 16 KiB without a failure the count of failures
    /// restarts.
    pub fn record_progress(&mut self, bytes: u64) {
        self.received = self.received.saturating_add(bytes);
        if self.received >= PROGRESS_MIN {
            self.failures = 0;
            self.has_progress = true;
        }
    }
}

impl fmt::Debug for Attempts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempts").field("failures", &self.failures).finish_non_exhaustive()
    }
}

fn random_fraction() -> f64 {
    // Without random numbers the longest wait is the safe choice.
    getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX))
}

/// Parses the value of `Retry-After`: seconds, or an HTTP date (RFC 9110 section 10.2.3).
pub(crate) fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap() {
        let policy = Retry::default();
        let longest: Vec<u64> = (1..=5).map(|n| policy.wait(n, None, 1.0).as_millis() as u64).collect();
        assert_eq!(longest, [1500, 3000, 6000, 8000, 8000]);
        assert_eq!(policy.wait(3, None, 0.0), Duration::ZERO);
        assert_eq!(policy.wait(u32::MAX, None, 1.0), policy.longest_wait);
    }

    #[test]
    fn only_16_kib_without_a_failure_reset_the_count() {
        let broken = || Error::Broken { host: "h".to_owned(), cause: "c".to_owned() };
        let policy = Retry { first_wait: Duration::ZERO, attempts: 3, ..Retry::default() };
        let mut attempts = Attempts::new(&policy, &|_| {});
        for _ in 0..10 {
            attempts.wait_for_retry(broken()).unwrap();
            attempts.record_progress(PROGRESS_MIN);
        }
        attempts.wait_for_retry(broken()).unwrap();
        attempts.record_progress(PROGRESS_MIN - 1);
        attempts.wait_for_retry(broken()).unwrap();
        attempts.record_progress(1);
        assert!(matches!(attempts.wait_for_retry(broken()), Err(Error::GaveUp { attempts: 3, .. })));
    }

    #[test]
    fn the_wait_after_progress_is_short() {
        let waits = std::cell::RefCell::new(Vec::new());
        let notify = |notice: &RetryNotice| waits.borrow_mut().push(notice.wait);
        let broken = || Error::Broken { host: "h".to_owned(), cause: "c".to_owned() };
        let policy = Retry {
            first_wait: Duration::ZERO,
            wait_after_progress: Duration::from_nanos(1 << 20),
            ..Retry::default()
        };
        let mut attempts = Attempts::new(&policy, &notify);
        for bytes in [0, PROGRESS_MIN, 0] {
            attempts.record_progress(bytes);
            attempts.wait_for_retry(broken()).unwrap();
        }
        let busy = Error::Busy { host: "h".to_owned(), status: 503, retry_after: Some(Duration::from_millis(2)) };
        attempts.record_progress(PROGRESS_MIN);
        attempts.wait_for_retry(busy).unwrap();
        let waits = waits.into_inner();
        assert!(waits[0].is_zero() && waits[1] <= policy.wait_after_progress, "{waits:?}");
        assert_eq!(waits[3], Duration::from_millis(2), "{waits:?}");
    }

    #[test]
    fn retry_after_is_honoured_or_there_is_no_retry() {
        let policy = Retry::default();
        assert_eq!(policy.wait(1, Some(Duration::from_secs(7)), 0.5), Duration::from_secs(7));
        let asked = |seconds| Error::Busy {
            host: "h".to_owned(),
            status: 429,
            retry_after: Some(Duration::from_secs(seconds)),
        };
        let waits = std::cell::Cell::new(0);
        let notify = |_: &RetryNotice| waits.set(waits.get() + 1);
        let refused = Attempts::new(&policy, &notify).wait_for_retry(asked(61)).unwrap_err();
        assert!(matches!(refused, Error::Busy { .. }) && refused.to_string().contains("61 s"), "{refused}");
        assert_eq!(waits.get(), 0);
    }

    #[test]
    fn retry_after_may_be_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(parse_retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:47 GMT", now), Some(Duration::from_secs(10)));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:40:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(parse_retry_after("9999999999", now), Some(Duration::from_secs(9_999_999_999)));
        assert_eq!(parse_retry_after("-5", now), None);
    }
}

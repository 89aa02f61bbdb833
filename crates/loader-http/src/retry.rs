//! When a request is repeated, and how long to wait before.

use crate::Error;
use std::fmt;
use std::time::{Duration, SystemTime};

/// The rule of repetition, for idempotent requests: capped exponential back-off
/// with full jitter, `Retry-After` honoured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Most attempts without progress in between, the first included. 5.
    pub attempts: u32,
    /// Upper bound of the first wait; it doubles from one to the next. 1.5 s: a
    /// server that is down costs some 11 s on average, 22 s at worst.
    pub first_wait: Duration,
    /// Upper bound of the first wait after bytes have come: a line that breaks now
    /// and then is taken up at once. 0.1 s.
    pub wait_after_progress: Duration,
    /// Upper bound of any wait that the server did not ask for. 8 s.
    pub longest_wait: Duration,
    /// Longest wait the server may ask for; where it asks for more, nothing is
    /// repeated. 60 s.
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
    /// The wait after failure number `failures`, counted from 1. `random` is a
    /// uniform fraction in 0..=1; full jitter keeps a fleet that lost its
    /// server from coming back in step.
    fn wait(&self, failures: u32, asked: Option<Duration>, random: f64) -> Duration {
        let bound = self.first_wait.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(self.longest_wait);
        let jitter = bound.mul_f64(random.clamp(0.0, 1.0));
        asked.map_or(jitter, |asked| asked.max(jitter.min(self.first_wait)))
    }
}

/// Bytes without a failure that count as progress. A line that passes less each
/// time it is opened is as good as down.
const PROGRESS_MIN: u64 = 16 * 1024;

/// Says that a request will be made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryNotice {
    /// The attempt that failed, counted from 1 since the last progress.
    pub attempt: u32,
    /// Most attempts that will be made.
    pub attempts: u32,
    /// How long the stage waits now.
    pub wait: Duration,
    /// How the attempt failed, one line.
    pub reason: String,
}

/// Is told before each repetition.
pub type Notify<'a> = &'a dyn Fn(&RetryNotice);

/// Counts the attempts of one request.
pub struct Attempts<'a> {
    rule: &'a Retry,
    notify: Notify<'a>,
    failures: u32,
    passed: u64,
    /// True where enough has passed since the last failure.
    moved: bool,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(rule: &'a Retry, notify: Notify<'a>) -> Self {
        Self { rule, notify, failures: 0, passed: 0, moved: false }
    }

    /// Takes the failure of one attempt. `Ok` after the wait, when another may
    /// be made.
    ///
    /// # Errors
    /// `error` itself where repetition does not help; [`Error::GaveUp`] where
    /// all attempts are used up.
    pub fn again(&mut self, error: Error) -> Result<(), Error> {
        if !error.is_passing() {
            return Err(error);
        }
        self.failures += 1;
        self.passed = 0;
        let moved = std::mem::take(&mut self.moved);
        let asked = if let Error::Busy { retry_after, .. } = &error { *retry_after } else { None };
        let too_long = asked.is_some_and(|asked| asked > self.rule.longest_retry_after);
        if too_long || self.failures >= self.rule.attempts {
            return Err(match self.failures {
                1 => error,
                attempts => Error::GaveUp { attempts, last: Box::new(error) },
            });
        }
        let random = random_fraction();
        let wait = match asked {
            None if moved => self.rule.wait_after_progress.mul_f64(random),
            _ => self.rule.wait(self.failures, asked, random),
        };
        (self.notify)(&RetryNotice {
            attempt: self.failures,
            attempts: self.rule.attempts,
            wait,
            reason: error.to_string(),
        });
        std::thread::sleep(wait);
        Ok(())
    }

    /// Takes note of `bytes` that came. Enough of them since the last failure,
    /// 16 KiB, and the failures so far are forgotten.
    pub fn progressed(&mut self, bytes: u64) {
        self.passed = self.passed.saturating_add(bytes);
        if self.passed >= PROGRESS_MIN {
            self.failures = 0;
            self.moved = true;
        }
    }
}

impl fmt::Debug for Attempts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempts").field("failures", &self.failures).finish_non_exhaustive()
    }
}

fn random_fraction() -> f64 {
    // Without entropy the longest wait is the safe one.
    getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX))
}

/// The value of `Retry-After`: seconds, or an HTTP date (RFC 9110 section 10.2.3).
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
        let rule = Retry::default();
        let longest: Vec<u64> = (1..=5).map(|n| rule.wait(n, None, 1.0).as_millis() as u64).collect();
        assert_eq!(longest, [1500, 3000, 6000, 8000, 8000]);
        assert_eq!(rule.wait(3, None, 0.0), Duration::ZERO);
        assert_eq!(rule.wait(u32::MAX, None, 1.0), rule.longest_wait);
    }

    #[test]
    fn only_real_progress_resets_the_count() {
        let broken = || Error::Broken { host: "h".to_owned(), cause: "c".to_owned() };
        let rule = Retry { first_wait: Duration::ZERO, attempts: 3, ..Retry::default() };
        let mut attempts = Attempts::new(&rule, &|_| {});
        for _ in 0..10 {
            attempts.again(broken()).unwrap();
            attempts.progressed(PROGRESS_MIN);
        }
        attempts.again(broken()).unwrap();
        attempts.progressed(PROGRESS_MIN - 1);
        attempts.again(broken()).unwrap();
        attempts.progressed(1);
        assert!(matches!(attempts.again(broken()), Err(Error::GaveUp { attempts: 3, .. })));
    }

    #[test]
    fn a_line_that_moved_is_taken_up_at_once() {
        let waits = std::cell::RefCell::new(Vec::new());
        let notify = |notice: &RetryNotice| waits.borrow_mut().push(notice.wait);
        let broken = || Error::Broken { host: "h".to_owned(), cause: "c".to_owned() };
        let rule = Retry {
            first_wait: Duration::ZERO,
            wait_after_progress: Duration::from_nanos(1 << 20),
            ..Retry::default()
        };
        let mut attempts = Attempts::new(&rule, &notify);
        for bytes in [0, PROGRESS_MIN, 0] {
            attempts.progressed(bytes);
            attempts.again(broken()).unwrap();
        }
        let busy = Error::Busy { host: "h".to_owned(), status: 503, retry_after: Some(Duration::from_millis(2)) };
        attempts.progressed(PROGRESS_MIN);
        attempts.again(busy).unwrap();
        let waits = waits.into_inner();
        assert!(waits[0].is_zero() && waits[1] <= rule.wait_after_progress, "{waits:?}");
        assert_eq!(waits[3], Duration::from_millis(2), "{waits:?}");
    }

    #[test]
    fn retry_after_is_honoured_or_nothing_is_asked_again() {
        let rule = Retry::default();
        assert_eq!(rule.wait(1, Some(Duration::from_secs(7)), 0.5), Duration::from_secs(7));
        let asked = |seconds| Error::Busy {
            host: "h".to_owned(),
            status: 429,
            retry_after: Some(Duration::from_secs(seconds)),
        };
        let waits = std::cell::Cell::new(0);
        let notify = |_: &RetryNotice| waits.set(waits.get() + 1);
        let refused = Attempts::new(&rule, &notify).again(asked(61)).unwrap_err();
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

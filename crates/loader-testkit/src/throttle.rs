//! Limit for failed logins per email address.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Maximum number of failed logins of one email address within [`WINDOW`].
pub(crate) const FAILURES_MAX: usize = 10;

/// Time for which a failed login is counted.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);

/// Maximum number of email addresses in memory.
const EMAILS_MAX: usize = 4096;

/// Times of failed logins by email address.
#[derive(Default)]
pub(crate) struct Throttle(HashMap<String, Vec<Instant>>);

impl Throttle {
    /// Returns the seconds until `email` may try again, or `None` if it may try now.
    pub(crate) fn wait_seconds(&mut self, email: &str, now: Instant) -> Option<u64> {
        let failures = self.0.get_mut(&email.to_ascii_lowercase())?;
        failures.retain(|then| now.duration_since(*then) < WINDOW);
        let oldest = failures.get(failures.len().checked_sub(FAILURES_MAX)?)?;
        Some((WINDOW - now.duration_since(*oldest)).as_secs() + 1)
    }

    /// Records a failed login.
    pub(crate) fn failed(&mut self, email: &str, now: Instant) {
        if self.0.len() >= EMAILS_MAX {
            self.0.retain(|_, failures| failures.last().is_some_and(|then| now.duration_since(*then) < WINDOW));
        }
        if self.0.len() < EMAILS_MAX {
            self.0.entry(email.to_ascii_lowercase()).or_default().push(now);
        }
    }

    /// Clears the failures of an email address after a successful login.
    pub(crate) fn succeeded(&mut self, email: &str) {
        self.0.remove(&email.to_ascii_lowercase());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eleventh_try_waits_until_the_oldest_failure_expires() {
        let mut throttle = Throttle::default();
        let start = Instant::now();
        for second in 0..10 {
            assert_eq!(throttle.wait_seconds("a@b", start), None);
            throttle.failed("A@b", start + Duration::from_secs(second));
        }
        let later = start + Duration::from_secs(20);
        assert_eq!(throttle.wait_seconds("a@b", later), Some(41));
        assert_eq!(throttle.wait_seconds("c@d", later), None);
        assert_eq!(throttle.wait_seconds("a@b", start + WINDOW), None);
        throttle.succeeded("a@b");
        assert_eq!(throttle.wait_seconds("a@b", later), None);
    }
}

//! Failed logins, counted for each email address.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Failed logins of one email that are let through in a [`WINDOW`].
pub(crate) const FAILURES_MAX: usize = 10;

/// How long a failed login counts.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);

/// Most email addresses that are remembered at a time.
const EMAILS_MAX: usize = 4096;

/// The times of the last failed logins.
#[derive(Default)]
pub(crate) struct Throttle(HashMap<String, Vec<Instant>>);

impl Throttle {
    /// Seconds until `email` may try again, or `None` where it may try now.
    pub(crate) fn wait_seconds(&mut self, email: &str, now: Instant) -> Option<u64> {
        let failures = self.0.get_mut(&email.to_ascii_lowercase())?;
        failures.retain(|then| now.duration_since(*then) < WINDOW);
        let oldest = failures.get(failures.len().checked_sub(FAILURES_MAX)?)?;
        Some((WINDOW - now.duration_since(*oldest)).as_secs() + 1)
    }

    /// Remembers a failed login.
    pub(crate) fn failed(&mut self, email: &str, now: Instant) {
        if self.0.len() >= EMAILS_MAX {
            self.0.retain(|_, failures| failures.last().is_some_and(|then| now.duration_since(*then) < WINDOW));
        }
        if self.0.len() < EMAILS_MAX {
            self.0.entry(email.to_ascii_lowercase()).or_default().push(now);
        }
    }

    /// Forgets the failures of an email that has logged in.
    pub(crate) fn succeeded(&mut self, email: &str) {
        self.0.remove(&email.to_ascii_lowercase());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eleventh_try_waits_for_the_oldest_to_pass() {
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

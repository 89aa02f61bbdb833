//! Whether a server is there at all, before any login.

use crate::{BaseUrl, Call, Error, Http, Notify};
use std::time::{Duration, SystemTime};
use ureq::http::Method;
use ureq::http::header::{AGE, DATE};

/// A server that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The status; a server that answers 404 is there too.
    pub status: u16,
    /// Between request and answer, connection and TLS included.
    pub took: Duration,
    /// The server's clock, where the answer does not come from a cache.
    date: Option<SystemTime>,
    /// This machine's clock when the answer was here.
    at: SystemTime,
}

impl Http {
    /// Asks for the head of what lies at `base` itself, without any secret.
    ///
    /// # Errors
    /// Those of [`Http::exchange`]; of the statuses only those that say that the
    /// server is not to be had now are errors: 408, 429, 502, 503, 504.
    pub fn reach(&self, base: &BaseUrl, notify: Notify<'_>) -> Result<Reached, Error> {
        let call = Call::new(Method::HEAD, base.join("/"));
        let mut attempts = self.attempts(notify);
        loop {
            let begun = std::time::Instant::now();
            let opened = self.open(&call).and_then(|response| match response.status {
                408 | 429 | 502..=504 => Err(response.busy()),
                _ => Ok(response),
            });
            match opened {
                Ok(response) => {
                    let date = response.headers.get(DATE).filter(|_| !response.headers.contains_key(AGE));
                    let date = date.and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
                    return Ok(Reached { status: response.status, took: begun.elapsed(), date, at: SystemTime::now() });
                }
                Err(error) => attempts.again(error)?,
            }
        }
    }
}

impl Reached {
    /// Seconds that the clock of this machine is ahead of the server's, less than
    /// zero where it is behind; `None` where the server does not tell the time.
    pub fn clock_ahead(&self) -> Option<i64> {
        let date = self.date?;
        // A date has whole seconds, and the answer was on its way for some time.
        let slack = Duration::from_secs(1) + self.took;
        let seconds = |off: Duration| i64::try_from(off.saturating_sub(slack).as_secs_f64().ceil() as u64).ok();
        match self.at.duration_since(date) {
            Ok(ahead) => seconds(ahead),
            Err(behind) => seconds(behind.duration()).map(|seconds| -seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_right_within_what_a_date_can_tell() {
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let ahead =
            |at| Reached { status: 404, took: Duration::from_millis(500), date: Some(date), at }.clock_ahead().unwrap();
        assert_eq!((ahead(date), ahead(date + Duration::from_millis(1400))), (0, 0));
        assert_eq!((ahead(date + Duration::from_secs(3600)), ahead(date - Duration::from_secs(3600))), (3599, -3599));
    }
}

//! Checks whether a server is reachable, without a login.

use crate::{BaseUrl, Error, Http, HttpRequest, Notify};
use std::time::{Duration, SystemTime};
use ureq::http::Method;
use ureq::http::header::{AGE, DATE};

/// Response of a server that is reachable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeResult {
    /// Status code. Any status, even 404, means that the server is reachable.
    pub status: u16,
    /// Time from the request to the response, including connection and TLS.
    pub took: Duration,
    /// Time of the server, if the response does not come from a cache.
    date: Option<SystemTime>,
    /// Time of this machine when the response arrived.
    at: SystemTime,
}

impl Http {
    /// Sends a HEAD request for `base`, without any secret.
    ///
    /// # Errors
    /// Those of [`Http::exchange`]. The only statuses that are errors are 408, 429,
    /// 502, 503 and 504: the server is unavailable.
    pub fn probe(&self, base: &BaseUrl, notify: Notify<'_>) -> Result<ProbeResult, Error> {
        let request = HttpRequest::new(Method::HEAD, base.join("/"));
        let mut attempts = self.attempts(notify);
        loop {
            let start = std::time::Instant::now();
            let opened = self.open(&request).and_then(|response| match response.status {
                408 | 429 | 502..=504 => Err(response.into_busy()),
                _ => Ok(response),
            });
            match opened {
                Ok(response) => {
                    let date = response.headers.get(DATE).filter(|_| !response.headers.contains_key(AGE));
                    let date = date.and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
                    return Ok(ProbeResult {
                        status: response.status,
                        took: start.elapsed(),
                        date,
                        at: SystemTime::now(),
                    });
                }
                Err(error) => attempts.wait_for_retry(error)?,
            }
        }
    }
}

impl ProbeResult {
    /// Returns how many seconds the clock of this machine is ahead of the server's
    /// clock, negative if it is behind; `None` if the server sends no time.
    pub fn clock_ahead(&self) -> Option<i64> {
        let date = self.date?;
        // A date has a resolution of one second, and the response took some time to arrive.
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
    fn a_clock_difference_within_the_resolution_of_a_date_is_zero() {
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let ahead = |at| {
            ProbeResult { status: 404, took: Duration::from_millis(500), date: Some(date), at }.clock_ahead().unwrap()
        };
        assert_eq!((ahead(date), ahead(date + Duration::from_millis(1400))), (0, 0));
        assert_eq!((ahead(date + Duration::from_secs(3600)), ahead(date - Duration::from_secs(3600))), (3599, -3599));
    }
}

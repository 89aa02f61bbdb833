//! The clock: compared with the release date of the program, and with the servers.

use crate::cli::CheckName;
use crate::context::Context;
use crate::finding::Finding;
use loader_api::jwt::LEEWAY;
use loader_model::is_clock_unset;
use loader_stage::{ErrorCode, Failure};
use std::time::SystemTime;

/// Maximum difference of the clocks that an S3 server accepts, in seconds.
const SKEW_MAX: u64 = 15 * 60;

const SET_CLOCK: &str =
    "set the clock, for example with timedatectl set-ntp true; a device without a battery loses the time";

pub(crate) fn check(context: &Context<'_>) -> Result<Finding, Failure> {
    let now = SystemTime::now();
    check_set(now)?;
    let mut differences = Vec::new();
    // An unreachable server is reported by its own check.
    let mut compare_with = |name: CheckName, reached: &dyn Fn() -> Option<i64>| {
        let ahead = if context.cli.skip.contains(&name) { None } else { reached() };
        differences.extend(ahead.map(|ahead| ClockDifference { server: name, ahead }));
    };
    compare_with(CheckName::Api, &|| context.api_reached().ok().flatten()?.clock_ahead());
    compare_with(CheckName::Cdn, &|| context.cdn_reached().ok().flatten()?.clock_ahead());
    evaluate(now, &differences)
}

fn check_set(now: SystemTime) -> Result<(), Failure> {
    if !is_clock_unset(now) {
        return Ok(());
    }
    let text = format_args!("the clock is at {}, before the release of this program", rfc3339(now));
    Err(Failure::new(ErrorCode::Clock, text).hint(SET_CLOCK.to_owned()))
}

/// Difference between the clocks of this machine and of a server.
struct ClockDifference {
    /// The check that reached the server.
    server: CheckName,
    /// Seconds by which this clock is ahead.
    ahead: i64,
}

/// Evaluates the difference to each server.
fn evaluate(now: SystemTime, differences: &[ClockDifference]) -> Result<Finding, Failure> {
    let worst = differences.iter().max_by_key(|difference| difference.ahead.unsigned_abs());
    let Some(ClockDifference { server, ahead }) = worst else {
        return Ok(Finding::ok(format_args!("{}, not compared with any server", rfc3339(now))));
    };
    let off = ahead.unsigned_abs();
    let text = format!("{off} s {} the {server}", if *ahead < 0 { "behind" } else { "ahead of" });
    let finding = match off {
        0 => Finding::ok(format_args!("{}, same as the {server}", rfc3339(now))),
        off if off <= LEEWAY.as_secs() => Finding::ok(text),
        off if off <= SKEW_MAX => Finding::warn(format_args!("the clock is {text}"), SET_CLOCK),
        _ => return Err(Failure::new(ErrorCode::Clock, format_args!("the clock is {text}")).hint(SET_CLOCK.to_owned())),
    };
    Ok(finding.with("seconds_ahead", *ahead))
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_clock_that_was_never_set_fails_without_a_server() {
        let failure = check_set(SystemTime::UNIX_EPOCH + Duration::from_secs(1000)).unwrap_err();
        assert_eq!(failure.code(), ErrorCode::Clock);
        assert!(failure.to_string().contains("1970-01-01T00:16:40Z"), "{failure}");
        assert!(check_set(SystemTime::now()).is_ok());
    }
}

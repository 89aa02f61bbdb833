//! The clock: against the age of the program, and against the servers.

use crate::cli::Name;
use crate::finding::Finding;
use crate::visit::Visit;
use loader_api::jwt::LEEWAY;
use loader_model::is_clock_unset;
use loader_stage::{ErrorCode, Failure};
use std::time::SystemTime;

/// Seconds that a store of S3 accepts between the clocks.
const SKEW_MAX: u64 = 15 * 60;

const SET: &str = "set the clock: timedatectl set-ntp true, or give the machine a battery for it";

pub(crate) fn check(visit: &Visit<'_>) -> Result<Finding, Failure> {
    let now = SystemTime::now();
    check_set(now)?;
    let mut asked = Vec::new();
    // Servers that cannot be reached are told of by their own checks.
    let mut ask = |name: Name, reached: &dyn Fn() -> Option<i64>| {
        let ahead = if visit.cli.skip.contains(&name) { None } else { reached() };
        asked.extend(ahead.map(|ahead| (name.to_text(), ahead)));
    };
    ask(Name::Api, &|| visit.api().ok().flatten()?.clock_ahead());
    ask(Name::Cdn, &|| visit.cdn_reached().ok().flatten()?.clock_ahead());
    judge(now, &asked)
}

fn check_set(now: SystemTime) -> Result<(), Failure> {
    if !is_clock_unset(now) {
        return Ok(());
    }
    let what = format_args!("the clock says {}, which is before this program was written", shown(now));
    Err(Failure::new(ErrorCode::Clock, what).hint(SET.to_owned()))
}

/// `asked`: a server, and by how many seconds the clock is ahead of its.
fn judge(now: SystemTime, asked: &[(String, i64)]) -> Result<Finding, Failure> {
    let worst = asked.iter().max_by_key(|(_, ahead)| ahead.unsigned_abs());
    let Some((server, ahead)) = worst else {
        return Ok(Finding::ok(format_args!("{}; no server told the time to compare with", shown(now))));
    };
    let off = ahead.unsigned_abs();
    let what = format!("{off} s {} the {server}", if *ahead < 0 { "behind" } else { "ahead of" });
    let finding = match off {
        0 => Finding::ok(format_args!("{}, as the {server} has it", shown(now))),
        off if off <= LEEWAY.as_secs() => Finding::ok(what),
        off if off <= SKEW_MAX => Finding::warn(format_args!("the clock is {what}"), SET),
        _ => return Err(Failure::new(ErrorCode::Clock, format_args!("the clock is {what}")).hint(SET.to_owned())),
    };
    Ok(finding.with("seconds_ahead", *ahead))
}

fn shown(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_clock_that_was_never_set_fails_without_any_server() {
        let failure = check_set(SystemTime::UNIX_EPOCH + Duration::from_secs(1000)).unwrap_err();
        assert_eq!(failure.code(), ErrorCode::Clock);
        assert!(failure.to_string().contains("1970-01-01T00:16:40Z"), "{failure}");
        assert!(check_set(SystemTime::now()).is_ok());
    }
}

//! API and CDN: there, and with keys and credentials that they take.

use crate::cli::Name;
use crate::finding::Finding;
use crate::visit::{Cdn, Visit};
use loader_cdn::{Ask, Error, Range};
use loader_http::ProbeResult;
use loader_model::ResourceName;
use loader_session::cdn_failure;
use loader_stage::{ErrorCode, Failure};

const NO_API: (&str, &str) = ("no API named", "--api-url, AZ_API_URL, or api_url in config.yaml");

/// An object that nobody publishes: asking for it shows whether the keys count.
const PROBE: &str = "az-doctor/probe";

pub(crate) fn api(visit: &Visit<'_>) -> Result<Finding, Failure> {
    let (Some(reached), Some(client)) = (visit.api()?, visit.client()?) else {
        return Ok(Finding::skipped(NO_API.0, NO_API.1));
    };
    Ok(answered(&client.host(), reached))
}

fn answered(host: &str, reached: &ProbeResult) -> Finding {
    let took_ms = u64::try_from(reached.took.as_millis()).unwrap_or(u64::MAX);
    let finding = match reached.status {
        300..=399 => Finding::warn(
            format_args!("{host}: redirects (HTTP {})", reached.status),
            "is it the right URL, or a portal that wants a login first?",
        ),
        // A store need not know HEAD of nothing in particular.
        500..=599 if reached.status != 501 => {
            Finding::warn(format_args!("{host}: answers, with HTTP {}", reached.status), "look at the server's own log")
        }
        _ => Finding::ok(format_args!("{host}: answers")),
    };
    finding.with("status", reached.status).with("took_ms", took_ms)
}

pub(crate) fn login(visit: &Visit<'_>) -> Result<Finding, Failure> {
    // Nobody is asked for a login where nobody answers.
    match visit.after(Name::Api, visit.api())? {
        Ok(Some(_)) => {}
        Ok(None) => return Ok(Finding::skipped(NO_API.0, NO_API.1)),
        Err(skipped) => return Ok(skipped),
    }
    match visit.after(Name::Credentials, visit.credentials())? {
        Ok(Some(_)) => {}
        Ok(None) => return Ok(Finding::skipped("nobody to log in as", "--credentials-file or AZ_CREDENTIALS_FILE")),
        Err(skipped) => return Ok(skipped),
    }
    let token = visit.token()?.ok_or_else(|| Failure::new(ErrorCode::Bug, "no token"))?;
    let role = token.role();
    Ok(match role.rank() {
        0 => Finding::warn(
            format_args!("logged in, with the role {role}, which may read nothing"),
            "ask an administrator for a role",
        ),
        _ => Finding::ok(format_args!("logged in, role {role}")),
    })
}

pub(crate) fn cdn(visit: &Visit<'_>) -> Result<Finding, Failure> {
    let (Some(reached), Some(cdn)) = (visit.cdn_reached()?, visit.cdn()?) else {
        return Ok(Finding::skipped("no CDN credentials named", "--cdn-file, which az-cdn-creds writes"));
    };
    let host = cdn.store.host();
    if let Some(name) = &visit.cli.resource {
        let meta = cdn.store.head(name, visit.notify).map_err(|error| cdn_failure(&error))?;
        let what = format_args!("{host}: {} is there", name.big_key());
        return Ok(Finding::ok(what).with("size", meta.size));
    }
    if cdn.credentials.bucket.is_none() {
        let what = format_args!("{host}: answers; the credentials name no bucket to try the keys on");
        return Ok(Finding::warn(what, "--resource NAME names something to look for"));
    }
    let found = try_keys(cdn, &host)?;
    Ok(found.unwrap_or_else(|| answered(&format!("{host}, which takes the keys"), reached)))
}

/// Asks for the first byte of something that is not there, signed. `None` where
/// the store takes the keys.
fn try_keys(cdn: &Cdn, host: &str) -> Result<Option<Finding>, Failure> {
    let name: ResourceName = PROBE.parse().map_err(|_| Failure::new(ErrorCode::Bug, "the name of the probe"))?;
    let ask = Ask { range: Some(Range { start: 0, end: Some(1) }), ..Ask::default() };
    match cdn.store.ask(&name, &ask) {
        Ok(_) => Ok(None),
        Err(Error::NotFound { code, .. }) if code != "NoSuchBucket" => Ok(None),
        Err(Error::Forbidden { code, .. }) if code == "AccessDenied" => Ok(Some(Finding::warn(
            format_args!("{host}: answers, and does not tell these keys what is not there (AccessDenied)"),
            "--resource NAME names something to look for",
        ))),
        Err(error) => Err(cdn_failure(&error)),
    }
}

//! Checks that the API and the CDN respond and accept the credentials.

use crate::cli::CheckName;
use crate::context::{CdnAccess, Context};
use crate::finding::Finding;
use loader_cdn::{ByteRange, Error, GetRequest};
use loader_http::ProbeResult;
use loader_model::ResourceName;
use loader_stage::{ErrorCode, Failure, OrFail};

fn no_api() -> Finding {
    Finding::skipped("no API given", "pass --api-url, or set AZ_API_URL, or api_url in config.yaml")
}

/// An object that does not exist: a request for it shows whether the CDN accepts the keys.
const PROBE: &str = "az-doctor/probe";

pub(crate) fn api(context: &Context<'_>) -> Result<Finding, Failure> {
    let (Some(reached), Some(client)) = (context.api_reached()?, context.client()?) else {
        return Ok(no_api());
    };
    Ok(response_finding(&client.host(), reached, "responds"))
}

/// Returns the finding for a response. `good` is the message of a passed check, after the host.
fn response_finding(host: &str, reached: &ProbeResult, good: &str) -> Finding {
    let took_ms = u64::try_from(reached.took.as_millis()).unwrap_or(u64::MAX);
    let finding = match reached.status {
        300..=399 => Finding::warn(
            format_args!("{host}: redirects (HTTP {})", reached.status),
            "check the URL; a captive portal that needs a login redirects too",
        ),
        // 501: an S3 server need not support HEAD for its root.
        500..=599 if reached.status != 501 => {
            Finding::warn(format_args!("{host}: responds with HTTP {}", reached.status), "see the log of the server")
        }
        _ => Finding::ok(format_args!("{host}: {good}")),
    };
    finding.with("status", reached.status).with("took_ms", took_ms)
}

pub(crate) fn login(context: &Context<'_>) -> Result<Finding, Failure> {
    // Without a connection there is nothing to log in to.
    match context.require(CheckName::Api, context.api_reached())? {
        Ok(Some(_)) => {}
        Ok(None) => return Ok(no_api()),
        Err(skipped) => return Ok(skipped),
    }
    match context.require(CheckName::Credentials, context.credentials())? {
        Ok(Some(_)) => {}
        Ok(None) => {
            return Ok(Finding::skipped(
                "no credentials to log in with",
                "pass --credentials-file, or set AZ_CREDENTIALS_FILE",
            ));
        }
        Err(skipped) => return Ok(skipped),
    }
    let token = context.token()?.ok_or_else(|| Failure::new(ErrorCode::Bug, "no token"))?;
    let role = token.role();
    Ok(match role.rank() {
        0 => Finding::warn(
            format_args!("logged in, but role {role} has no read access"),
            "ask an administrator for a role",
        ),
        _ => Finding::ok(format_args!("logged in with role {role}")),
    })
}

pub(crate) fn cdn(context: &Context<'_>) -> Result<Finding, Failure> {
    let (Some(reached), Some(cdn)) = (context.cdn_reached()?, context.cdn()?) else {
        return Ok(Finding::skipped("no CDN credentials given", "pass the output of az-cdn-creds with --cdn-file"));
    };
    let host = cdn.store.host();
    if let Some(name) = &context.cli.resource {
        let meta = cdn.store.head(name, context.notify).or_fail()?;
        let text = format_args!("{host}: {} exists", name.big_key());
        return Ok(meta.size.into_iter().fold(Finding::ok(text), |finding, size| finding.with("size", size)));
    }
    if cdn.credentials.bucket.is_none() {
        let text = format_args!("{host}: responds; the keys were not tried, since the credentials name no bucket");
        return Ok(Finding::warn(text, "pass the name of a published resource with --resource"));
    }
    let found = try_keys(cdn, &host)?;
    Ok(found.unwrap_or_else(|| response_finding(&host, reached, "responds, and accepts the keys")))
}

/// Sends a signed request for an object that does not exist. Returns `None` if the CDN accepts
/// the keys, a warning if the response does not show it.
fn try_keys(cdn: &CdnAccess, host: &str) -> Result<Option<Finding>, Failure> {
    let name: ResourceName = PROBE.parse().map_err(|_| Failure::new(ErrorCode::Bug, "invalid name of the probe"))?;
    let ask = GetRequest { range: Some(ByteRange { start: 0, end: Some(1) }), ..GetRequest::default() };
    match cdn.store.get_range(&name, &ask) {
        Ok(_) => Ok(None),
        Err(Error::NotFound { code, .. }) if code != "NoSuchBucket" => Ok(None),
        Err(Error::Forbidden { code, .. }) if code == "AccessDenied" => Ok(Some(Finding::warn(
            format_args!("{host}: responds, but does not show whether it accepts the keys (AccessDenied)"),
            "pass the name of a published resource with --resource",
        ))),
        Err(error) => Err(Failure::of(&error)),
    }
}

//! The cache of az-fetch.

use super::folder::writable;
use crate::cli::Name;
use crate::finding::Finding;
use crate::visit::Visit;
use loader_api::{RESOURCE_MAX, Token};
use loader_cdn::{Cache, CacheError, Expected, Survey};
use loader_model::{PartsReceipt, ResourceName};
use loader_session::{DeviceIdentity, seal_kind};
use loader_stage::{ErrorCode, Failure};
use std::path::Path;

const NONE: (&str, &str) = ("no cache named", "--cache-dir or AZ_CACHE_DIR");

/// Names that a message lists before it only counts them.
const LISTED: usize = 3;

/// Free bytes below which the next fetch may not fit.
const FREE_MIN: u64 = 64 << 20;

pub(crate) fn cache(visit: &Visit<'_>) -> Result<Finding, Failure> {
    let Some(dir) = &visit.cli.cache_dir else { return Ok(Finding::skipped(NONE.0, NONE.1)) };
    let free = writable(dir)?.free;
    let place = dir.display();
    let Some(survey) = Survey::of(dir).map_err(|error| failure(&error))? else {
        return Ok(Finding::ok(format_args!("{place}: not there, can be made")).with("free", free));
    };
    let (entries, bytes) = (survey.entries.len(), survey.bytes);
    let mut odd = Vec::new();
    let kinds = [
        (
            &survey.damaged,
            "found damaged and moved aside",
            "the next az-fetch of the same name that ends well removes it",
        ),
        (&survey.unfinished, "unfinished", "the next az-fetch of the same name goes on with it"),
        (&survey.foreign, "not of az-fetch", "remove what does not belong there"),
    ];
    for (names, what, _) in kinds.iter().filter(|(names, ..)| !names.is_empty()) {
        odd.push(format!("{what}: {}", listed(names)));
    }
    let hint = kinds.iter().find(|(names, ..)| !names.is_empty()).map(|(.., hint)| *hint);
    let finding = match hint {
        Some(hint) => Finding::warn(format_args!("{place}: {}", odd.join("; ")), hint),
        None if free < FREE_MIN => {
            Finding::warn(format_args!("{place}: {free} bytes free"), "make room for the next release")
        }
        None => Finding::ok(format_args!("{place}: {entries} entries, {bytes} bytes")),
    };
    Ok(finding.with("entries", entries).with("bytes", bytes).with("free", free))
}

fn listed(names: &[String]) -> String {
    let rest = names.len().saturating_sub(LISTED);
    let names = names[..names.len() - rest].join(", ");
    if rest == 0 { names } else { format!("{names} and {rest} more") }
}

/// Compares each entry with the digest in the small part that is kept beside it,
/// sealed to user and device.
pub(crate) fn entries(visit: &Visit<'_>) -> Result<Finding, Failure> {
    let Some(dir) = &visit.cli.cache_dir else { return Ok(Finding::skipped(NONE.0, NONE.1)) };
    let survey = match visit.after(Name::Cache, Survey::of(dir).map_err(|error| failure(&error)))? {
        Ok(survey) => survey.unwrap_or_default(),
        Err(skipped) => return Ok(skipped),
    };
    if survey.entries.is_empty() {
        return Ok(Finding::ok("no entry to compare with its digest"));
    }
    let token = match visit.after(Name::Login, visit.token())? {
        Ok(token) => token,
        Err(skipped) => return Ok(skipped),
    };
    let (Some(token), Some(credentials)) = (token, visit.credentials()?) else {
        return Ok(Finding::skipped(
            "the digests are sealed to user and device",
            "name API and credentials to log in with",
        ));
    };
    let hardware = match visit.after(Name::Hardware, visit.hardware())? {
        Ok(hardware) => hardware,
        Err(skipped) => return Ok(skipped),
    };
    let device = DeviceIdentity::new(credentials.clone(), hardware, visit.device_secret()?.cloned());
    let judged = judge(dir, &survey.entries, token, &device)?;
    if !judged.damaged.is_empty() {
        let what = format_args!("{}: other bytes than published: {}", dir.display(), listed(&judged.damaged));
        return Err(Failure::new(ErrorCode::DigestMismatch, what)
            .hint("the next az-fetch of it moves it aside and fetches it again".to_owned()));
    }
    let finding = match judged.untold.is_empty() {
        true => Finding::ok(format_args!("{} entries, each with its digest", judged.good)),
        false => Finding::warn(
            format_args!(
                "{} entries with their digest; no digest that opens here: {}",
                judged.good,
                listed(&judged.untold)
            ),
            "fetched by another user or device, or without a small part; az-fetch checks them again",
        ),
    };
    Ok(finding.with("good", judged.good).with("untold", judged.untold.len()))
}

#[derive(Default)]
struct Judged {
    good: usize,
    damaged: Vec<String>,
    /// Those of which no digest is known here.
    untold: Vec<String>,
}

fn judge(dir: &Path, entries: &[ResourceName], token: &Token, device: &DeviceIdentity) -> Result<Judged, Failure> {
    let cache = Cache::open(dir).map_err(|error| failure(&error))?;
    let mut judged = Judged::default();
    for name in entries {
        let sealed = cache.small(name, RESOURCE_MAX).map_err(|error| failure(&error))?;
        let opened = sealed.and_then(|sealed| device.open(&token.user(), seal_kind(name), &sealed, name.as_str()).ok());
        let receipt = opened.and_then(|opened| Some(PartsReceipt::split_prefix(&opened)?.ok()?.0));
        match receipt.map(|receipt| cache.entry(name, &Expected::from(&receipt.big))) {
            None => judged.untold.push(name.to_string()),
            Some(Ok(Some(_))) => judged.good += 1,
            Some(Ok(None)) => judged.damaged.push(name.to_string()),
            Some(Err(error)) => return Err(failure(&error)),
        }
    }
    Ok(judged)
}

fn failure(error: &CacheError) -> Failure {
    Failure::new(error.code(), error)
}

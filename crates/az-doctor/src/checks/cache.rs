//! The cache of az-fetch.

use super::dirs::check_writable;
use crate::cli::CheckName;
use crate::context::Context;
use crate::finding::Finding;
use loader_api::{RESOURCE_MAX, Token};
use loader_cdn::{Cache, CacheScan, ExpectedPart};
use loader_model::{PartsReceipt, ResourceName};
use loader_session::{DeviceIdentity, seal_kind};
use loader_stage::{ErrorCode, Failure, OrFail};
use std::path::Path;

fn no_cache() -> Finding {
    Finding::skipped("no cache given", "pass --cache-dir, or set AZ_CACHE_DIR")
}

/// Number of names that a message lists; more are only counted.
const LISTED: usize = 3;

/// Free space in bytes below which the next download may not fit.
const FREE_MIN: u64 = 64 << 20;

pub(crate) fn cache(context: &Context<'_>) -> Result<Finding, Failure> {
    let Some(dir) = &context.cli.cache_dir else { return Ok(no_cache()) };
    let free = check_writable(dir)?.free;
    let path = dir.display();
    let Some(survey) = CacheScan::read(dir).or_fail()? else {
        return Ok(Finding::ok(format_args!("{path}: does not exist, can be created")).with("free", free));
    };
    let (entries, bytes) = (survey.entries.len(), survey.bytes);
    let problems = [
        CacheProblem {
            names: &survey.damaged,
            text: "found damaged and moved aside",
            hint: "the next successful az-fetch of the same name removes it",
        },
        CacheProblem {
            names: &survey.unfinished,
            text: "unfinished",
            hint: "the next az-fetch of the same name resumes it",
        },
        CacheProblem {
            names: &survey.foreign,
            text: "not files of az-fetch",
            hint: "remove the files that do not belong there",
        },
    ];
    let found: Vec<_> = problems.iter().filter(|problem| !problem.names.is_empty()).collect();
    let finding = match found.first() {
        Some(first) => {
            let texts: Vec<_> =
                found.iter().map(|problem| format!("{}: {}", problem.text, listed(problem.names))).collect();
            Finding::warn(format_args!("{path}: {}", texts.join("; ")), first.hint)
        }
        None if free < FREE_MIN => {
            Finding::warn(format_args!("{path}: {free} bytes free"), "free some space for the next release")
        }
        None => Finding::ok(format_args!("{path}: {entries} entries, {bytes} bytes")),
    };
    Ok(finding.with("entries", entries).with("bytes", bytes).with("free", free))
}

/// Files of one kind that do not belong in a clean cache.
struct CacheProblem<'a> {
    names: &'a [String],
    text: &'static str,
    hint: &'static str,
}

/// Returns the first names, and the number of the other ones.
fn listed(names: &[String]) -> String {
    let rest = names.len().saturating_sub(LISTED);
    let names = names[..names.len() - rest].join(", ");
    if rest == 0 { names } else { format!("{names} and {rest} more") }
}

/// Compares each entry with the digest in its small part, which is stored with the entry and sealed
/// to user and device.
pub(crate) fn entries(context: &Context<'_>) -> Result<Finding, Failure> {
    let Some(dir) = &context.cli.cache_dir else { return Ok(no_cache()) };
    let survey = match context.require(CheckName::Cache, CacheScan::read(dir).or_fail())? {
        Ok(survey) => survey.unwrap_or_default(),
        Err(skipped) => return Ok(skipped),
    };
    if survey.entries.is_empty() {
        return Ok(Finding::ok("the cache has no entries"));
    }
    let token = match context.require(CheckName::Login, context.token())? {
        Ok(token) => token,
        Err(skipped) => return Ok(skipped),
    };
    let (Some(token), Some(credentials)) = (token, context.credentials()?) else {
        return Ok(Finding::skipped(
            "the digests are sealed to the user, and no login is possible",
            "pass --api-url and --credentials-file",
        ));
    };
    let hardware = match context.require(CheckName::Hardware, context.hardware())? {
        Ok(hardware) => hardware,
        Err(skipped) => return Ok(skipped),
    };
    let device = DeviceIdentity::new(credentials.clone(), hardware, context.device_secret()?.cloned());
    let audit = audit(dir, &survey.entries, token, &device)?;
    if !audit.damaged.is_empty() {
        let text =
            format_args!("{}: content differs from the published one: {}", dir.display(), listed(&audit.damaged));
        return Err(Failure::new(ErrorCode::DigestMismatch, text)
            .hint("the next az-fetch of the same name moves it aside and downloads it again".to_owned()));
    }
    let finding = if audit.unknown.is_empty() {
        Finding::ok(format_args!("{} entries match their digests", audit.good))
    } else {
        Finding::warn(
            format_args!("{} entries match their digests; digest not readable: {}", audit.good, listed(&audit.unknown)),
            "downloaded by another user or device, or without a small part; az-fetch verifies them before use",
        )
    };
    Ok(finding.with("good", audit.good).with("untold", audit.unknown.len()))
}

/// Result of comparing the entries with their digests.
#[derive(Default)]
struct EntryAudit {
    good: usize,
    damaged: Vec<String>,
    /// Entries whose digest cannot be read by this user on this device.
    unknown: Vec<String>,
}

fn audit(dir: &Path, entries: &[ResourceName], token: &Token, device: &DeviceIdentity) -> Result<EntryAudit, Failure> {
    let cache = Cache::open(dir).or_fail()?;
    let mut audit = EntryAudit::default();
    for name in entries {
        let sealed = cache.small_part(name, RESOURCE_MAX).or_fail()?;
        let opened = sealed.and_then(|sealed| device.open(&token.user(), seal_kind(name), &sealed, name.as_str()).ok());
        let receipt = opened.and_then(|opened| Some(PartsReceipt::split_prefix(&opened)?.ok()?.0));
        match receipt.map(|receipt| cache.intact_entry(name, &ExpectedPart::from(&receipt.big))) {
            None => audit.unknown.push(name.to_string()),
            Some(Ok(Some(_))) => audit.good += 1,
            Some(Ok(None)) => audit.damaged.push(name.to_string()),
            Some(Err(error)) => return Err(Failure::of(&error)),
        }
    }
    Ok(audit)
}

//! Checks the keys of the publishers, the records of unlocked releases, and the signature of
//! the archive.

use crate::cli::CheckName;
use crate::context::Context;
use crate::finding::Finding;
use loader_release::ReleaseFile;
use loader_stage::{Failure, OrFail};

pub(crate) fn check(context: &Context<'_>) -> Result<Finding, Failure> {
    let policy = context.cli.policy.read(context.stage)?;
    let keys: Vec<_> = policy.publisher_keys().iter().map(ToString::to_string).collect();
    if keys.is_empty() {
        return Ok(Finding::skipped(
            "no publisher key given: anyone with the sealing key can make an archive that this device accepts",
            "pass --publisher-key-file, or set publisher_key_file in config.yaml",
        ));
    }
    let (count, required) = (keys.len(), policy.required_signatures());
    let configured = format!("requires {required} signatures of {count} configured keys");
    let with_keys = |finding: Finding| finding.with("publisher_keys", keys.clone());
    let archive = context.require(CheckName::Archive, context.archive())?.unwrap_or_default();
    let Some(archive) = archive else { return Ok(with_keys(Finding::ok(&configured))) };
    // Only compared: the key that verifies the header may not be here.
    let name = archive.header.unverified_metadata().or_fail_at(&archive.name)?.description.name;
    let newest = match policy.records() {
        Some(records) => records.newest(name.as_deref().unwrap_or_default())?,
        None => None,
    };
    let with_details =
        |finding| newest.into_iter().fold(with_keys(finding), |f: Finding, n| f.with("newest_release", n));
    let key = context.require(CheckName::Key, context.key())?.unwrap_or_default();
    let (Some(key), Some(path)) = (key, &context.cli.archive) else {
        let finding = Finding::ok(format_args!("{configured}; use --key-file to verify the archive"));
        return Ok(with_details(finding));
    };
    let mut input = context.stage.input(path)?;
    let file = ReleaseFile::unlock(&mut input, std::slice::from_ref(key), None)?;
    let accepted = file.check(&policy).map_err(|error| error.into_failure(&archive.name, &archive.name, None))?;
    let finding = match accepted.is_signed() {
        true => {
            Finding::ok(format_args!("{} of {count} publisher keys have signed the archive", accepted.signers.len()))
        }
        false => {
            Finding::warn("nobody has signed the archive, which --allow-unsigned allows", "sign it with az-encrypt")
        }
    };
    Ok(with_details(finding))
}

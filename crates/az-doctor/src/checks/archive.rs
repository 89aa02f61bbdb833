//! Checks that the sealed archive is complete, and that the key or fragment belongs to it.

use crate::cli::CheckName;
use crate::context::Context;
use crate::finding::Finding;
use loader_seal::KeyId;
use loader_stage::{ErrorCode, Failure, OrFail};

fn no_archive() -> Finding {
    Finding::skipped("no archive given", "pass ARCHIVE, or set AZ_ARCHIVE")
}

pub(crate) fn archive(context: &Context<'_>) -> Result<Finding, Failure> {
    let Some(sealed) = context.archive()? else { return Ok(no_archive()) };
    let (name, header) = (&sealed.name, &sealed.header);
    let metadata = header.unverified_metadata().or_fail_at(name)?;
    let (expected, actual) = (header.sealed_len(), sealed.file_len);
    let wrong_len = |code, expected: u64, actual: u64| {
        Failure::new(code, format_args!("{name}: {actual} bytes, but its header announces {expected}"))
            .hint("copy the file again, or compare it with the publisher's digest".to_owned())
    };
    match expected.zip(actual) {
        Some((expected, actual)) if actual < expected => {
            return Err(wrong_len(ErrorCode::Truncated, expected, actual));
        }
        Some((expected, actual)) if actual > expected => return Err(wrong_len(ErrorCode::Trailing, expected, actual)),
        _ => {}
    }
    let mut finding = Finding::ok(format_args!("{name}: header and length are valid"));
    if expected.is_none() {
        finding = Finding::warn(
            format_args!("{name}: the header is valid, but does not contain the length"),
            "az-decrypt --verify-only checks the whole archive",
        );
    }
    for (detail, value) in
        [("plaintext_size", header.plaintext_len().or(metadata.content_len)), ("release", metadata.description.release)]
    {
        finding = value.into_iter().fold(finding, |finding, value| finding.with(detail, value));
    }
    let key_ids = header.key_slots().iter().map(|slot| slot.key_id.to_string()).collect::<Vec<_>>();
    Ok(finding.with("key_slots", key_ids))
}

pub(crate) fn key(context: &Context<'_>) -> Result<Finding, Failure> {
    let sealed = match context.require(CheckName::Archive, context.archive())? {
        Ok(Some(sealed)) => sealed,
        Ok(None) => return Ok(no_archive()),
        Err(skipped) => return Ok(skipped),
    };
    let key = match context.require(CheckName::Key, context.key())? {
        Ok(key) => key,
        Err(skipped) => return Ok(skipped),
    };
    if let Some(key) = key {
        let unlocked = sealed.header.clone().unlock(std::slice::from_ref(key));
        unlocked.or_fail_at(&sealed.name)?;
    }
    // An unlock computes the key from fragments, so the fragment is checked in any case.
    let fragments = match context.require(CheckName::Fragment, context.fragment())? {
        Ok(Some(fragments)) => fragments,
        _ if key.is_some() => return Ok(Finding::ok("the key opens the archive")),
        Ok(None) => return Ok(Finding::skipped("no key or fragment given", "pass --fragment-file or --key-file")),
        Err(skipped) => return Ok(skipped),
    };
    let slots: Vec<KeyId> = sealed.header.key_slots().iter().map(|slot| slot.key_id).collect();
    match fragments.iter().find(|fragment| !slots.contains(&fragment.key_id())) {
        None if key.is_some() => Ok(Finding::ok("the key opens the archive, and the fragment belongs to it")),
        None => Ok(Finding::ok("the fragment belongs to the archive")),
        Some(fragment) => {
            let slots = slots.iter().map(KeyId::to_string).collect::<Vec<_>>().join(", ");
            let text = format_args!("the fragment is for key {}, but {} needs {slots}", fragment.key_id(), sealed.name);
            Err(Failure::new(ErrorCode::WrongFragment, text).hint(
                "use the fragment that belongs to this archive, or change the keys of the archive with az-rekey"
                    .to_owned(),
            ))
        }
    }
}

//! The sealed archive: whole as far as its head tells, and sealed with our key.

use crate::cli::Name;
use crate::finding::Finding;
use crate::visit::Visit;
use loader_seal::KeyId;
use loader_stage::{ErrorCode, Failure, OrFail};

const NONE: (&str, &str) = ("no archive named", "az-doctor ARCHIVE, or AZ_ARCHIVE");

pub(crate) fn archive(visit: &Visit<'_>) -> Result<Finding, Failure> {
    let Some(sealed) = visit.archive()? else { return Ok(Finding::skipped(NONE.0, NONE.1)) };
    let (place, header) = (&sealed.place, &sealed.header);
    let metadata = header.unverified_metadata().or_fail(place, |error| error.code())?;
    let (whole, there) = (header.sealed_len(), sealed.file_len);
    let differs = |code, whole: u64, there: u64| {
        Failure::new(code, format_args!("{place}: {there} bytes, its header announces {whole}"))
            .hint("copy the file again, or compare it with the publisher's digest".to_owned())
    };
    match whole.zip(there) {
        Some((whole, there)) if there < whole => return Err(differs(ErrorCode::Truncated, whole, there)),
        Some((whole, there)) if there > whole => return Err(differs(ErrorCode::Trailing, whole, there)),
        _ => {}
    }
    let mut finding = Finding::ok(format_args!("{place}: its header can be read, its length is right"));
    if whole.is_none() {
        finding = Finding::warn(
            format_args!("{place}: its header can be read and does not tell the length"),
            "az-decrypt --verify-only reads all of it",
        );
    }
    for (name, value) in [("plaintext_size", header.plaintext_len()), ("release", metadata.release)] {
        finding = value.into_iter().fold(finding, |finding, value| finding.with(name, value));
    }
    let names = header.key_slots().iter().map(|slot| slot.key_id.to_string()).collect::<Vec<_>>();
    Ok(finding.with("key_slots", names))
}

pub(crate) fn key(visit: &Visit<'_>) -> Result<Finding, Failure> {
    let sealed = match visit.after(Name::Archive, visit.archive())? {
        Ok(Some(sealed)) => sealed,
        Ok(None) => return Ok(Finding::skipped(NONE.0, NONE.1)),
        Err(skipped) => return Ok(skipped),
    };
    let key = match visit.after(Name::Key, visit.key())? {
        Ok(key) => key,
        Err(skipped) => return Ok(skipped),
    };
    if let Some(key) = key {
        let unlocked = sealed.header.clone().unlock(std::slice::from_ref(key));
        unlocked.or_fail(&sealed.place, |error| error.code())?;
    }
    // A key at hand does not help an unlock, which makes it of fragments.
    let fragments = match visit.after(Name::Fragment, visit.fragment())? {
        Ok(Some(fragments)) => fragments,
        _ if key.is_some() => return Ok(Finding::ok("the key opens the archive")),
        Ok(None) => return Ok(Finding::skipped("neither key nor fragment at hand", "--fragment-file or --key-file")),
        Err(skipped) => return Ok(skipped),
    };
    let slots: Vec<KeyId> = sealed.header.key_slots().iter().map(|slot| slot.key_id).collect();
    match fragments.iter().find(|fragment| !slots.contains(&fragment.key_id())) {
        None if key.is_some() => Ok(Finding::ok("the key opens the archive, and the fragment is of one that does")),
        None => Ok(Finding::ok("the fragment is of a key that opens the archive")),
        Some(fragment) => {
            let slots = slots.iter().map(KeyId::to_string).collect::<Vec<_>>().join(", ");
            let what =
                format_args!("the fragment is of the key {}, {} opens with {slots}", fragment.key_id(), sealed.place);
            Err(Failure::new(ErrorCode::WrongFragment, what)
                .hint("take the fragment that belongs to this archive, or az-rekey the archive".to_owned()))
        }
    }
}

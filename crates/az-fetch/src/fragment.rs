//! Fetches the server's key fragment in any form in which the server stores it.

use crate::sealed_source::{SealedSource, create_fragment_file};
use loader_seal::device::SealedKind;
use loader_session::{DeviceIdentity, is_sealed};
use loader_stage::{ErrorCode, Failure, Stage, Step};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Name of the fragment in messages and events.
pub(crate) const LABEL: &str = "key-fragment";

/// Prefix of a fragment in text form.
const TEXT_PREFIX: &[u8] = b"AZ-FRAG-1";

/// Returns the fragment: a line with its newline, or raw bytes. Reports in an event which form
/// the server sent.
pub(crate) fn fetch(
    stage: &Stage,
    source: &mut SealedSource<'_>,
    device: &DeviceIdentity,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let response = source.key_fragment(stage)?;
    let sealed = is_sealed(&response);
    let bytes = if sealed { device.open(&source.user(), SealedKind::Fragment, &response, LABEL)? } else { response };
    if bytes.is_empty() {
        return Err(Failure::new(ErrorCode::Protocol, format_args!("{LABEL}: the server sent an empty response")));
    }
    let line = text_line(&bytes)?;
    let form = match (sealed, &line) {
        (true, _) => "sealed",
        (false, Some(_)) => "text",
        (false, None) => "raw",
    };
    stage.step(Step::KeyFragment, &[("form", form.into())]);
    Ok(line.unwrap_or(bytes))
}

/// Writes the fragment to the export `dir` as the server sealed it, after a check that it can be
/// opened, and returns the path.
pub(crate) fn export(
    stage: &Stage,
    source: &mut SealedSource<'_>,
    device: &DeviceIdentity,
    dir: &Path,
) -> Result<PathBuf, Failure> {
    let response = source.key_fragment(stage)?;
    if !is_sealed(&response) {
        let what = format_args!("{LABEL}: the server does not seal it, so the export would contain it unencrypted");
        return Err(
            Failure::new(ErrorCode::NotPermitted, what).hint("fetch it with -o, and protect it like a key".to_owned())
        );
    }
    device.open(&source.user(), SealedKind::Fragment, &response, LABEL)?;
    let mut output = create_fragment_file(dir)?;
    output.put(&response)?;
    stage.progress().add(response.len() as u64);
    let path = PathBuf::from(output.name());
    output.commit()?;
    Ok(path)
}

/// Returns the line in text form with its newline; `None` if there is none.
///
/// # Errors
/// A failure if there is more than one line.
fn text_line(bytes: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    let mut lines = bytes
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| line.get(..TEXT_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(TEXT_PREFIX)));
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(Failure::new(ErrorCode::Protocol, format_args!("{LABEL}: the server sent more than one fragment")));
    }
    let mut text = Zeroizing::new(Vec::with_capacity(line.len() + 1));
    text.extend_from_slice(line);
    text.push(b'\n');
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_line_is_found_between_comments_and_not_in_raw_bytes() {
        assert_eq!(text_line(b"# server\r\nAZ-FRAG-1QQ\r\n").unwrap().unwrap().as_slice(), b"AZ-FRAG-1QQ\n");
        assert_eq!(text_line(b"AZ-FRAG-1QQ").unwrap().unwrap().as_slice(), b"AZ-FRAG-1QQ\n");
        assert!(text_line(b"\x00\x01AZ-FRAG-1").unwrap().is_none());
        assert!(text_line(b"AZ-FRAG-1A\nAZ-FRAG-1B\n").is_err());
    }
}

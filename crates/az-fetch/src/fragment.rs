//! The server's fragment of the key, in whatever form the server keeps it.

use crate::origin::{Origin, fragment_file};
use loader_seal::device::SealedKind;
use loader_session::{Device, is_sealed};
use loader_stage::{ErrorCode, Failure, Stage};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What messages call it.
pub(crate) const PLACE: &str = "key-fragment";

/// What a fragment in text form begins with.
const LINE_START: &[u8] = b"AZ-FRAG-1";

/// The fragment: a line with its newline, or raw bytes. A step says which form
/// the server sent.
pub(crate) fn fetch(stage: &Stage, origin: &mut Origin<'_>, device: &Device) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let answer = origin.key_fragment(stage)?;
    let sealed = is_sealed(&answer);
    let bytes = if sealed { device.open(&origin.user(), SealedKind::Fragment, &answer, PLACE)? } else { answer };
    if bytes.is_empty() {
        return Err(Failure::new(ErrorCode::Protocol, format_args!("{PLACE}: the server sent nothing")));
    }
    let line = line(&bytes)?;
    let form = match (sealed, &line) {
        (true, _) => "sealed",
        (false, Some(_)) => "text",
        (false, None) => "raw",
    };
    stage.step(PLACE, &[("form", form.into())]);
    Ok(line.unwrap_or(bytes))
}

/// Puts the fragment into `dir` as the server sealed it, once it was seen to
/// open, and gives the path.
pub(crate) fn export(stage: &Stage, origin: &mut Origin<'_>, device: &Device, dir: &Path) -> Result<PathBuf, Failure> {
    let answer = origin.key_fragment(stage)?;
    if !is_sealed(&answer) {
        let what = format_args!("{PLACE}: the server does not seal it, and a copy would lie open");
        return Err(Failure::new(ErrorCode::NotPermitted, what)
            .hint("fetch it with -o, and keep it as you keep a key".to_owned()));
    }
    device.open(&origin.user(), SealedKind::Fragment, &answer, PLACE)?;
    let mut output = fragment_file(dir)?;
    output.put(&answer)?;
    stage.progress().add(answer.len() as u64);
    let path = PathBuf::from(output.name());
    output.commit()?;
    Ok(path)
}

/// The one line in text form, with its newline, or `None` where there is none.
fn line(bytes: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    let mut lines = bytes
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| line.get(..LINE_START.len()).is_some_and(|start| start.eq_ignore_ascii_case(LINE_START)));
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(Failure::new(ErrorCode::Protocol, format_args!("{PLACE}: the server sent more than one fragment")));
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
    fn a_line_is_found_among_comments_and_raw_bytes_are_not_one() {
        assert_eq!(line(b"# server\r\nAZ-FRAG-1QQ\r\n").unwrap().unwrap().as_slice(), b"AZ-FRAG-1QQ\n");
        assert_eq!(line(b"AZ-FRAG-1QQ").unwrap().unwrap().as_slice(), b"AZ-FRAG-1QQ\n");
        assert!(line(b"\x00\x01AZ-FRAG-1").unwrap().is_none());
        assert!(line(b"AZ-FRAG-1A\nAZ-FRAG-1B\n").is_err());
    }
}

//! The JSON lines that an engine sends while it loads.

use crate::Error;
use serde::Deserialize;
use std::io::{BufRead, BufReader, Read};

/// Maximum length of a line of a response in bytes.
const LINE_MAX: u64 = 256 * 1024;

/// Line of a response. Podman explains a refusal in `cause` and `message`, Docker explains a
/// failed request in `message` only.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Line {
    #[serde(default)]
    pub(crate) stream: Option<String>,
    #[serde(default)]
    pub(crate) status: Option<String>,
    #[serde(default)]
    pub(crate) id: Option<String>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default, rename = "errorDetail")]
    detail: Option<Detail>,
    #[serde(default)]
    message: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Detail {
    #[serde(default)]
    message: Option<String>,
}

impl Line {
    /// Returns the error that the engine reports. On the containerd image store a layer
    /// that cannot be unpacked is reported as text of a successful load.
    pub(crate) fn error(&self) -> Option<&str> {
        let detail = self.detail.as_ref().and_then(|detail| detail.message.as_deref());
        let text = || self.stream.as_deref().filter(|text| text.trim_start().starts_with("Error "));
        detail.or(self.error.as_deref()).or(self.message.as_deref()).or_else(text)
    }
}

/// Reads the lines of `body`, each at most 256 KiB. If `plain` is true, a line that is not
/// JSON becomes a `message`: a proxy may respond with such lines.
///
/// # Errors
/// Errors of the connection, converted by `lost`, and [`Error::Protocol`].
pub(crate) fn read_lines(
    body: impl Read,
    plain: bool,
    lost: impl Fn(std::io::Error) -> Error,
    mut take: impl FnMut(&Line),
) -> Result<(), Error> {
    let mut body = BufReader::with_capacity(8 * 1024, body);
    loop {
        let mut text = Vec::new();
        body.by_ref().take(LINE_MAX).read_until(b'\n', &mut text).map_err(&lost)?;
        if text.is_empty() {
            return Ok(());
        }
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match serde_json::from_slice::<Line>(&text) {
            Ok(line) => take(&line),
            Err(_) if plain => {
                let message = Some(String::from_utf8_lossy(&text).into_owned());
                take(&Line { message, ..Line::default() });
            }
            Err(_) => return Err(Error::Protocol("a line that is not JSON".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_both_engines() {
        let read = |text: &str| {
            let mut errors = Vec::new();
            let lost = |source| Error::Gone { when: "", source };
            read_lines(text.as_bytes(), false, lost, |line| errors.extend(line.error().map(str::to_owned))).unwrap();
            errors
        };
        assert_eq!(
            read("{\"stream\":\"Loaded image: a\\n\"}\n{\"errorDetail\":{\"message\":\"x\"},\"error\":\"y\"}"),
            ["x"]
        );
        assert_eq!(read("{\"cause\":\"c\",\"message\":\"m\",\"response\":500}"), ["m"]);
        let unpacking = "Error unpacking image a:1: no space left on device";
        assert_eq!(read(&format!("{{\"stream\":\"{unpacking}\\n\"}}")), [format!("{unpacking}\n")]);
    }
}

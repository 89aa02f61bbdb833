//! One request for an object or a range of it, and what came back.

use crate::store::{CUT, value};
use loader_http::{Error as HttpError, HeaderMap, ResponseBody, header};
use std::fmt;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Bytes of the object; all where absent.
    pub range: Option<Range>,
    /// The range counts only for the object with this strong ETag.
    pub if_range: Option<String>,
    /// Only size and ETag.
    pub head: bool,
    /// Size of the whole object in bytes, if the caller knows it: used if the store
    /// does not report it.
    pub size: Option<u64>,
}

/// Bytes from `start` up to and without `end`, or to the object's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// First byte not wanted.
    pub end: Option<u64>,
}

/// The value of a `Range` header (RFC 9110 section 14.1.2).
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.end {
            Some(end) => write!(f, "bytes={}-{}", self.start, end.saturating_sub(1)),
            None => write!(f, "bytes={}-", self.start),
        }
    }
}

/// An answer with bytes: the whole object, or the range that was asked for, at least
/// its first byte.
#[derive(Debug)]
pub struct Part {
    /// Size of the whole object in bytes.
    pub total: u64,
    /// Offset of the first byte of `body`; 0 where the store sent the whole
    /// object in spite of the range.
    pub start: u64,
    /// Bytes in `body` that were not read yet.
    pub len: u64,
    /// Names this version of the object.
    pub etag: Option<String>,
    /// The file of which it is the big part, and where that was cut.
    pub cut: Option<String>,
    /// The bytes.
    pub body: ResponseBody,
}

impl Part {
    /// The answer to `ask` with status 200 or 206; `Err` says what is wrong with it.
    pub(crate) fn from_response(
        ask: &Ask,
        status: u16,
        headers: &HeaderMap,
        mut body: ResponseBody,
    ) -> Result<Self, String> {
        let etag = value(headers, header::ETAG).map(str::to_owned);
        let cut = value(headers, CUT).map(str::to_owned);
        if value(headers, header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html")) {
            return Err("an HTML page instead of the object, such as the login page of a network".to_owned());
        }
        let announced = body.content_length();
        let (total, start, len) = match (status, &ask.range) {
            (200, _) => {
                let len = announced.or(ask.size).ok_or("answer without Content-Length")?;
                (len, 0, len)
            }
            (206, Some(range)) => {
                let text = value(headers, header::CONTENT_RANGE).unwrap_or_default();
                let usable = parse_content_range(text)
                    .and_then(|(first, last, total)| Some((first, last, total.or(ask.size)?)))
                    .filter(|(_, last, total)| last < total);
                let (first, last, total) = usable.ok_or("206 without a usable Content-Range")?;
                let (wanted_end, len) = (range.end.unwrap_or(total).min(total), last + 1 - first);
                // Fewer bytes than were asked for are an answer too (RFC 9110 section 15.3.7).
                if first != range.start || last >= wanted_end || announced.is_some_and(|announced| announced != len) {
                    return Err(format!("asked for {range} and got {}", loader_model::printable(text)));
                }
                (total, first, len)
            }
            _ => return Err("206 where no range was asked for".to_owned()),
        };
        body.expect_length(len);
        Ok(Self { total, start, len, etag, cut, body })
    }

    /// Fills `buffer` as far as this answer goes; `filled` counts the bytes that came,
    /// whatever the outcome.
    pub(crate) fn fill(&mut self, buffer: &mut [u8], filled: &mut usize) -> Result<(), HttpError> {
        let want = buffer.len().min(usize::try_from(self.len).unwrap_or(usize::MAX));
        while *filled < want {
            let read = self.body.read_more(&mut buffer[*filled..want])?;
            *filled += read;
            self.took(read);
        }
        if self.len == 0 { self.body.expect_end() } else { Ok(()) }
    }

    fn took(&mut self, bytes: usize) {
        self.start += bytes as u64;
        self.len -= bytes as u64;
    }

    /// The ETag where it names the bytes exactly (RFC 9110 section 8.8.1).
    pub fn strong_etag(&self) -> Option<&str> {
        self.etag.as_deref().filter(|etag| etag.starts_with('"'))
    }

    /// The same from `offset` on; what stands before is read and dropped.
    pub(crate) fn discarding(mut self, offset: u64) -> Result<Self, HttpError> {
        let mut buffer = vec![0; 64 * 1024];
        while self.start < offset {
            let want = buffer.len().min(usize::try_from(offset - self.start).unwrap_or(usize::MAX));
            let read = self.body.read_more(&mut buffer[..want])?;
            self.took(read);
        }
        Ok(self)
    }
}

/// True if two ETags may name the same bytes: the weak comparison (RFC 9110 section
/// 8.8.3.2), which also takes ETags whose quotes were lost.
pub fn is_same_etag(one: &str, other: &str) -> bool {
    let opaque = |etag: &str| etag.trim().trim_start_matches("W/").trim_matches('"').to_owned();
    opaque(one) == opaque(other)
}

/// `bytes FIRST-LAST/TOTAL`, in order and inside the object; no total if it is `*`.
fn parse_content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    (first <= last && total.is_none_or(|total| last < total)).then_some((first, last, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_lies_inside_its_object() {
        assert_eq!(parse_content_range("bytes 2-4/9"), Some((2, 4, Some(9))));
        assert_eq!(parse_content_range("bytes 2-4/*"), Some((2, 4, None)));
        for bad in ["", "bytes 4-2/9", "bytes 4-2/*", "bytes 0-9/9", "bytes */9", "0-1/9", "bytes -1-1/9"] {
            assert_eq!(parse_content_range(bad), None, "{bad}");
        }
    }

    #[test]
    fn proxies_may_weaken_an_etag_or_take_its_quotes() {
        for same in ["\"a-3\"", "W/\"a-3\"", "a-3", "W/a-3"] {
            assert!(is_same_etag("\"a-3\"", same) && is_same_etag(same, "\"a-3\""), "{same}");
        }
        assert!(!is_same_etag("\"a-3\"", "\"a-4\"") && !is_same_etag("W/\"a\"", ""));
    }

    #[test]
    fn a_range_is_written_with_its_last_byte() {
        assert_eq!(Range { start: 5, end: Some(9) }.to_string(), "bytes=5-8");
        assert_eq!(Range { start: 5, end: None }.to_string(), "bytes=5-");
    }
}

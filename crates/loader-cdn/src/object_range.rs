//! Request for an object or a range of it, and the response.

use crate::store::{SPLIT_ID, header_text};
use loader_http::{Error as HttpError, HeaderMap, ResponseBody, header};
use std::fmt;

/// GET or HEAD request for an object or a range of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetRequest {
    /// Requested range; `None` requests the whole object.
    pub range: Option<ByteRange>,
    /// Strong ETag that the object must have for the range to apply (RFC 9110 section 13.1.5).
    pub if_range: Option<String>,
    /// True to request only size and ETag.
    pub head: bool,
    /// Size of the whole object in bytes, used if the store does not report it.
    pub size: Option<u64>,
}

/// Half-open byte range `start..end`, or `start..` to the end of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub start: u64,
    /// Offset after the last byte.
    pub end: Option<u64>,
}

/// Formats the value of a `Range` header (RFC 9110 section 14.1.2).
impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.end {
            Some(end) => write!(f, "bytes={}-{}", self.start, end.saturating_sub(1)),
            None => write!(f, "bytes={}-", self.start),
        }
    }
}

/// Response body with the whole object or a prefix of the requested range that is at least one
/// byte long.
#[derive(Debug)]
pub struct ObjectRange {
    /// Size of the whole object in bytes.
    pub total: u64,
    /// Offset of the next byte of `body`. Starts at 0 if the store ignored the range and sent the
    /// whole object.
    pub start: u64,
    /// Number of unread bytes in `body`.
    pub len: u64,
    /// ETag of this version of the object.
    pub etag: Option<String>,
    /// Split id that was passed to [`crate::Push::begin`].
    pub split_id: Option<String>,
    /// Body of the response.
    pub body: ResponseBody,
}

impl ObjectRange {
    /// Parses a response with status 200 or 206.
    ///
    /// # Errors
    /// A description of the mismatch between request and response.
    pub(crate) fn from_response(
        request: &GetRequest,
        status: u16,
        headers: &HeaderMap,
        mut body: ResponseBody,
    ) -> Result<Self, String> {
        let etag = header_text(headers, header::ETAG).map(str::to_owned);
        let split_id = header_text(headers, SPLIT_ID).map(str::to_owned);
        if header_text(headers, header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html")) {
            return Err("received an HTML page instead of the object, maybe the login page of a network".to_owned());
        }
        let announced = body.content_length();
        let (total, start, len) = match (status, &request.range) {
            (200, _) => {
                let len = announced.or(request.size).ok_or("response without Content-Length")?;
                (len, 0, len)
            }
            (206, Some(range)) => {
                let text = header_text(headers, header::CONTENT_RANGE).unwrap_or_default();
                let parsed = parse_content_range(text)
                    .and_then(|(first, last, total)| Some((first, last, total.or(request.size)?)))
                    .filter(|(_, last, total)| last < total);
                let (first, last, total) = parsed.ok_or("206 without a valid Content-Range")?;
                let (wanted_end, len) = (range.end.unwrap_or(total).min(total), last + 1 - first);
                // A response may be shorter than the requested range (RFC 9110 section 15.3.7).
                if first != range.start || last >= wanted_end || announced.is_some_and(|announced| announced != len) {
                    return Err(format!("requested {range} but received {}", loader_model::printable(text)));
                }
                (total, first, len)
            }
            _ => return Err("206 although no range was requested".to_owned()),
        };
        body.expect_length(len);
        Ok(Self { total, start, len, etag, split_id, body })
    }

    /// Fills `buffer` until it is full or this response ends. `filled` counts the received bytes,
    /// also if the call fails.
    pub(crate) fn fill(&mut self, buffer: &mut [u8], filled: &mut usize) -> Result<(), HttpError> {
        let want = buffer.len().min(usize::try_from(self.len).unwrap_or(usize::MAX));
        while *filled < want {
            let read = self.body.read_more(&mut buffer[*filled..want])?;
            *filled += read;
            self.advance(read);
        }
        if self.len == 0 { self.body.expect_end() } else { Ok(()) }
    }

    fn advance(&mut self, bytes: usize) {
        self.start += bytes as u64;
        self.len -= bytes as u64;
    }

    /// Returns the ETag if it is a strong validator (RFC 9110 section 8.8.1).
    pub fn strong_etag(&self) -> Option<&str> {
        self.etag.as_deref().filter(|etag| etag.starts_with('"'))
    }

    /// Reads and drops the bytes before `offset`.
    pub(crate) fn skip_to(mut self, offset: u64) -> Result<Self, HttpError> {
        let mut buffer = vec![0; 64 * 1024];
        while self.start < offset {
            let want = buffer.len().min(usize::try_from(offset - self.start).unwrap_or(usize::MAX));
            let read = self.body.read_more(&mut buffer[..want])?;
            self.advance(read);
        }
        Ok(self)
    }
}

/// Returns true if two ETags match by the weak comparison (RFC 9110 section 8.8.3.2). Also
/// accepts ETags that lost their quotes.
pub fn etags_match(one: &str, other: &str) -> bool {
    let opaque = |etag: &str| etag.trim().trim_start_matches("W/").trim_matches('"').to_owned();
    opaque(one) == opaque(other)
}

/// Parses `bytes FIRST-LAST/TOTAL`. Returns `None` if the range is reversed or outside the
/// object; the total is `None` if it is `*`.
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
    fn content_range_outside_the_object_is_rejected() {
        assert_eq!(parse_content_range("bytes 2-4/9"), Some((2, 4, Some(9))));
        assert_eq!(parse_content_range("bytes 2-4/*"), Some((2, 4, None)));
        for bad in ["", "bytes 4-2/9", "bytes 4-2/*", "bytes 0-9/9", "bytes */9", "0-1/9", "bytes -1-1/9"] {
            assert_eq!(parse_content_range(bad), None, "{bad}");
        }
    }

    #[test]
    fn weak_and_unquoted_etags_match() {
        for same in ["\"a-3\"", "W/\"a-3\"", "a-3", "W/a-3"] {
            assert!(etags_match("\"a-3\"", same) && etags_match(same, "\"a-3\""), "{same}");
        }
        assert!(!etags_match("\"a-3\"", "\"a-4\"") && !etags_match("W/\"a\"", ""));
    }

    #[test]
    fn range_header_contains_the_last_byte() {
        assert_eq!(ByteRange { start: 5, end: Some(9) }.to_string(), "bytes=5-8");
        assert_eq!(ByteRange { start: 5, end: None }.to_string(), "bytes=5-");
    }
}

//! One request for an object or a range of it, and what came back.

use crate::store::{CUT, value};
use loader_http::{Body, Error as HttpError, HeaderMap, header};
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

/// An answer with bytes: the whole object, or exactly the range that was asked for.
#[derive(Debug)]
pub struct Part {
    /// Size of the whole object in bytes.
    pub total: u64,
    /// Offset of the first byte of `body`; 0 where the store sent the whole
    /// object in spite of the range.
    pub start: u64,
    /// Bytes in `body`.
    pub len: u64,
    /// Names this version of the object.
    pub etag: Option<String>,
    /// The file of which it is the big part, and where that was cut.
    pub cut: Option<String>,
    /// The bytes.
    pub body: Body,
}

impl Part {
    /// The answer to `ask` with status 200 or 206; `Err` says what is wrong with it.
    pub(crate) fn from_response(ask: &Ask, status: u16, headers: &HeaderMap, body: Body) -> Result<Self, String> {
        let etag = value(headers, header::ETAG).map(str::to_owned);
        let cut = value(headers, CUT).map(str::to_owned);
        let len = body.content_length().ok_or("answer without Content-Length")?;
        match (status, &ask.range) {
            (200, _) => Ok(Self { total: len, start: 0, len, etag, cut, body }),
            (206, Some(range)) => {
                let text = value(headers, header::CONTENT_RANGE).unwrap_or_default();
                let (first, last, total) = parse_content_range(text).ok_or("206 without a usable Content-Range")?;
                let wanted_end = range.end.unwrap_or(total).min(total);
                if first != range.start || last + 1 != wanted_end || last + 1 - first != len {
                    return Err(format!("asked for {range} and got {}", loader_model::printable(text)));
                }
                Ok(Self { total, start: first, len, etag, cut, body })
            }
            _ => Err("206 where no range was asked for".to_owned()),
        }
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
            match self.body.read_some(&mut buffer[..want])? {
                0 => break,
                n => {
                    self.start += n as u64;
                    self.len -= n as u64;
                }
            }
        }
        Ok(self)
    }
}

/// `bytes FIRST-LAST/TOTAL`, in order and inside the object.
fn parse_content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total) = (first.parse().ok()?, last.parse().ok()?, total.parse().ok()?);
    (first <= last && last < total).then_some((first, last, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_lies_inside_its_object() {
        assert_eq!(parse_content_range("bytes 2-4/9"), Some((2, 4, 9)));
        for bad in ["", "bytes 4-2/9", "bytes 0-9/9", "bytes 0-1/*", "bytes */9", "0-1/9", "bytes -1-1/9"] {
            assert_eq!(parse_content_range(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_range_is_written_with_its_last_byte() {
        assert_eq!(Range { start: 5, end: Some(9) }.to_string(), "bytes=5-8");
        assert_eq!(Range { start: 5, end: None }.to_string(), "bytes=5-");
    }
}

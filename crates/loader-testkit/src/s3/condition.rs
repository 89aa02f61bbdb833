//! Conditional reads, in the order of RFC 9110 section 13.2.2.

use axum::http::{HeaderMap, HeaderValue, header};
use s3s::dto::{ETag, ETagCondition, GetObjectInput, HeadObjectInput, Timestamp, TimestampFormat};
use s3s::{S3Error, S3ErrorCode, S3Result};

/// Validators of an object.
pub(crate) struct Validators {
    /// ETag.
    pub(crate) etag: ETag,
    /// Time of the last change.
    pub(crate) modified: Option<Timestamp>,
}

/// Conditions of a GET or HEAD request.
pub(crate) struct Conditions<'a> {
    if_match: Option<&'a ETagCondition>,
    if_none_match: Option<&'a ETagCondition>,
    if_modified_since: Option<&'a Timestamp>,
    if_unmodified_since: Option<&'a Timestamp>,
}

impl<'a> From<&'a GetObjectInput> for Conditions<'a> {
    fn from(input: &'a GetObjectInput) -> Self {
        Self {
            if_match: input.if_match.as_ref(),
            if_none_match: input.if_none_match.as_ref(),
            if_modified_since: input.if_modified_since.as_ref(),
            if_unmodified_since: input.if_unmodified_since.as_ref(),
        }
    }
}

impl<'a> From<&'a HeadObjectInput> for Conditions<'a> {
    fn from(input: &'a HeadObjectInput) -> Self {
        Self {
            if_match: input.if_match.as_ref(),
            if_none_match: input.if_none_match.as_ref(),
            if_modified_since: input.if_modified_since.as_ref(),
            if_unmodified_since: input.if_unmodified_since.as_ref(),
        }
    }
}

impl Conditions<'_> {
    /// Returns 412 or 304 if a condition is not met.
    pub(crate) fn check(&self, current: &Validators) -> S3Result<()> {
        let modified_after =
            |then: &Timestamp| current.modified.as_ref().is_some_and(|now| whole_seconds(now) > whole_seconds(then));
        let excluded = match (self.if_match, self.if_unmodified_since) {
            (Some(ETagCondition::Any), _) => false,
            (Some(ETagCondition::ETag(asked)), _) => !asked.strong_cmp(&current.etag),
            (None, Some(then)) => modified_after(then),
            (None, None) => false,
        };
        if excluded {
            return Err(S3Error::with_message(
                S3ErrorCode::PreconditionFailed,
                "the object does not match the condition",
            ));
        }
        let unchanged = match (self.if_none_match, self.if_modified_since) {
            (Some(ETagCondition::Any), _) => true,
            (Some(ETagCondition::ETag(asked)), _) => asked.weak_cmp(&current.etag),
            (None, Some(then)) => !modified_after(then),
            (None, None) => false,
        };
        if unchanged { Err(not_modified(&current.etag)) } else { Ok(()) }
    }
}

/// Returns true if `If-Range` is absent or matches the object, so that the range
/// applies (RFC 9110 section 13.1.5).
pub(crate) fn range_applies(headers: &HeaderMap, current: &Validators) -> bool {
    let Some(asked) = headers.get(header::IF_RANGE) else { return true };
    if let Ok(etag) = ETag::parse_http_header(asked.as_bytes())
        && asked.as_bytes().ends_with(b"\"")
    {
        return etag.strong_cmp(&current.etag);
    }
    let date = asked.to_str().ok().and_then(|text| Timestamp::parse(TimestampFormat::HttpDate, text).ok());
    date.is_some_and(|date| current.modified.as_ref().map(whole_seconds) == Some(whole_seconds(&date)))
}

/// Returns `time` in whole seconds since 1970, the resolution of an HTTP date.
fn whole_seconds(time: &Timestamp) -> i64 {
    let mut text = Vec::new();
    let _ = time.format(TimestampFormat::EpochSeconds, &mut text);
    let text = String::from_utf8(text).unwrap_or_default();
    text.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or_default()
}

fn not_modified(etag: &ETag) -> S3Error {
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    let mut headers = HeaderMap::new();
    headers.insert(header::ETAG, etag.to_http_header().unwrap_or(HeaderValue::from_static("\"\"")));
    error.set_headers(headers);
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn current() -> Validators {
        let modified = Timestamp::parse(TimestampFormat::DateTime, "2026-11-23T08:00:00.250Z").unwrap();
        Validators { etag: ETag::Strong("one".to_owned()), modified: Some(modified) }
    }

    #[test]
    fn if_range_matches_a_strong_etag_or_the_exact_date() {
        let applies = |value: &'static str| {
            range_applies(&HeaderMap::from_iter([(header::IF_RANGE, HeaderValue::from_static(value))]), &current())
        };
        assert!(range_applies(&HeaderMap::new(), &current()));
        assert!(applies("\"one\"") && applies("Mon, 23 Nov 2026 08:00:00 GMT"));
        for stale in ["\"two\"", "W/\"one\"", "Mon, 23 Nov 2026 08:00:01 GMT", "Mon, 23 Nov 2026 07:59:59 GMT", "one"] {
            assert!(!applies(stale), "{stale}");
        }
    }

    #[test]
    fn if_match_is_checked_before_if_none_match() {
        let etag = |text: &str| ETagCondition::ETag(ETag::Strong(text.to_owned()));
        let (one, two) = (etag("one"), etag("two"));
        let status = |if_match, if_none_match| {
            let conditions = Conditions { if_match, if_none_match, if_modified_since: None, if_unmodified_since: None };
            conditions.check(&current()).map_err(|error| error.status_code().unwrap().as_u16())
        };
        assert_eq!(status(Some(&one), Some(&two)), Ok(()));
        assert_eq!(status(Some(&two), Some(&one)), Err(412));
        assert_eq!(status(Some(&one), Some(&one)), Err(304));
        assert_eq!(status(None, Some(&ETagCondition::Any)), Err(304));
    }
}

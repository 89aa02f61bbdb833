//! XML bodies of responses and errors.

use loader_model::printable;
use quick_xml::de::from_str;
use serde::Deserialize;

/// Maximum length of a text from an error body, in characters.
const TEXT_MAX: usize = 120;

/// Fields of all supported response types; fields that a response does not have are empty. The
/// name of the root element is ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct XmlBody {
    /// Error code, such as `InternalError`.
    pub(crate) code: String,
    message: String,
    /// Region of the bucket, if the error contains it.
    region: String,
    pub(crate) upload_id: String,
    #[serde(rename = "ETag")]
    pub(crate) etag: String,
    is_truncated: String,
    part: Vec<ListedPart>,
}

/// Part in a response to ListParts.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct ListedPart {
    part_number: String,
    size: String,
    #[serde(rename = "ETag")]
    etag: String,
}

impl XmlBody {
    /// Parses `body`. The document is empty if `body` is not XML or has another structure.
    pub(crate) fn read(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let document: Self = from_str(text.trim_start_matches('\u{feff}')).unwrap_or_default();
        let short = |text: &str| printable(&text.trim().chars().take(TEXT_MAX).collect::<String>());
        Self {
            code: short(&document.code),
            message: short(&document.message),
            region: short(&document.region),
            ..document
        }
    }

    /// Returns code and message of an error, without empty texts.
    pub(crate) fn error_texts(&self) -> impl Iterator<Item = String> {
        [&self.code, &self.message].into_iter().filter(|text| !text.is_empty()).cloned()
    }

    /// Returns the region in an error.
    pub(crate) fn region(&self) -> Option<&str> {
        Some(self.region.as_str()).filter(|region| !region.is_empty())
    }

    /// Returns the status of an error that was reported after a status of 2xx, if a retry may
    /// succeed (S3 API reference, CompleteMultipartUpload).
    pub(crate) fn late_status(&self) -> Option<u16> {
        match self.code.as_str() {
            "InternalError" => Some(500),
            "ServiceUnavailable" | "SlowDown" => Some(503),
            _ => None,
        }
    }

    /// Returns true if the list has another page.
    pub(crate) fn is_truncated(&self) -> bool {
        self.is_truncated.trim() == "true"
    }

    /// Returns number, size in bytes and ETag of each listed part.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (u32, u64, &str)> {
        self.part.iter().filter_map(|part| {
            Some((part.part_number.trim().parse().ok()?, part.size.trim().parse().ok()?, part.etag.trim()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_read_and_made_printable() {
        let body = b"<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code><Message>no &lt;\xc2\x9bway</Message>\
                     <Region>eu-west-1</Region><HostId>x</HostId></Error>";
        let document = XmlBody::read(body);
        let texts: Vec<_> = document.error_texts().collect();
        assert_eq!(texts, ["AccessDenied", "no <\\u{9b}way"]);
        assert_eq!((document.region(), document.late_status()), (Some("eu-west-1"), None));
        for other in [&b"<Error><Code>cut off"[..], b"", b"<html><body>Bad Gateway</body></html>", b"{}", b"\xff<"] {
            assert_eq!(XmlBody::read(other).error_texts().count(), 0);
        }
        assert_eq!(XmlBody::read(b"<Error><Code>SlowDown</Code></Error>").late_status(), Some(503));
    }

    /// Covers comments, CDATA sections, namespaces, and element names inside text.
    #[test]
    fn parts_are_read_as_xml() {
        let body = b"<ListPartsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><!-- <Part> -->\
                     <Key>&lt;Part&gt;</Key><IsTruncated>true</IsTruncated><Part><PartNumber>1</PartNumber>\
                     <LastModified>x</LastModified><ETag>&quot;a&amp;b&#34;</ETag><Size> 5 </Size></Part>\
                     <Part><PartNumber>2</PartNumber></Part>\
                     <Part><ETag><![CDATA[\"c\"]]></ETag><Size>6</Size><PartNumber>3</PartNumber></Part></ListPartsResult>";
        let document = XmlBody::read(body);
        assert!(document.is_truncated());
        let parts: Vec<_> = document.parts().collect();
        assert_eq!(parts, [(1, 5, "\"a&b\""), (3, 6, "\"c\"")]);
    }
}

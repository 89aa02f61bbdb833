//! The XML bodies of a store, answers and errors.

use loader_model::printable;
use quick_xml::de::from_str;
use serde::Deserialize;

/// Longest text taken from an error, in characters.
const TEXT_MAX: usize = 120;

/// The fields of all answers that are read here; those of the others stay empty. The
/// name of the root element does not count.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Document {
    /// Code of an error, such as `InternalError`.
    pub(crate) code: String,
    message: String,
    /// Region of the bucket, in the error that names it.
    region: String,
    pub(crate) upload_id: String,
    #[serde(rename = "ETag")]
    pub(crate) etag: String,
    is_truncated: String,
    part: Vec<Part>,
}

/// A part in a list of parts.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Part {
    part_number: String,
    size: String,
    #[serde(rename = "ETag")]
    etag: String,
}

impl Document {
    /// The document in `body`; empty if it is no XML or has another shape.
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

    /// Code and message of an error, as far as they are there.
    pub(crate) fn error_texts(&self) -> impl Iterator<Item = String> {
        [&self.code, &self.message].into_iter().filter(|text| !text.is_empty()).cloned()
    }

    /// The region that an error names.
    pub(crate) fn region(&self) -> Option<&str> {
        Some(self.region.as_str()).filter(|region| !region.is_empty())
    }

    /// The status that an error stands for which came with a status of 2xx, if the same
    /// request may end better a little later (S3 API reference,
    /// CompleteMultipartUpload).
    pub(crate) fn late_status(&self) -> Option<u16> {
        match self.code.as_str() {
            "InternalError" => Some(500),
            "ServiceUnavailable" | "SlowDown" => Some(503),
            _ => None,
        }
    }

    /// True if a list goes on.
    pub(crate) fn is_truncated(&self) -> bool {
        self.is_truncated.trim() == "true"
    }

    /// Number, size in bytes and ETag of each part in a list.
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
        let document = Document::read(body);
        let texts: Vec<_> = document.error_texts().collect();
        assert_eq!(texts, ["AccessDenied", "no <\\u{9b}way"]);
        assert_eq!((document.region(), document.late_status()), (Some("eu-west-1"), None));
        for other in [&b"<Error><Code>cut off"[..], b"", b"<html><body>Bad Gateway</body></html>", b"{}", b"\xff<"] {
            assert_eq!(Document::read(other).error_texts().count(), 0);
        }
        assert_eq!(Document::read(b"<Error><Code>SlowDown</Code></Error>").late_status(), Some(503));
    }

    /// Comments, sections and namespaces are XML, and so is an element's name in a text.
    #[test]
    fn parts_are_read_as_xml() {
        let body = b"<ListPartsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><!-- <Part> -->\
                     <Key>&lt;Part&gt;</Key><IsTruncated>true</IsTruncated><Part><PartNumber>1</PartNumber>\
                     <LastModified>x</LastModified><ETag>&quot;a&amp;b&#34;</ETag><Size> 5 </Size></Part>\
                     <Part><PartNumber>2</PartNumber></Part>\
                     <Part><ETag><![CDATA[\"c\"]]></ETag><Size>6</Size><PartNumber>3</PartNumber></Part></ListPartsResult>";
        let document = Document::read(body);
        assert!(document.is_truncated());
        let parts: Vec<_> = document.parts().collect();
        assert_eq!(parts, [(1, 5, "\"a&b\""), (3, 6, "\"c\"")]);
    }
}

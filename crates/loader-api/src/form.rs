//! Multipart form with one file (RFC 7578).

use loader_http::HeaderValue;
use loader_model::ResourceName;

/// Body and content type of a request with one file.
pub(crate) struct Form {
    pub(crate) content_type: HeaderValue,
    pub(crate) body: Vec<u8>,
}

impl Form {
    /// Creates a form with `content` as the field `data`. The file name of `name` needs
    /// no escaping.
    pub(crate) fn new(name: &ResourceName, content: &[u8]) -> Self {
        let boundary = boundary(content);
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"data\"; filename=\"{}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n",
            name.file_name()
        );
        let content_type = format!("multipart/form-data; boundary={boundary}");
        // Letters and digits are always a valid header value.
        let content_type =
            HeaderValue::from_str(&content_type).unwrap_or(HeaderValue::from_static("multipart/form-data"));
        let body = [head.as_bytes(), content, format!("\r\n--{boundary}--\r\n").as_bytes()].concat();
        Self { content_type, body }
    }
}

/// Returns the first of `azaion0`, `azaion1` and so on that `content` does not contain.
fn boundary(content: &[u8]) -> String {
    let contains = |text: &str| content.windows(text.len()).any(|window| window == text.as_bytes());
    let mut number = 0_u64;
    loop {
        let boundary = format!("azaion{number}");
        if !contains(&boundary) {
            return boundary;
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boundary_never_occurs_in_the_content() {
        assert_eq!(boundary(b"x--azaion0--azaion1"), "azaion2");
        let form = Form::new(&"models/a.bin".parse().unwrap(), b"azaion0");
        let text = String::from_utf8(form.body).unwrap();
        assert!(text.starts_with("--azaion1\r\n") && text.ends_with("\r\n\r\nazaion0\r\n--azaion1--\r\n"), "{text}");
        assert!(text.contains("filename=\"a.bin\""));
    }
}

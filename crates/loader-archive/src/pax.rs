//! Headers that come in front of a member's own: GNU long names and links, and
//! PAX records.

use crate::header::RawHeader;

/// Most bytes that all of them may have for one member. Real ones have a few
/// hundred; the formats know no limit.
pub(crate) const EXTENSION_MAX: u64 = 64 * 1024;

/// What the extensions in front of a member say.
#[derive(Debug, Default)]
pub(crate) struct Extension {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Extension {
    /// True for the kinds of members that only speak of the next one.
    pub(crate) fn is_extension(kind: u8) -> bool {
        matches!(kind, b'L' | b'K' | b'x' | b'g')
    }

    /// Takes the content of one extension.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn take(&mut self, kind: u8, content: &[u8]) -> Result<(), &'static str> {
        let end = content.iter().position(|byte| *byte == 0).unwrap_or(content.len());
        match kind {
            b'L' => self.name = Some(content[..end].to_vec()),
            b'K' => self.link = Some(content[..end].to_vec()),
            _ => return self.records(kind, content),
        }
        Ok(())
    }

    fn records(&mut self, kind: u8, mut rest: &[u8]) -> Result<(), &'static str> {
        const BAD: &str = "a PAX record is malformed";
        while !rest.is_empty() {
            let space = rest.iter().position(|byte| *byte == b' ').ok_or(BAD)?;
            let len = std::str::from_utf8(&rest[..space]).ok().and_then(|len| len.parse::<usize>().ok()).ok_or(BAD)?;
            let record = rest.get(space + 1..len).and_then(|record| record.strip_suffix(b"\n")).ok_or(BAD)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or(BAD)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            rest = &rest[len..];
            let number = || std::str::from_utf8(value).ok().and_then(|value| value.parse().ok()).ok_or(BAD);
            match key {
                b"path" | b"linkpath" | b"size" if kind == b'g' => {
                    return Err("a global PAX header sets a name or a size");
                }
                b"path" => self.name = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(number()?),
                key if key.starts_with(b"GNU.sparse.") => return Err("a sparse file"),
                _ => {}
            }
        }
        Ok(())
    }

    /// Puts what was said over what the header itself says.
    pub(crate) fn apply(self, header: &mut RawHeader) {
        if let Some(name) = self.name {
            header.name = name;
        }
        if let Some(link) = self.link {
            header.link = link;
        }
        if let Some(size) = self.size {
            header.size = size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_and_bounded() {
        let mut extension = Extension::default();
        extension.take(b'x', b"14 path=a/b/c\n11 size=10\n").unwrap();
        assert_eq!((extension.name.as_deref(), extension.size), (Some(&b"a/b/c"[..]), Some(10)));
        for bad in [&b"99 path=a\n"[..], b"x path=a\n", b"9 path:a\n", b"14 path=a/b/cX", b"0 a=b\n", b"1 \n", b"2 \n"]
        {
            assert!(Extension::default().take(b'x', bad).is_err(), "{bad:?}");
        }
        assert!(Extension::default().take(b'g', b"14 path=a/b/c\n").is_err());
    }
}

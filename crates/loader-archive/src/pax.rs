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
            b'L' => set(&mut self.name, &content[..end]),
            b'K' => set(&mut self.link, &content[..end]),
            b'g' if self.name.is_some() || self.link.is_some() || self.size.is_some() => {
                Err("a global PAX header between a member and its name")
            }
            _ => self.records(kind, content),
        }
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
                b"path" => set(&mut self.name, value)?,
                b"linkpath" => set(&mut self.link, value)?,
                b"size" if self.size.is_some() => return Err("two sizes for one member"),
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

/// Readers differ in which of two names counts, and in what an empty one means.
fn set(slot: &mut Option<Vec<u8>>, value: &[u8]) -> Result<(), &'static str> {
    match value {
        [] => Err("an empty name"),
        _ if value.contains(&0) => Err("a name with a zero in it"),
        _ => match slot.replace(value.to_vec()) {
            Some(_) => Err("two names for one member"),
            None => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_once() {
        let took = |extensions: &[(u8, &[u8])]| {
            let mut extension = Extension::default();
            extensions.iter().try_for_each(|(kind, content)| extension.take(*kind, content)).map(|()| extension.name)
        };
        assert_eq!(took(&[(b'L', b"a/b\0"), (b'K', b"c\0"), (b'x', b"13 mtime=123\n")]), Ok(Some(b"a/b".to_vec())));
        assert_eq!(took(&[(b'g', b"13 mtime=123\n"), (b'L', b"a\0")]), Ok(Some(b"a".to_vec())));
        for extensions in [
            &[(b'L', &b"a\0"[..]), (b'x', b"10 path=b\n")][..],
            &[(b'x', b"10 path=b\n"), (b'L', b"a\0")],
            &[(b'L', b"a\0"), (b'L', b"b\0")],
            &[(b'x', b"10 path=b\n10 path=c\n")],
            &[(b'x', b"9 size=5\n9 size=6\n")],
            &[(b'L', b"a\0"), (b'g', b"13 mtime=123\n")],
            &[(b'L', b"\0")],
            &[(b'x', b"8 path=\n")],
            &[(b'x', b"12 path=a\0b\n")],
        ] {
            assert!(took(extensions).is_err(), "{extensions:?}");
        }
    }

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

//! Members that describe the next one: GNU long names and links, PAX records.

use super::header::Header;

/// Maximum number of bytes of all extensions of one member; Go's reader has the same
/// limit for one of them.
pub(crate) const EXTENSIONS_MAX: u64 = 1 << 20;

/// The extensions before a member.
#[derive(Debug, Default)]
pub(crate) struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
    /// The name of a sparse file; the other one is a placeholder.
    sparse_name: Option<Vec<u8>>,
}

impl Extensions {
    /// Returns true for the type flags of extensions.
    pub(crate) fn is_extension(kind: u8) -> bool {
        matches!(kind, b'L' | b'K' | b'x' | b'g')
    }

    /// Adds the content of one extension. If two extensions of a member disagree,
    /// one is refused: readers differ in which one they use.
    ///
    /// # Errors
    /// A text that names what is wrong.
    pub(crate) fn add(&mut self, kind: u8, content: &[u8]) -> Result<(), &'static str> {
        let end = content.iter().position(|byte| *byte == 0).unwrap_or(content.len());
        match kind {
            b'L' => set(&mut self.name, &content[..end]),
            b'K' => set(&mut self.link, &content[..end]),
            _ => self.add_records(kind, content),
        }
    }

    fn add_records(&mut self, kind: u8, mut rest: &[u8]) -> Result<(), &'static str> {
        const MALFORMED: &str = "a PAX record is malformed";
        while !rest.is_empty() {
            let space = rest.iter().position(|byte| *byte == b' ').ok_or(MALFORMED)?;
            let len = decimal(&rest[..space]).and_then(|len| usize::try_from(len).ok()).ok_or(MALFORMED)?;
            let record = rest.get(space + 1..len).and_then(|record| record.strip_suffix(b"\n")).ok_or(MALFORMED)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or(MALFORMED)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            rest = &rest[len..];
            match key {
                b"path" | b"linkpath" | b"size" if kind == b'g' => {
                    return Err("a global PAX header sets a name or a size");
                }
                b"path" => set(&mut self.name, value)?,
                b"linkpath" => set(&mut self.link, value)?,
                b"size" if self.size.is_some() => return Err("two sizes for one member"),
                b"size" => self.size = Some(decimal(value).ok_or(MALFORMED)?),
                b"GNU.sparse.name" => {
                    self.sparse = true;
                    set(&mut self.sparse_name, value)?;
                }
                key if key.starts_with(b"GNU.sparse.") => self.sparse = true,
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns true if the member is a sparse file in one of the PAX formats.
    pub(crate) fn is_sparse(&self) -> bool {
        self.sparse
    }

    /// Replaces the fields of `header` that an extension sets.
    pub(crate) fn apply(self, header: &mut Header) {
        if let Some(name) = self.sparse_name.or(self.name) {
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

fn decimal(digits: &[u8]) -> Option<u64> {
    // `parse` alone would accept a plus sign.
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

fn set(slot: &mut Option<Vec<u8>>, value: &[u8]) -> Result<(), &'static str> {
    match value {
        [] => Err("an empty name"),
        _ if value.contains(&0) => Err("a name with a zero in it"),
        _ => match slot.replace(value.to_vec()) {
            Some(other) if other != value => Err("two names for one member"),
            _ => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add_all(extensions: &[(u8, &[u8])]) -> Result<Extensions, &'static str> {
        let mut all = Extensions::default();
        extensions.iter().try_for_each(|(kind, content)| all.add(*kind, content)).map(|()| all)
    }

    #[test]
    fn one_member_has_one_name() {
        let both = add_all(&[(b'L', b"a/b\0"), (b'K', b"c\0"), (b'x', b"13 mtime=123\n")]).unwrap();
        assert_eq!((both.name.as_deref(), both.link.as_deref()), (Some(&b"a/b"[..]), Some(&b"c"[..])));
        // star writes the name both ways.
        assert!(add_all(&[(b'L', b"a\0"), (b'x', b"10 path=a\n")]).is_ok());
        for extensions in [
            &[(b'L', &b"a\0"[..]), (b'x', b"10 path=b\n")][..],
            &[(b'x', b"10 path=b\n"), (b'L', b"a\0")],
            &[(b'L', b"a\0"), (b'L', b"b\0")],
            &[(b'x', b"10 path=b\n"), (b'x', b"10 path=c\n")],
            &[(b'x', b"10 path=b\n10 path=c\n")],
            &[(b'x', b"9 size=5\n9 size=6\n")],
            &[(b'L', b"\0")],
            &[(b'x', b"8 path=\n")],
            &[(b'x', b"12 path=a\0b\n")],
            &[(b'g', b"10 path=b\n")],
        ] {
            assert!(add_all(extensions).is_err(), "{extensions:?}");
        }
    }

    #[test]
    fn records_are_bounded() {
        let all = add_all(&[(b'x', b"14 path=a/b/c\n11 size=10\n22 GNU.sparse.major=1\n")]).unwrap();
        assert_eq!((all.name.as_deref(), all.size, all.is_sparse()), (Some(&b"a/b/c"[..]), Some(10), true));
        for bad in [
            &b"99 path=a\n"[..],
            b"x path=a\n",
            b"9 path:a\n",
            b"14 path=a/b/cX",
            b"0 a=b\n",
            b"1 \n",
            b"2 \n",
            b"+10 path=a\n",
            b"10 size=+5\n",
        ] {
            assert!(add_all(&[(b'x', bad)]).is_err(), "{bad:?}");
        }
    }
}

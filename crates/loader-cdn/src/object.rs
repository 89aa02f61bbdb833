//! An object read in order, continued at the last byte where the line breaks.

use crate::part::Range;
use crate::{Ask, Error, Part, Source, Store};
use loader_http::Attempts;
use loader_model::ResourceName;
use std::fmt;

/// The bytes of an object from an offset to its end. Every byte comes from one
/// version of the object, and the end is where the store said it is.
pub struct Object<'a> {
    store: &'a Store,
    name: ResourceName,
    attempts: Attempts<'a>,
    etag: Option<String>,
    size: u64,
    position: u64,
    part: Option<Part>,
}

impl<'a> Object<'a> {
    pub(crate) fn open(
        store: &'a Store,
        name: ResourceName,
        start: u64,
        mut attempts: Attempts<'a>,
    ) -> Result<Self, Error> {
        let range = (start > 0).then_some(Range { start, end: None });
        let ask = Ask { range, ..Ask::default() };
        loop {
            match store.ask(&name, &ask) {
                Ok(part) if part.start == start => {
                    let (size, etag) = (part.total, part.strong_etag().map(str::to_owned));
                    return Ok(Self { store, name, attempts, etag, size, position: start, part: Some(part) });
                }
                Ok(_) => return Err(store.protocol(&name, "the store does not serve ranges")),
                Err(Error::Http(error)) => attempts.again(error)?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Size of the whole object in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The strong ETag of the version that is read, where the store gave one.
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// Opens the rest of the same version again.
    fn resume(&mut self) -> Result<Part, Error> {
        let whole = self.position == 0;
        let range = (!whole).then_some(Range { start: self.position, end: None });
        let ask = Ask { if_range: range.as_ref().and(self.etag.clone()), range, head: false };
        let mut part = self.store.ask(&self.name, &ask)?;
        if part.total != self.size || part.strong_etag() != self.etag.as_deref() {
            return Err(self.store.changed(&self.name));
        }
        if part.start != self.position {
            // The same version from its first byte, from a store that does not
            // serve ranges: what was passed on already is read again and dropped.
            part.discard(self.position)?;
        }
        Ok(part)
    }
}

impl Source for Object<'_> {
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            if self.position == self.size {
                return Ok(0);
            }
            let read = match &mut self.part {
                Some(part) => part.body.read_some(buffer).map_err(Error::Http),
                None => match self.resume() {
                    Ok(part) => {
                        self.part = Some(part);
                        continue;
                    }
                    Err(error) => Err(error),
                },
            };
            match read {
                Ok(n) => {
                    self.attempts.progressed(n as u64);
                    self.position += n as u64;
                    return Ok(n);
                }
                Err(Error::Http(error)) => {
                    self.part = None;
                    if self.position > 0 && self.etag.is_none() {
                        // Nothing says that the rest would be of the same version.
                        return Err(Error::Http(error));
                    }
                    self.attempts.again(error)?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl fmt::Debug for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("name", &self.name).field("size", &self.size).finish_non_exhaustive()
    }
}

//! What was seen in an archive.

use crate::content::File;
use crate::name::{follow, promised};
use crate::{Error, Omit};
use std::collections::{HashMap, HashSet};

/// Most bytes that names and documents may take in memory: a few MiB, far more
/// than the configs of a hundred images.
const KEPT_MAX: usize = 4 << 20;

/// Most members that are remembered. `docker save` writes four a layer.
const MEMBERS_MAX: usize = 20_000;

/// Longest chain of links that is followed.
const LINKS_MAX: usize = 8;

/// Files, links and small documents by name.
#[derive(Default)]
pub(crate) struct Contents {
    files: HashMap<String, File>,
    /// Where links point to, from the root of the archive.
    links: HashMap<String, String>,
    documents: HashMap<String, Vec<u8>>,
    kept: usize,
    omit: Omit,
    /// Members that were left out.
    omitted: HashSet<String>,
}

/// What a document's name for a layer leads to.
pub(crate) enum Found<'a> {
    /// A file, by its own name.
    File(&'a str, &'a File),
    /// A layer that the engine has, so that it was left out or never there.
    LeftOut,
    Nothing,
}

impl Contents {
    pub(crate) fn new(omit: Omit) -> Self {
        Self { omit, ..Self::default() }
    }

    /// Whether a member is one of the layers to leave out.
    pub(crate) fn leaves_out(&self, name: &str, size: u64) -> bool {
        self.omit.covers(name, size)
    }

    /// Remembers a member that was left out.
    pub(crate) fn add_left_out(&mut self, name: &str) {
        self.omitted.insert(name.to_owned());
    }

    /// The layer called `name`, which should have `digest`, stored or
    /// unpacked.
    ///
    /// # Errors
    /// [`Error::Unexpected`] where it was left out, but is not one that the engine has.
    pub(crate) fn layer<'a>(&'a self, name: &'a str, digest: &str) -> Result<Found<'a>, Error> {
        let name = self.resolve(name);
        match self.files.get(name) {
            Some(file) => Ok(Found::File(name, file)),
            None if self.omit.has(digest) => Ok(Found::LeftOut),
            None if self.omitted.contains(name) => {
                Err(Error::Unexpected(format!("{name}: was left out, but is no layer that the engine has")))
            }
            None => Ok(Found::Nothing),
        }
    }

    /// Remembers a file.
    ///
    /// # Errors
    /// [`Error::Digest`] where its name promises another one, [`Error::Malformed`]
    /// for a second file of this name with other bytes, [`Error::Unsupported`].
    pub(crate) fn add_file(&mut self, name: &str, file: File) -> Result<(), Error> {
        if let Some(digits) = promised(name)
            && file.digest()[7..] != *digits
        {
            let promised = format!("sha256:{digits}");
            return Err(Error::Digest { member: name.to_owned(), promised, actual: file.digest() });
        }
        self.keep(name.len())?;
        match self.files.insert(name.to_owned(), file.clone()) {
            Some(other) if other != file => Err(Error::malformed(name, "is there twice, with other bytes")),
            _ if self.links.contains_key(name) => Err(Error::malformed(name, "is there twice")),
            _ => Ok(()),
        }
    }

    /// Remembers a link; `from_root` is how a hard link names its target.
    ///
    /// # Errors
    /// As for a file.
    pub(crate) fn add_link(&mut self, name: &str, target: &str, from_root: bool) -> Result<(), Error> {
        let target = follow(if from_root { "" } else { name }, target)
            .ok_or_else(|| Error::malformed(name, "a link out of the archive"))?;
        self.keep(name.len() + target.len())?;
        let known = self.files.contains_key(name) || self.links.get(name).is_some_and(|other| *other != target);
        if known {
            return Err(Error::malformed(name, "is there twice"));
        }
        let inside = |other: &String| other.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
        if self.files.keys().chain(self.links.keys()).any(inside) {
            return Err(Error::malformed(name, "a link in the place of a folder"));
        }
        self.links.insert(name.to_owned(), target);
        Ok(())
    }

    /// Refuses a member inside a folder that is really a link: an engine would
    /// write it elsewhere, perhaps over a member that was held back.
    ///
    /// # Errors
    /// [`Error::Unsupported`].
    pub(crate) fn check_folders(&self, name: &str) -> Result<(), Error> {
        if self.links.is_empty() {
            return Ok(());
        }
        match name.match_indices('/').any(|(at, _)| self.links.contains_key(&name[..at])) {
            true => Err(Error::Unsupported(format!("{name}: its folder is a link"))),
            false => Ok(()),
        }
    }

    /// Room for a document of `size` bytes, or `None` where it is too large to keep.
    pub(crate) fn room_for(&mut self, size: u64) -> Option<Vec<u8>> {
        let size = usize::try_from(size).ok().filter(|size| self.kept + size <= KEPT_MAX)?;
        self.kept += size;
        Some(Vec::with_capacity(size))
    }

    pub(crate) fn add_document(&mut self, name: &str, text: Vec<u8>) {
        self.documents.insert(name.to_owned(), text);
    }

    /// The file that `name` leads to, with its own name.
    pub(crate) fn file<'a>(&'a self, name: &'a str) -> Option<(&'a str, &'a File)> {
        let name = self.resolve(name);
        self.files.get(name).map(|file| (name, file))
    }

    fn resolve<'a>(&'a self, mut name: &'a str) -> &'a str {
        for _ in 0..LINKS_MAX {
            match self.links.get(name) {
                Some(target) => name = target,
                None => break,
            }
        }
        name
    }

    /// The text of the document `name`, which is there.
    ///
    /// # Errors
    /// [`Error::Malformed`] where it is no JSON object, [`Error::Unsupported`]
    /// where it was too large to keep.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, Error> {
        match self.documents.get(name) {
            Some(text) => serde_json::from_slice(text).map_err(|error| Error::malformed(name, error)),
            None if self.kept * 2 > KEPT_MAX => {
                Err(Error::Unsupported(format!("{name}: more than {} MiB of configs and manifests", KEPT_MAX >> 20)))
            }
            None => Err(Error::malformed(name, "no JSON object")),
        }
    }

    fn keep(&mut self, len: usize) -> Result<(), Error> {
        self.kept += len;
        if self.files.len() + self.links.len() >= MEMBERS_MAX || self.kept > KEPT_MAX {
            return Err(Error::Unsupported(format!("more than {MEMBERS_MAX} members, or too long names")));
        }
        Ok(())
    }
}

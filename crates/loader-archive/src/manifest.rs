//! `manifest.json` and `repositories`: what `docker load` reads first.

use crate::content::{Coding, File};
use crate::contents::{Contents, Found};
use crate::index::{self, Index};
use crate::name::{clean, digits, familiar, promised};
use crate::spelled::Spelled;
use crate::{Error, Image, Layer};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The members without which no engine names an image.
const NAMES: [&str; 4] = ["manifest.json", "index.json", "oci-layout", "repositories"];

/// Most bytes that are held back. Real ones have a few KiB.
const HELD_MAX: usize = 2 << 20;

/// The members that are held back, as bytes of the tar.
#[derive(Default)]
pub(crate) struct Held {
    bytes: Vec<u8>,
    documents: BTreeMap<String, Range<usize>>,
}

impl Held {
    /// Whether a member of this name is held back.
    pub(crate) fn is_held(name: &str) -> bool {
        NAMES.contains(&name)
    }

    /// Begins a member with its header blocks and `size` bytes to come.
    pub(crate) fn begin(&mut self, name: &str, head: &[u8], size: u64) -> Result<(), Error> {
        let fits = usize::try_from(size).ok().filter(|size| self.bytes.len() + head.len() + size <= HELD_MAX);
        let size = fits.ok_or_else(|| Error::Unsupported(format!("{name}: more than {} MiB", HELD_MAX >> 20)))?;
        self.extend(head);
        let start = self.bytes.len();
        match self.documents.insert(name.to_owned(), start..start + size) {
            Some(_) => Err(Error::malformed(name, "is there twice")),
            None => Ok(()),
        }
    }

    /// Adds bytes of the member, padding included.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// All of it, in the order of the archive.
    pub(crate) fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// The document `name`, where it is there.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let Some(range) = self.documents.get(name) else { return Ok(None) };
        let text = self.bytes.get(range.clone()).unwrap_or_default();
        let bad = |error| Error::malformed(name, error);
        serde_json::from_slice::<Spelled>(text).map_err(bad)?;
        serde_json::from_slice(text).map(Some).map_err(bad)
    }
}

/// An entry of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// The part of a config that names the layers.
#[derive(Deserialize)]
pub(crate) struct Config {
    pub(crate) rootfs: RootFs,
}

/// The unpacked digests of the layers, lowest first.
#[derive(Deserialize)]
pub(crate) struct RootFs {
    #[serde(default)]
    pub(crate) diff_ids: Option<Vec<String>>,
}

/// The images of a whole archive, every layer and config checked.
///
/// # Errors
/// [`Error::NotArchive`] where no document names images, and whatever is missing
/// or does not match.
pub(crate) fn images(contents: &Contents, held: &Held) -> Result<Vec<Image>, Error> {
    let entries: Option<Vec<Entry>> = held.json("manifest.json")?;
    let index = index::read(contents, held)?;
    let Some(entries) = entries else {
        return match index {
            Some(index) => not_empty(index.images),
            None if held.json::<serde::de::IgnoredAny>("repositories")?.is_some() => {
                Err(Error::Unsupported("an archive of Docker before 1.10, without manifest.json".to_owned()))
            }
            None => Err(Error::NotArchive { looks_like: "a tar without manifest.json and index.json" }),
        };
    };
    let mut images =
        entries.into_iter().map(|entry| image(contents, entry)).collect::<Result<Vec<_>, _>>().and_then(not_empty)?;
    if let Some(index) = &index {
        for image in &mut images {
            let absent = || Error::malformed("index.json", format!("does not name {}", image.label()));
            let same = index.image(image.config.as_deref().unwrap_or_default()).ok_or_else(absent)?;
            let names: BTreeSet<String> = same.tags.iter().map(|tag| familiar(tag, true)).collect();
            if !index.names.is_empty() && !image.tags.iter().all(|tag| names.contains(&familiar(tag, true))) {
                return Err(absent());
            }
            image.manifest = same.manifest.clone();
        }
    }
    check_names(&images, held, index.as_ref())?;
    Ok(images)
}

fn not_empty(images: Vec<Image>) -> Result<Vec<Image>, Error> {
    if images.is_empty() { Err(Error::malformed("manifest.json", "names no image")) } else { Ok(images) }
}

fn image(contents: &Contents, entry: Entry) -> Result<Image, Error> {
    let tags = entry.repo_tags.unwrap_or_default();
    let label = tags.first().cloned().unwrap_or_else(|| entry.config.clone());
    let missing = |what: &str| Error::Missing { image: label.clone(), what: what.to_owned() };
    let config_name = clean(&entry.config)?;
    let (config, file) = contents.file(&config_name).ok_or_else(|| missing(&entry.config))?;
    if promised(config).is_none() {
        return Err(Error::Unsupported(format!("{config}: a config whose name does not tell its digest")));
    }
    let diff_ids = contents.json::<Config>(config)?.rootfs.diff_ids.unwrap_or_default();
    let paths = entry.layers.unwrap_or_default();
    if paths.len() != diff_ids.len() {
        let why = format!("{label} has {} layers, its config has {}", paths.len(), diff_ids.len());
        return Err(Error::malformed("manifest.json", why));
    }
    let layer = |(path, diff_id): (&String, &String)| {
        let name = clean(path)?;
        match contents.layer(&name, diff_id)? {
            Found::File(member, file) => {
                check_layer(member, file, diff_id)?;
                let (digest, size) = (Some(file.digest()), Some(file.size));
                Ok(Layer { diff_id: Some(diff_id.clone()), digest, size })
            }
            Found::LeftOut => Ok(Layer { diff_id: Some(diff_id.clone()), ..Layer::default() }),
            Found::Nothing => Err(missing(path)),
        }
    };
    let layers = paths.iter().zip(&diff_ids).map(layer).collect::<Result<_, Error>>()?;
    Ok(Image { config: Some(file.digest()), manifest: None, tags, layers })
}

/// Checks that `file` is the layer `diff_id`.
pub(crate) fn check_layer(member: &str, file: &File, diff_id: &str) -> Result<(), Error> {
    if digits(diff_id).is_none() {
        return Err(Error::malformed(member, "its config promises something other than a SHA-256"));
    }
    match file.diff_id() {
        Some(actual) if actual == diff_id => Ok(()),
        Some(actual) => Err(Error::Digest { member: member.to_owned(), promised: diff_id.to_owned(), actual }),
        // The blob's own digest was checked as it passed, and unpacking is the
        // engine's work.
        None if promised(member).is_some() => Ok(()),
        None => {
            let coding = if let Coding::Other(coding) = file.coding { coding } else { "gzip" };
            Err(Error::Unsupported(format!(
                "{member}: a layer packed with {coding} whose name does not tell its digest"
            )))
        }
    }
}

/// No digest covers the names. They often stand in two documents, though, and
/// then they must agree.
fn check_names(images: &[Image], held: &Held, index: Option<&Index>) -> Result<(), Error> {
    let tags: BTreeSet<String> = images.iter().flat_map(|image| &image.tags).map(|tag| familiar(tag, true)).collect();
    let repositories: BTreeMap<String, BTreeMap<String, String>> = held.json("repositories")?.unwrap_or_default();
    let also = repositories
        .iter()
        .flat_map(|(name, tags)| tags.keys().map(move |tag| familiar(&format!("{name}:{tag}"), true)))
        .collect();
    agree(&tags, &also, "repositories")?;
    match index {
        Some(index) => agree(&tags, &index.names, "index.json"),
        None => Ok(()),
    }
}

fn agree(tags: &BTreeSet<String>, also: &BTreeSet<String>, place: &str) -> Result<(), Error> {
    let only = |name: &String, here: &str, there: &str| {
        Error::malformed("manifest.json", format!("the names contradict {place}: {name} is in {here}, not in {there}"))
    };
    if also.is_empty() {
        return Ok(());
    }
    match (tags.difference(also).next(), also.difference(tags).next()) {
        (Some(name), _) => Err(only(name, "manifest.json", place)),
        (None, Some(name)) => Err(only(name, place, "manifest.json")),
        (None, None) => Ok(()),
    }
}

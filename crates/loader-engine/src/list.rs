//! The images that an engine lists.

use crate::{Engine, Error, Store};
use loader_archive::Reference;
use serde::Deserialize;
use std::collections::{BTreeSet, HashMap};

/// Maximum number of images that are inspected for their layers.
const INSPECTED_MAX: usize = 500;

/// Maximum number of requests for the list: podman 4 fails if an image is removed during the
/// request.
const LIST_ATTEMPTS: usize = 4;

/// The list of an engine's images.
#[derive(Debug, Default)]
pub struct Listing {
    /// Images by their canonical name.
    names: HashMap<String, Listed>,
    ids: BTreeSet<String>,
}

/// An image by one of its names.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// The name as the engine writes it.
    pub(crate) name: String,
    pub(crate) id: String,
    /// True if the whole image is in the store; `None` if the engine does not report it.
    pub(crate) is_available: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    id: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    manifests: Option<Vec<Manifest>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Manifest {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    available: bool,
}

impl Engine {
    /// Lists the images of the engine.
    ///
    /// # Errors
    /// Errors of the connection, [`Error::Protocol`].
    pub fn list(&self) -> Result<Listing, Error> {
        let path = if self.store() == Store::Containerd { "/images/json?manifests=1" } else { "/images/json" };
        let entries = (1..LIST_ATTEMPTS).find_map(|_| match self.json::<Vec<Entry>>(path) {
            Err(Error::Status { status: 500.., .. }) => None,
            other => Some(other),
        });
        let entries = entries.unwrap_or_else(|| self.json(path))?.unwrap_or_default();
        let mut listing = Listing::default();
        for Entry { id, repo_tags, manifests } in entries {
            let images = manifests.map(|all| all.into_iter().filter(|m| m.kind == "image").collect::<Vec<_>>());
            let is_available = images.map(|all| all.iter().any(|image| image.available));
            for name in repo_tags.unwrap_or_default() {
                let listed = Listed { name: name.clone(), id: id.clone(), is_available };
                listing.names.insert(canonical(&name), listed);
            }
            listing.ids.insert(plain(&id).to_owned());
        }
        Ok(listing)
    }

    /// Returns the uncompressed digests of the layers of each image, lowest first, for the
    /// first five hundred images.
    ///
    /// # Errors
    /// As for [`Engine::list`].
    pub fn chains(&self) -> Result<Vec<Vec<String>>, Error> {
        let ids = self.list()?.ids;
        let layers = ids.iter().take(INSPECTED_MAX).map(|id| Ok(self.inspect(id)?.map(|found| found.layers())));
        Ok(layers.collect::<Result<Vec<_>, Error>>()?.into_iter().flatten().collect())
    }
}

impl Listing {
    /// Returns the image with the name `tag`.
    pub(crate) fn named(&self, tag: &str) -> Option<&Listed> {
        self.names.get(&canonical(tag))
    }

    /// Returns the image that podman would use for the name `tag`: also the one with the
    /// prefix `localhost/`, which podman adds to images that it has built. Docker has no such
    /// names.
    pub(crate) fn resolve(&self, tag: &str) -> Option<&Listed> {
        self.named(tag).or_else(|| self.named(&format!("localhost/{tag}")))
    }

    /// Returns true if the engine lists an image with this id.
    pub(crate) fn has_id(&self, id: &str) -> bool {
        self.ids.contains(plain(id))
    }
}

/// Returns the canonical form of a name, or the name itself if it cannot be parsed.
fn canonical(name: &str) -> String {
    Reference::parse(name).map_or_else(|_| name.to_owned(), |reference| reference.canonical())
}

/// Returns an id without its algorithm, which some responses omit.
pub(crate) fn plain(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}

//! What the engine has.

use crate::{Engine, Error, Store};
use loader_archive::familiar;
use serde::Deserialize;
use std::collections::HashMap;

/// Most images whose layers are asked for one by one.
const ASKED_MAX: usize = 500;

/// The list of an engine's images.
#[derive(Debug, Default)]
pub struct Listing {
    /// Whether a short name stands for one under `localhost/`, as podman has it.
    completes_locally: bool,
    names: HashMap<String, Listed>,
    ids: Vec<String>,
}

/// An image by one of its names.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// The name as the engine writes it.
    pub(crate) name: String,
    pub(crate) id: String,
    /// Whether all of it is there, where the engine tells.
    pub(crate) available: Option<bool>,
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
    /// The images that the engine lists.
    ///
    /// # Errors
    /// Those of the connection, [`Error::Protocol`].
    pub fn list(&self) -> Result<Listing, Error> {
        let path = if self.store() == Store::Containerd { "/images/json?manifests=1" } else { "/images/json" };
        let entries: Vec<Entry> = self.json(path)?.unwrap_or_default();
        let mut listing = Listing { completes_locally: self.completes_locally(), ..Listing::default() };
        for Entry { id, repo_tags, manifests } in entries {
            let images = manifests.map(|all| all.into_iter().filter(|m| m.kind == "image").collect::<Vec<_>>());
            let available = images.map(|all| all.iter().any(|image| image.available));
            for name in repo_tags.unwrap_or_default() {
                let listed = Listed { name: name.clone(), id: id.clone(), available };
                listing.names.insert(listing.key(&name), listed);
            }
            listing.ids.push(id);
        }
        Ok(listing)
    }

    /// Whether a short name stands for one under `localhost/`, as podman has it.
    pub fn completes_locally(&self) -> bool {
        self.store() == Store::Podman
    }

    /// The unpacked digests of the layers of each image, lowest first, of the
    /// first five hundred images.
    ///
    /// # Errors
    /// As for [`Engine::list`].
    pub fn chains(&self) -> Result<Vec<Vec<String>>, Error> {
        let ids = self.list()?.ids;
        let layers = ids.iter().take(ASKED_MAX).map(|id| Ok(self.inspect(id)?.map(|found| found.layers())));
        Ok(layers.collect::<Result<Vec<_>, Error>>()?.into_iter().flatten().collect())
    }
}

impl Listing {
    /// The image called `tag`, however the engine completes names.
    pub(crate) fn named(&self, tag: &str) -> Option<&Listed> {
        self.names.get(&self.key(tag))
    }

    /// What names that mean the same image have in common.
    fn key(&self, name: &str) -> String {
        familiar(name, self.completes_locally)
    }
}

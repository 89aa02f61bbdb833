//! Whether an image is there: its id alone, or an answer to its name alone, gave
//! false positives, so all of it is asked for.

use crate::http::escape;
use crate::{Engine, Error, Listing, Store};
use loader_archive::Image;
use serde::{Deserialize, Serialize};

/// An image that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The id by which the engine knows it.
    pub id: String,
    /// Its names.
    pub tags: Vec<String>,
}

/// Why an image does not count as present.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{image}: {why}")]
pub struct Absence {
    /// Name or id of the image.
    pub image: String,
    /// What is missing or different.
    pub why: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Inspected {
    id: String,
    #[serde(default, rename = "RootFS")]
    root_fs: Option<RootFs>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RootFs {
    #[serde(default)]
    layers: Option<Vec<String>>,
}

impl Inspected {
    pub(crate) fn layers(self) -> Vec<String> {
        self.root_fs.and_then(|root| root.layers).unwrap_or_default()
    }
}

impl Engine {
    pub(crate) fn inspect(&self, name: &str) -> Result<Option<Inspected>, Error> {
        self.json(&format!("/images/{}/json", escape(name)))
    }

    /// Asks for `image` by each of its names (by its id where it has none): it
    /// must be listed, have the id and the layers that it should have, and be
    /// available where the engine tells.
    ///
    /// # Errors
    /// Those of the connection; an image that is not there is the inner error.
    pub fn check(&self, image: &Image, listing: &Listing) -> Result<Result<Found, Absence>, Error> {
        let id = match self.store() {
            Store::Containerd => image.manifest.as_deref(),
            Store::Docker | Store::Podman => image.config.as_deref(),
        };
        let absent = |why: &str| Ok(Err(Absence { image: image.label().to_owned(), why: why.to_owned() }));
        if id.is_none() && image.diff_ids().is_none() {
            return absent("neither id nor layers are known to compare with");
        }
        let mut found_id = None;
        let names: Vec<Option<&str>> = match image.tags.is_empty() {
            true => vec![None],
            false => image.tags.iter().map(|tag| Some(tag.as_str())).collect(),
        };
        for tag in names {
            let listed = match tag.map(|tag| listing.named(tag).ok_or(tag)).transpose() {
                Ok(listed) => listed,
                Err(tag) => return Ok(Err(Absence { image: tag.to_owned(), why: "not listed by the engine".into() })),
            };
            let Some(name) = listed.map(|listed| listed.name.as_str()).or(id) else {
                return absent("it has no name, and its id on this engine is not known");
            };
            let wrong = |why: &str| Ok(Err(Absence { image: name.to_owned(), why: why.to_owned() }));
            let Some(inspected) = self.inspect(name)? else { return wrong("not known to the engine") };
            if id.is_some_and(|id| plain(id) != plain(&inspected.id)) {
                return wrong("another image has this name");
            }
            if listed.is_some_and(|listed| plain(&listed.id) != plain(&inspected.id)) {
                return wrong("listed with another id");
            }
            if listed.is_some_and(|listed| listed.available == Some(false)) {
                return wrong("listed, but not all of it is there");
            }
            let engine_id = inspected.id.clone();
            if image.diff_ids().is_some_and(|layers| layers != inspected.layers()) {
                return wrong("it has other layers");
            }
            found_id = Some(engine_id);
        }
        let id = found_id.unwrap_or_default();
        Ok(Ok(Found { id: format!("sha256:{}", plain(&id)), tags: image.tags.clone() }))
    }
}

/// An id without its algorithm; some answers leave it out.
fn plain(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}

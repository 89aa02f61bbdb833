//! Check whether an image is in the engine and can be used. A check of the id alone, or of the
//! name alone, had false positives, so id, names, layers and use are all checked.

use crate::http::escape;
use crate::list::plain;
use crate::{Engine, Error, Listing, Store};
use loader_archive::{Image, Platform, Reference};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// An image that the engine has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The id on this engine.
    pub id: String,
    /// Its names, such as `app:1.4`; podman's may begin with `localhost/`.
    pub tags: Vec<String>,
}

/// Reason why an image is not considered present.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{image}: {why}")]
pub struct Absence {
    /// Name or id of the image.
    pub image: String,
    /// Description of the missing or different property.
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

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
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

    /// Returns the id that `image` has on this engine, if it is known.
    pub(crate) fn id_of<'a>(&self, image: &'a Image) -> Option<&'a str> {
        match self.store() {
            Store::Containerd => image.manifest.as_deref(),
            Store::Docker | Store::Podman => image.config.as_deref(),
        }
    }

    /// Checks `image` by each of its names, or by its id if it has none: it must be listed,
    /// have the expected id and layers, be available if the engine reports that, and be
    /// usable for a container.
    ///
    /// # Errors
    /// Errors of the connection. The inner error describes an absent image.
    pub fn check(&self, image: &Image, listing: &Listing) -> Result<Result<Found, Absence>, Error> {
        let id = self.id_of(image);
        let absent = |why: &str| Ok(Err(Absence { image: image.label().to_owned(), why: why.to_owned() }));
        if id.is_none() && image.diff_ids().is_none() {
            return absent("neither its id nor its layers are known");
        }
        let names: Vec<Option<&str>> = match image.tags.is_empty() {
            true => vec![None],
            false => image.tags.iter().map(|tag| Some(tag.as_str())).collect(),
        };
        let mut found = Found { id: String::new(), tags: Vec::new() };
        for tag in names {
            let lookup = |tag| match self.store() {
                Store::Podman => listing.resolve(tag),
                Store::Docker | Store::Containerd => listing.named(tag),
            };
            let listed = match tag.map(|tag| lookup(tag).ok_or(tag)).transpose() {
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
            if listed.is_some_and(|listed| listed.is_available == Some(false)) {
                return wrong("listed, but not all of it is there");
            }
            let engine_id = format!("sha256:{}", plain(&inspected.id));
            if self.reports_layers_of(image) && image.diff_ids().is_some_and(|layers| layers != inspected.layers()) {
                return wrong("it has other layers");
            }
            if found.id != engine_id
                && let Err(why) = self.try_use(name, image)?
            {
                return wrong(&why);
            }
            found.id = engine_id;
            // Users and clients of the engine write docker.io/library/app:1 as app:1.
            let shown = |name: &String| Reference::parse(name).map_or_else(|_| name.clone(), |name| name.to_string());
            found.tags.extend(listed.map(|listed| shown(&listed.name)));
        }
        Ok(Ok(found))
    }

    /// Returns true if the engine reports the layers of this image: for an index, it reports
    /// only those of its own platform.
    fn reports_layers_of(&self, image: &Image) -> bool {
        self.store() != Store::Containerd || self.runs(image)
    }

    fn runs(&self, image: &Image) -> bool {
        let platform = image.platform.as_deref().and_then(|text| Platform::parse(text).ok());
        platform.is_none_or(|platform| platform.fit(self.platform()).is_some())
    }

    /// Creates a container from the image and removes it without starting it. The
    /// containerd image store also lists images that it could not unpack, and this is the
    /// cheapest proof that it did. The other stores list only images that they have unpacked.
    fn try_use(&self, name: &str, image: &Image) -> Result<Result<(), String>, Error> {
        if self.store() != Store::Containerd || !self.runs(image) {
            return Ok(Ok(()));
        }
        let platform = image.platform.as_deref().map(|platform| format!("?platform={}", escape(platform)));
        let path = format!("/containers/create{}", platform.unwrap_or_default());
        // The container can be created even if the image defines no command.
        let body = json!({"Image": name, "Entrypoint": ["/"], "HostConfig": {"NetworkMode": "none"}}).to_string();
        match self.call::<Created>("POST", &path, &body) {
            Ok(Created { id }) => {
                self.act("DELETE", &format!("/containers/{}?v=1&force=1", escape(&id)))?;
                Ok(Ok(()))
            }
            Err(Error::Status { message, .. }) => Ok(Err(format!("it cannot be used: {message}"))),
            Err(error) => Err(error),
        }
    }
}

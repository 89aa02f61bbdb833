//! Restores the tags after a failed load.

use crate::http::escape;
use crate::list::plain;
use crate::{Engine, Error, Listing};
use loader_archive::{Image, Reference};
use std::collections::BTreeSet;

/// Prefix of the temporary names.
const KEPT: &str = "az-load-kept";

/// Temporary names for images that lose their names to new images during a load. Docker
/// before 28 with the containerd image store would delete such an image during the load, and
/// its name could not be restored.
#[derive(Debug, Default)]
#[must_use]
pub struct KeptImages {
    names: BTreeSet<String>,
}

impl Engine {
    /// Adds a temporary name to each image in `before` that loses a name to one of
    /// `images`, if the engine deletes images without a name.
    ///
    /// # Errors
    /// Errors of the connection, [`Error::Status`].
    pub fn keep_replaced(&self, before: &Listing, images: &[Image]) -> Result<KeptImages, Error> {
        let mut kept = KeptImages::default();
        if !self.deletes_replaced_images() {
            return Ok(kept);
        }
        for image in images {
            for old in image.tags.iter().filter_map(|tag| before.named(tag)) {
                if self.id_of(image).is_none_or(|new| plain(new) != plain(&old.id)) {
                    let name = format!("{KEPT}:{}", plain(&old.id));
                    if !kept.names.contains(&name) {
                        self.tag(&old.id, &name)?;
                        kept.names.insert(name);
                    }
                }
            }
        }
        Ok(kept)
    }

    /// Removes the temporary names. Returns those that could not be removed.
    pub fn release(&self, kept: KeptImages) -> Vec<String> {
        // With force, an image that a container uses loses only the name.
        let remove = |name: &String| self.act("DELETE", &format!("/images/{}?force=1", escape(name))).is_err();
        kept.names.into_iter().filter(remove).collect()
    }

    /// Removes the tags of `images` that are new since `before`, restores the tags that now
    /// name another image, and removes new images that have no name then. Returns
    /// the tags that could not be restored.
    ///
    /// # Errors
    /// Errors of the connection.
    pub fn restore(&self, before: &Listing, images: &[Image]) -> Result<Vec<String>, Error> {
        let now = self.list()?;
        let mut failed = Vec::new();
        for tag in images.iter().flat_map(|image| &image.tags) {
            let (old, new) = (before.named(tag), now.named(tag));
            let outcome = match (old, new) {
                (None, None) => Ok(()),
                (None, Some(new)) => self.remove(&new.name),
                (Some(old), Some(new)) if plain(&old.id) == plain(&new.id) => Ok(()),
                (Some(old), _) => self.tag(&old.id, &old.name),
            };
            if outcome.is_err() {
                failed.push(tag.clone());
            }
        }
        let now = self.list()?;
        for id in images.iter().filter_map(|image| self.id_of(image)) {
            if now.has_id(id) && !before.has_id(id) {
                // An image without a name would only use space.
                let _ = self.remove(id);
            }
        }
        Ok(failed)
    }

    /// Removes a name, and the image if it was the last one.
    fn remove(&self, name: &str) -> Result<(), Error> {
        self.act("DELETE", &format!("/images/{}", escape(name)))
    }

    /// Adds the name `name` to the image `id`.
    fn tag(&self, id: &str, name: &str) -> Result<(), Error> {
        let (repository, tag) = match Reference::parse(name) {
            Ok(reference) => (reference.repository(), reference.tag().to_owned()),
            Err(_) => return Err(Error::Protocol(format!("{name}: a name that cannot be restored"))),
        };
        let query = format!("repo={}&tag={}", escape(&repository), escape(&tag));
        self.act("POST", &format!("/images/{}/tag?{query}", escape(id)))
    }
}

//! Puts the tags back after a load that went wrong.
//!
//! Docker 26 with the containerd image store deletes an image that loses its last name to
//! another one. Such an image gets a second name during the load, so that it can be put
//! back.

use crate::http::escape;
use crate::list::plain;
use crate::{Engine, Error, Listing};
use loader_archive::{Image, Reference};
use serde::de::IgnoredAny;

/// Repository of the names that images have during a load.
const KEPT: &str = "az-load-kept";

/// Images with a second name during a load.
#[derive(Debug, Default)]
pub struct KeptImages {
    names: Vec<String>,
}

impl Engine {
    /// Gives a second name to the images that would be deleted when `images` take their
    /// tags.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn keep_replaced(&self, before: &Listing, images: &[Image]) -> Result<KeptImages, Error> {
        let mut kept = KeptImages::default();
        if self.keeps_nameless_images() {
            return Ok(kept);
        }
        for image in images {
            for old in image.tags.iter().filter_map(|tag| before.named(tag)) {
                let id = plain(&old.id);
                if self.id_of(image).is_some_and(|new| plain(new) == id) {
                    continue;
                }
                let name = format!("{KEPT}:{}", &id[..id.len().min(16)]);
                self.tag(&old.id, &name)?;
                kept.names.push(name);
            }
        }
        Ok(kept)
    }

    /// Removes the second names.
    pub fn release(&self, kept: &KeptImages) {
        for name in &kept.names {
            // Left behind, it costs space and a line in a list; the next load of these
            // images removes it.
            let _ = self.remove(name);
        }
    }

    /// Removes the tags of `images` that are new since `before`, puts those back that now
    /// name another image, and removes the images themselves if they are new and have no
    /// other name. Returns the tags that could not be restored.
    ///
    /// # Errors
    /// Those of the connection.
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
                // Without a name it is garbage that nobody would find.
                let _ = self.remove(id);
            }
        }
        Ok(failed)
    }

    /// Removes a name, and the image if it was the last one.
    fn remove(&self, name: &str) -> Result<(), Error> {
        self.call::<IgnoredAny>("DELETE", &format!("/images/{}", escape(name)), "").map(drop)
    }

    /// Gives the image `id` the name `name`.
    fn tag(&self, id: &str, name: &str) -> Result<(), Error> {
        let (repository, tag) = match Reference::parse(name) {
            Ok(reference) => (reference.repository(), reference.tag().to_owned()),
            Err(_) => return Err(Error::Protocol(format!("{name}: a name that cannot be restored"))),
        };
        let query = format!("repo={}&tag={}", escape(&repository), escape(&tag));
        self.call::<IgnoredAny>("POST", &format!("/images/{}/tag?{query}", escape(id)), "").map(drop)
    }
}

//! Puts the tags back after a load that went wrong.

use crate::http::escape;
use crate::list::plain;
use crate::{Engine, Error, Listing};
use loader_archive::{Image, Reference};
use serde::de::IgnoredAny;

impl Engine {
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

//! Which images of an archive are loaded.

use crate::compression::Compression;
use crate::model::{Candidate, ImageContent, Root};
use crate::{Archive, Error, Image, Platform, Reference};

/// The platforms to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlatformChoice {
    /// The platform of the engine; an archive with one image may have another
    /// architecture.
    Engine(Platform),
    /// This platform and no other.
    Only(Platform),
    /// Every platform in the archive.
    All,
}

/// The images of one root that are loaded, with at least one.
#[derive(Debug)]
pub struct Selected<'a> {
    pub(crate) root: &'a Root,
    pub(crate) tags: Vec<Reference>,
    pub(crate) images: Vec<&'a ImageContent>,
    /// Platforms in the archive that are not loaded.
    pub other_platforms: Vec<Platform>,
    /// True for `--all-platforms`.
    pub(crate) is_all: bool,
}

impl Archive {
    /// Selects the images to load. `extra_tags` are added to the only image of the
    /// archive.
    ///
    /// # Errors
    /// [`Error::Platform`] if the archive has no image for the platform,
    /// [`Error::Unsupported`] for an image of another operating system,
    /// [`Error::Unexpected`] if there are several images for `extra_tags`; what is wrong
    /// with a selected image.
    pub fn select(&self, choice: &PlatformChoice, extra_tags: &[Reference]) -> Result<Vec<Selected<'_>>, Error> {
        let mut selected = self.roots.iter().map(|root| root.select(choice)).collect::<Result<Vec<_>, Error>>()?;
        if extra_tags.is_empty() {
            return Ok(selected);
        }
        let [only] = selected.as_mut_slice() else {
            return Err(Error::Unexpected(format!("the archive has {} images; a tag is for one", selected.len())));
        };
        for tag in extra_tags {
            if !only.tags.contains(tag) {
                only.tags.push(tag.clone());
            }
        }
        Ok(selected)
    }
}

impl Root {
    fn select(&self, choice: &PlatformChoice) -> Result<Selected<'_>, Error> {
        let chosen: Vec<&Candidate> = match (choice, self.candidates.as_slice()) {
            (PlatformChoice::Engine(_), [only]) => vec![only],
            (PlatformChoice::Engine(machine) | PlatformChoice::Only(machine), _) => vec![self.best(machine)?],
            (PlatformChoice::All, [only]) => vec![only],
            (PlatformChoice::All, all) => {
                // What is absent cannot be loaded, and nobody asked for it alone.
                all.iter().filter(|one| !matches!(one.content, Err(Error::Missing { .. }))).collect()
            }
        };
        let mut images = Vec::with_capacity(chosen.len());
        for candidate in &chosen {
            let content = candidate.content.as_ref().map_err(Error::restated)?;
            let os = &content.platform.os;
            if !os.is_empty() && os != "linux" && *choice != PlatformChoice::All {
                return Err(Error::Unsupported(format!("{}: an image for the operating system {os}", self.label())));
            }
            images.push(content);
        }
        if images.is_empty() {
            let what = "an image with all of its layers".to_owned();
            return Err(Error::Missing { image: self.label(), what });
        }
        let is_other = |candidate: &&Candidate| !chosen.iter().any(|one| std::ptr::eq(*one, *candidate));
        let other_platforms = self.candidates.iter().filter(is_other).map(|one| one.platform.clone()).collect();
        let is_all = *choice == PlatformChoice::All;
        Ok(Selected { root: self, tags: self.tags.clone(), images, other_platforms, is_all })
    }

    fn best(&self, machine: &Platform) -> Result<&Candidate, Error> {
        let fit = |candidate: &&Candidate| candidate.platform.fit(machine);
        // The first of equals: `max_by_key` alone would take the last.
        let best = self.candidates.iter().rev().filter(|one| fit(one).is_some()).max_by_key(fit);
        best.ok_or_else(|| {
            let mut available: Vec<String> = self.candidates.iter().map(|one| one.platform.to_string()).collect();
            available.dedup();
            Error::Platform { image: self.label(), wanted: machine.to_string(), available: available.join(", ") }
        })
    }
}

impl Selected<'_> {
    /// Returns the name for messages.
    pub fn label(&self) -> String {
        self.tags.first().map_or_else(|| self.root.label(), ToString::to_string)
    }

    /// Returns the compressions of the layers.
    pub fn compressions(&self) -> impl Iterator<Item = Compression> {
        self.images.iter().flat_map(|image| &image.layers).filter_map(|layer| layer.blob?.compression)
    }

    /// Returns the platforms that are loaded.
    pub fn platforms(&self) -> impl Iterator<Item = &Platform> {
        self.images.iter().map(|image| &image.platform)
    }
}

/// Selects those of the listed `images` that a load for `machine` would select.
pub fn select_listed(images: &[Image], machine: &Platform) -> Vec<Image> {
    let platform = |image: &Image| image.platform.as_deref().and_then(|text| Platform::parse(text).ok());
    let fit = |image: &&Image| platform(image).and_then(|platform| platform.fit(machine));
    let mut selected: Vec<Image> = Vec::new();
    for image in images {
        let is_same_root =
            |other: &&Image| other.tags == image.tags && other.manifest == image.manifest && image.manifest.is_some();
        let group: Vec<&Image> = images.iter().filter(is_same_root).collect();
        let best = group.iter().rev().copied().max_by_key(fit).unwrap_or(image);
        if group.len() < 2 || std::ptr::eq(best, image) {
            selected.push(image.clone());
        }
    }
    selected
}

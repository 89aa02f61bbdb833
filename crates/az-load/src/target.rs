//! Receiver of the images: the engine's socket or a command.

use loader_archive::{
    Compression, Error as ArchiveError, LayerNames, Layout, Platform, PlatformChoice, Selected, fits_one_oci_image,
};
use loader_engine::{Engine, Error as EngineError, Program, Store, Target};
use loader_stage::{ErrorCode, Failure};
use std::path::Path;

/// Receiver of the images.
pub(crate) enum LoadTarget {
    Engine(Engine),
    Command(String),
}

impl LoadTarget {
    /// Opens a connection, or starts the command.
    pub(crate) fn open(&self) -> Result<Target, EngineError> {
        match self {
            Self::Engine(engine) => engine.upload().map(Target::Engine),
            Self::Command(command) => Program::start(command).map(Target::Program),
        }
    }

    /// Returns the engine; `None` for a command.
    pub(crate) fn engine(&self) -> Option<&Engine> {
        match self {
            Self::Engine(engine) => Some(engine),
            Self::Command(_) => None,
        }
    }

    /// Returns the platforms to load if the command line names none: those of the engine,
    /// or of this machine.
    pub(crate) fn own_platform(&self) -> PlatformChoice {
        PlatformChoice::Engine(match self {
            Self::Engine(engine) => engine.platform().clone(),
            Self::Command(_) => Platform::new("linux", std::env::consts::ARCH, ""),
        })
    }

    /// Returns the names of the layers that are sent.
    pub(crate) fn layer_names(&self) -> Result<LayerNames, Failure> {
        if self.engine().is_some_and(|engine| engine.store() == Store::Podman) {
            return Ok(LayerNames::Digest);
        }
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|error| Failure::new(ErrorCode::Io, format_args!("no random bytes: {error}")))?;
        Ok(LayerNames::Unique(format!("{:016x}", u64::from_le_bytes(random))))
    }

    /// Returns the layout that the engine's store reads best.
    pub(crate) fn layout(&self, selected: &[Selected<'_>]) -> Layout {
        match self {
            Self::Engine(engine) => match engine.store() {
                Store::Docker => Layout::Docker,
                Store::Containerd => Layout::OciIndexes,
                // podman reads one image of an OCI layout, and several of Docker's.
                Store::Podman if fits_one_oci_image(selected) => Layout::OciManifests,
                Store::Podman => Layout::Docker,
            },
            Self::Command(command) => {
                let program = command.split_whitespace().next().unwrap_or_default();
                match Path::new(program).file_name().and_then(|name| name.to_str()) {
                    Some("ctr" | "nerdctl") => Layout::OciManifests,
                    _ => Layout::Docker,
                }
            }
        }
    }

    /// Refuses images that this engine cannot read.
    ///
    /// # Errors
    /// [`ArchiveError::Unsupported`].
    pub(crate) fn check_support(&self, selected: &[Selected<'_>]) -> Result<(), ArchiveError> {
        let Some(engine) = self.engine().filter(|engine| !engine.reads_zstd()) else { return Ok(()) };
        match selected.iter().find(|one| one.compressions().any(|compression| compression == Compression::Zstd)) {
            Some(one) => Err(ArchiveError::Unsupported(format!(
                "{}: has layers that are compressed with zstd; Docker {} cannot read them, 23 and newer can",
                one.label(),
                engine.version()
            ))),
            None => Ok(()),
        }
    }
}

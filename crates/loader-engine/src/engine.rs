//! Which engine it is.

use crate::answer::read_lines;
use crate::http::{self, lost};
use crate::{Error, Host, Upload};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an engine may take for an answer; a busy one is slow with its list.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Longest answer in bytes; the list of ten thousand images is shorter.
const ANSWER_MAX: u64 = 32 << 20;

/// How an engine keeps its images, which decides by what id it knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Docker's own store: the id is the digest of the config.
    Docker,
    /// Docker with the containerd image store: the id is the digest of the manifest.
    Containerd,
    /// Podman: the id is the digest of the config.
    Podman,
}

/// Whether an archive has room under the engine's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Not known: the folder is on another machine.
    Unknown,
    /// Enough.
    Enough,
    /// Enough for the archive, perhaps not for what it unpacks to.
    Little,
    /// The load would fail: Docker's own store takes the whole archive into its
    /// folder before it unpacks anything.
    TooLittle,
}

/// An engine that answers.
#[derive(Clone, Debug)]
pub struct Engine {
    host: Host,
    version: String,
    store: Store,
    root: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version: String,
    #[serde(default)]
    components: Vec<Component>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Component {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    #[serde(default)]
    driver_status: Option<Vec<Vec<String>>>,
    #[serde(default)]
    docker_root_dir: Option<PathBuf>,
    /// The machine's name.
    #[serde(default)]
    name: Option<String>,
}

impl Engine {
    /// Asks the engine at `host` who it is.
    ///
    /// # Errors
    /// [`Error::NotThere`], [`Error::NotPermitted`], [`Error::Protocol`] where
    /// something else listens there.
    pub fn connect(host: Host) -> Result<Self, Error> {
        let ping = http::get(&host, "/_ping", TIMEOUT)?;
        if ping.status != 200 {
            return Err(Error::Protocol(format!("HTTP status {} to a ping", ping.status)));
        }
        let mut engine = Self { host, version: String::new(), store: Store::Docker, root: None };
        let none = || Error::Protocol("no version".to_owned());
        let version: Version = engine.json("/version")?.ok_or_else(none)?;
        let info: Info = engine.json("/info")?.ok_or_else(none)?;
        let podman = version.components.iter().any(|component| component.name.starts_with("Podman"));
        let containerd =
            info.driver_status.iter().flatten().flatten().any(|text| text == "io.containerd.snapshotter.v1");
        engine.version = version.version;
        engine.store = match (podman, containerd) {
            (true, _) => Store::Podman,
            (false, true) => Store::Containerd,
            (false, false) => Store::Docker,
        };
        // A socket may lead to another machine, which has such a folder too.
        engine.root = info.docker_root_dir.filter(|_| info.name.is_some() && info.name == this_machine());
        Ok(engine)
    }

    /// Its version, such as `20.10.24`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// How it keeps its images.
    pub fn store(&self) -> Store {
        self.store
    }

    /// The folder of its images, where that is on this machine.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref().filter(|root| root.is_dir())
    }

    /// Bytes free under [`Engine::root`].
    pub fn free_space(&self) -> Option<u64> {
        let space = rustix::fs::statvfs(self.root()?).ok()?;
        space.f_bavail.checked_mul(space.f_frsize)
    }

    /// Whether an archive of `len` bytes has room.
    pub fn room(&self, len: u64) -> Room {
        match self.free_space() {
            None => Room::Unknown,
            Some(free) if self.store == Store::Docker && free < len => Room::TooLittle,
            Some(free) if free / 2 < len => Room::Little,
            Some(_) => Room::Enough,
        }
    }

    /// Opens a request that loads an archive.
    ///
    /// # Errors
    /// Those of [`Upload::begin`].
    pub fn upload(&self) -> Result<Upload, Error> {
        Upload::begin(&self.host)
    }

    /// The answer to `path`; `None` where there is no such thing.
    pub(crate) fn json<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Error> {
        const WHEN: &str = "while it was asked";
        let answer = http::get(&self.host, path, TIMEOUT)?;
        match answer.status {
            200 => {
                let body = BufReader::with_capacity(16 * 1024, answer.body.take(ANSWER_MAX));
                serde_json::from_reader(body).map(Some).map_err(|error| match error.is_io() {
                    true => lost(error.into(), WHEN, TIMEOUT),
                    false => Error::Protocol(format!("{path}: {error}")),
                })
            }
            404 => Ok(None),
            status => {
                let mut message = format!("HTTP status {status} to {path}");
                read_lines(
                    answer.body.take(ANSWER_MAX),
                    true,
                    |error| lost(error, WHEN, TIMEOUT),
                    |line| {
                        if let Some(error) = line.error() {
                            message = error.to_owned();
                        }
                    },
                )?;
                Err(Error::said(&message))
            }
        }
    }
}

fn this_machine() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim_end().to_owned())
}

impl Store {
    /// What event lines call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::Podman => "podman",
        }
    }
}

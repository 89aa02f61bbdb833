//! Connection to an engine, and its version, store and platform.

use crate::http::{self, lost};
use crate::progress::read_lines;
use crate::{Error, Host, Upload};
use loader_archive::Platform;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Maximum wait for a response. A busy engine needs long for its list of images.
const TIMEOUT: Duration = Duration::from_secs(120);

const ASKED: &str = "during a request";

/// Maximum length of a response in bytes; the list of ten thousand images is shorter.
const ANSWER_MAX: u64 = 32 << 20;

/// Major version of the first Docker that reads zstd layers into its own store.
const DOCKER_WITH_ZSTD: u32 = 23;

/// Major version of the first Docker that was seen to keep an image without a name in the
/// containerd image store.
const DOCKER_WITH_DANGLING_IMAGES: u32 = 28;

/// Image store of an engine, which determines the id of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Docker's own store: the id is the digest of the config.
    Docker,
    /// Docker with the containerd image store: the id is the digest of the manifest or
    /// index.
    Containerd,
    /// Podman: the id is the digest of the config.
    Podman,
}

/// Free space for an archive in the engine's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Unknown, because the directory is on another machine.
    Unknown,
    /// At least twice the length of the archive.
    Enough,
    /// Enough for the archive, perhaps not for its unpacked layers.
    Little,
    /// Too little, so a load would fail: Docker's own store writes the whole archive into its
    /// directory before it unpacks anything.
    TooLittle,
}

/// An engine that has responded.
#[derive(Clone, Debug)]
pub struct Engine {
    host: Host,
    version: String,
    store: Store,
    platform: Platform,
    root: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    arch: String,
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
    /// Name of the machine.
    #[serde(default)]
    name: Option<String>,
    /// Architecture as the kernel names it, such as `armv7l`.
    #[serde(default)]
    architecture: String,
}

impl Engine {
    /// Connects to the engine at `host` and asks for its version and store.
    ///
    /// # Errors
    /// [`Error::NotThere`], [`Error::NotPermitted`], [`Error::Protocol`] if something else
    /// listens there.
    pub fn connect(host: Host) -> Result<Self, Error> {
        let ping = http::request(&host, "GET", "/_ping", "", TIMEOUT)?;
        if ping.status != 200 {
            return Err(Error::Protocol(format!("HTTP status {} to a ping", ping.status)));
        }
        let platform = Platform::default();
        let mut engine = Self { host, version: String::new(), store: Store::Docker, platform, root: None };
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
        engine.platform = platform_of(&version.os, &version.arch, &info.architecture);
        // The socket may be forwarded to another machine that has a directory of this name too.
        engine.root = info.docker_root_dir.filter(|_| info.name.is_some() && info.name == this_machine());
        Ok(engine)
    }

    /// Returns the version of the engine, such as `20.10.24`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns the image store of the engine.
    pub fn store(&self) -> Store {
        self.store
    }

    /// Returns the platform that its containers run on.
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// Returns true if the engine can read layers that are compressed with zstd.
    pub fn reads_zstd(&self) -> bool {
        self.store != Store::Docker || self.major_version().is_none_or(|major| major >= DOCKER_WITH_ZSTD)
    }

    /// Returns true if the engine deletes an image when a load moves its last name to another
    /// image.
    pub(crate) fn deletes_replaced_images(&self) -> bool {
        let keeps = |major| major >= DOCKER_WITH_DANGLING_IMAGES;
        self.store == Store::Containerd && !self.major_version().is_none_or(keeps)
    }

    fn major_version(&self) -> Option<u32> {
        self.version.split('.').next().and_then(|major| major.parse().ok())
    }

    /// Returns the directory of its images, if it is on this machine.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref().filter(|root| root.is_dir())
    }

    /// Returns the number of free bytes under [`Engine::root`].
    pub fn free_space(&self) -> Option<u64> {
        let space = rustix::fs::statvfs(self.root()?).ok()?;
        space.f_bavail.checked_mul(space.f_frsize)
    }

    /// Returns whether there is space for an archive of `len` bytes.
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
    /// Errors of [`Upload::begin`].
    pub fn upload(&self) -> Result<Upload, Error> {
        Upload::begin(&self.host)
    }

    /// Returns the response to `GET path`; `None` for status 404.
    pub(crate) fn json<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Error> {
        match self.call("GET", path, "") {
            Err(Error::Status { status: 404, .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Sends a request and parses the response.
    pub(crate) fn call<T: DeserializeOwned>(&self, method: &str, path: &str, body: &str) -> Result<T, Error> {
        let answer = BufReader::with_capacity(16 * 1024, self.send(method, path, body)?);
        serde_json::from_reader(answer).map_err(|error| match error.is_io() {
            true => lost(error.into(), ASKED, TIMEOUT),
            false => Error::Protocol(format!("{path}: {error}")),
        })
    }

    /// Sends a request and checks only the status of the response: the body of podman is an
    /// empty line.
    pub(crate) fn act(&self, method: &str, path: &str) -> Result<(), Error> {
        let mut answer = self.send(method, path, "")?;
        io::copy(&mut answer, &mut io::sink()).map(drop).map_err(|error| lost(error, ASKED, TIMEOUT))
    }

    fn send(&self, method: &str, path: &str, body: &str) -> Result<impl Read + use<>, Error> {
        let answer = http::request(&self.host, method, path, body, TIMEOUT)?;
        let (status, body) = (answer.status, answer.body.take(ANSWER_MAX));
        if (200..300).contains(&status) {
            return Ok(body);
        }
        let mut message = format!("HTTP status {status} to {path}");
        read_lines(
            body,
            true,
            |error| lost(error, ASKED, TIMEOUT),
            |line| {
                if let Some(error) = line.error() {
                    message = error.trim().replace('\n', " ");
                }
            },
        )?;
        Err(Error::Status { status, message })
    }
}

/// Returns the platform of an engine. Only the kernel's name of the architecture contains
/// the variant.
fn platform_of(os: &str, architecture: &str, kernel: &str) -> Platform {
    let os = if os.is_empty() { "linux" } else { os };
    let by_kernel = Platform::new(os, kernel, "");
    if by_kernel.architecture == architecture { by_kernel } else { Platform::new(os, architecture, "") }
}

fn this_machine() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim_end().to_owned())
}

impl Store {
    /// Returns the name in event lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::Podman => "podman",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_of_engines() {
        for (architecture, kernel, expected) in [
            ("amd64", "x86_64", "linux/amd64"),
            ("arm64", "aarch64", "linux/arm64"),
            ("arm", "armv7l", "linux/arm/v7"),
            ("arm", "armv6l", "linux/arm/v6"),
            // A 32-bit engine on a 64-bit kernel.
            ("arm", "aarch64", "linux/arm"),
            ("amd64", "", "linux/amd64"),
        ] {
            assert_eq!(platform_of("linux", architecture, kernel).to_string(), expected);
        }
    }
}

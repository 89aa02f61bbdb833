//! Source of sealed data: the API, the cache or an export directory.

use loader_api::{RESOURCE_MAX, Session};
use loader_model::{ResourceName, User};
use loader_session::DeviceIdentity;
use loader_stage::{Content, ErrorCode, Failure, OrFail, OrFailAs, Output, Stage};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// File of the server's fragment in an export, as the API sealed it.
const FRAGMENT: &str = "key-fragment.sealed";

/// File that describes an export.
const MANIFEST: &str = "export.json";

/// Maximum size of a manifest in bytes.
const MANIFEST_MAX: usize = 64 * 1024;

/// Where sealed answers come from.
pub(crate) enum SealedSource<'n> {
    /// The API, with a token.
    Api(Box<Session<'n>>),
    /// Only the cache, for the user of the token.
    Cache { user: User },
    /// Directory that --export wrote for this user. It is not updated.
    Export { dir: PathBuf, user: User },
}

/// Description of an export.
#[derive(Serialize, Deserialize)]
struct Manifest {
    /// Format version, always 1.
    export: u32,
    /// User for whom all files are sealed.
    user: User,
}

impl SealedSource<'_> {
    /// Opens the export in `dir`.
    pub(crate) fn open_export(stage: &Stage, dir: &Path) -> Result<Self, Failure> {
        let manifest = read_manifest(stage, dir)?;
        Ok(Self::Export { dir: dir.to_owned(), user: manifest.user })
    }

    /// Returns the user for whom the data is sealed.
    pub(crate) fn user(&self) -> User {
        match self {
            Self::Api(session) => session.token().user(),
            Self::Cache { user } | Self::Export { user, .. } => user.clone(),
        }
    }

    /// Returns the server's key fragment as the API sent it.
    pub(crate) fn key_fragment(&mut self, stage: &Stage) -> Result<Zeroizing<Vec<u8>>, Failure> {
        match self {
            Self::Api(session) => session.call(|client, token| client.key_fragment(token)).or_fail(),
            Self::Cache { .. } => Err(Failure::new(ErrorCode::NotFound, "the key fragment is never cached")),
            Self::Export { dir, .. } => stage.input(&dir.join(FRAGMENT))?.read_all(RESOURCE_MAX as usize),
        }
    }

    /// Requests the small part of a resource; `None` if this source is not the API.
    pub(crate) fn small_part(
        &mut self,
        name: &ResourceName,
        device: &DeviceIdentity,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        let Self::Api(session) = self else { return Ok(None) };
        let (password, hardware) = (device.password()?, device.hardware_hex()?);
        let sealed = session.call(|client, token| client.get_resource(token, name, &hardware, password));
        sealed.map(Some).map_err(|error| device.api_failure(&error))
    }
}

/// Prepares `dir` as an export for `user`.
pub(crate) fn prepare_export(stage: &Stage, dir: &Path, mut user: User) -> Result<(), Failure> {
    create_dir(dir)?;
    let path = dir.join(MANIFEST);
    if path.exists() {
        let owner = read_manifest(stage, dir)?.user;
        if owner.id == user.id {
            return Ok(());
        }
        let what = format_args!("{}: contains an export for {}", dir.display(), owner.email);
        return Err(Failure::new(ErrorCode::CannotCreate, what).hint("use another directory".to_owned()));
    }
    user.expires = None;
    let mut output = Output::file(&path, Content::Text)?;
    let mut line = serde_json::to_vec(&Manifest { export: 1, user }).or_fail_as(ErrorCode::Bug, path.display())?;
    line.push(b'\n');
    output.put(&line)?;
    output.commit()
}

/// Creates the file of the fragment in an export.
pub(crate) fn create_fragment_file(dir: &Path) -> Result<Output, Failure> {
    Output::file(&dir.join(FRAGMENT), Content::Secret)
}

/// Creates the directory `path` and its parents.
pub(crate) fn create_dir(path: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(path).or_fail_as(ErrorCode::CannotCreate, path.display())
}

fn read_manifest(stage: &Stage, dir: &Path) -> Result<Manifest, Failure> {
    let path = dir.join(MANIFEST);
    let text = stage.input(&path)?.read_all(MANIFEST_MAX)?;
    let manifest = serde_json::from_slice(&text).ok().filter(|manifest: &Manifest| manifest.export == 1);
    manifest.ok_or_else(|| {
        let what = format_args!("{}: not written by --export", path.display());
        Failure::new(ErrorCode::Malformed, what)
    })
}

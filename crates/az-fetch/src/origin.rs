//! Where sealed answers come from: the API, or a folder that was carried here.

use loader_api::{RESOURCE_MAX, Session};
use loader_model::{ResourceName, User};
use loader_session::{DeviceIdentity, api_failure};
use loader_stage::{Content, ErrorCode, Failure, OrFail, Output, Stage};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The server's fragment in an exported folder, as the API sealed it.
const FRAGMENT: &str = "key-fragment.sealed";

/// What an exported folder says of itself.
const MANIFEST: &str = "export.json";

/// Largest manifest in bytes.
const MANIFEST_MAX: usize = 64 * 1024;

/// Where sealed answers come from.
pub(crate) enum Origin<'n> {
    /// The API, with the token.
    Api(Box<Session<'n>>),
    /// Nothing but the cache, for the user of the token.
    Cache { user: User },
    /// A folder that --export wrote for this user; nothing in it is renewed.
    Export { dir: PathBuf, user: User },
}

/// The file beside what was exported.
#[derive(Serialize, Deserialize)]
struct Manifest {
    /// 1, the only version.
    export: u32,
    /// To whom everything in the folder is sealed.
    user: User,
}

impl Origin<'_> {
    /// The folder `dir` as --export wrote it.
    pub(crate) fn export(stage: &Stage, dir: &Path) -> Result<Self, Failure> {
        let manifest = read_manifest(stage, dir)?;
        Ok(Self::Export { dir: dir.to_owned(), user: manifest.user })
    }

    /// To whom the answers are sealed.
    pub(crate) fn user(&self) -> User {
        match self {
            Self::Api(session) => session.token().user(),
            Self::Cache { user } | Self::Export { user, .. } => user.clone(),
        }
    }

    /// The server's fragment of the key as the API hands it out.
    pub(crate) fn key_fragment(&mut self, stage: &Stage) -> Result<Zeroizing<Vec<u8>>, Failure> {
        match self {
            Self::Api(session) => {
                session.call(|client, token| client.key_fragment(token)).map_err(|error| api_failure(&error))
            }
            Self::Cache { .. } => Err(Failure::new(ErrorCode::NotFound, "the fragment is never in the cache")),
            Self::Export { dir, .. } => stage.input(&dir.join(FRAGMENT))?.read_all(RESOURCE_MAX as usize),
        }
    }

    /// The small part of a resource as the API seals it now.
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

/// Makes `dir` a folder for what is sealed to `user`.
pub(crate) fn prepare(stage: &Stage, dir: &Path, mut user: User) -> Result<(), Failure> {
    make_folder(dir)?;
    let path = dir.join(MANIFEST);
    if path.exists() {
        let there = read_manifest(stage, dir)?.user;
        if there.id == user.id {
            return Ok(());
        }
        let what = format_args!("{}: holds what is sealed to {}", dir.display(), there.email);
        return Err(Failure::new(ErrorCode::CannotCreate, what).hint("name another folder".to_owned()));
    }
    user.expires = None;
    let mut output = Output::file(&path, Content::Text)?;
    let mut line = serde_json::to_vec(&Manifest { export: 1, user }).or_fail(path.display(), |_| ErrorCode::Bug)?;
    line.push(b'\n');
    output.put(&line)?;
    output.commit()
}

/// The file in an exported folder that takes the fragment.
pub(crate) fn fragment_file(dir: &Path) -> Result<Output, Failure> {
    Output::file(&dir.join(FRAGMENT), Content::Secret)
}

/// Makes the folder `path` and those above it.
pub(crate) fn make_folder(path: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(path).or_fail(path.display(), |_: &io::Error| ErrorCode::CannotCreate)
}

fn read_manifest(stage: &Stage, dir: &Path) -> Result<Manifest, Failure> {
    let path = dir.join(MANIFEST);
    let text = stage.input(&path)?.read_all(MANIFEST_MAX)?;
    let manifest = serde_json::from_slice(&text).ok().filter(|manifest: &Manifest| manifest.export == 1);
    manifest.ok_or_else(|| {
        let what = format_args!("{}: not what --export writes", path.display());
        Failure::new(ErrorCode::Malformed, what)
    })
}

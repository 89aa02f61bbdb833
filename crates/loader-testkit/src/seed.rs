//! The seed directory, read once at the start.

use crate::{Config, KeyPair, Settings, UserRecord, default_users};
use loader_model::{CdnCredentials, ResourceName};
pub use loader_server::hex;
use loader_server::{NewUser, StateDir, StateError};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};

/// Reason why a seed cannot be served. No variant quotes a secret.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// A file or directory cannot be read or copied.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// A document is not valid JSON or has unexpected fields.
    #[error("{0}: line {1}: not the expected JSON")]
    Json(PathBuf, usize),
    /// The API refuses a user or a fragment.
    #[error("the seed: {0}")]
    State(#[from] StateError),
    /// A file name is not a valid resource name.
    #[error("{0}: not a valid resource name")]
    Name(PathBuf),
    /// The store refuses an object.
    #[error("{0}: the store refuses it: {1}")]
    Object(PathBuf, String),
}

/// Content of a seed without its resources and objects.
pub(crate) struct Seed {
    pub(crate) settings: Settings,
    pub(crate) users: Vec<UserRecord>,
    pub(crate) fragment: Option<Vec<u8>>,
}

impl Seed {
    /// Reads the documents of the seed in `config`.
    pub(crate) fn read(config: &Config) -> Result<Self, SeedError> {
        let dir = config.seed.as_deref();
        if let Some(dir) = dir {
            std::fs::read_dir(dir).map_err(|error| SeedError::Io(dir.to_owned(), error))?;
        }
        let settings = match &config.settings {
            Some(settings) => settings.clone(),
            None => json(dir, "devserver.json")?.unwrap_or_default(),
        };
        let users = json(dir, "users.json")?.unwrap_or_else(default_users);
        let fragment = optional(dir, "key-fragment")?.map(|(_, bytes)| bytes);
        Ok(Self { settings, users, fragment })
    }
}

impl Seed {
    /// Writes settings, fragment and users to the state directory of the API.
    pub(crate) fn write_state(self, state: &StateDir) -> Result<(), StateError> {
        state.set_settings(&self.settings.of_server())?;
        if let Some(fragment) = &self.fragment {
            state.set_fragment(None, fragment)?;
        }
        self.users.into_iter().try_for_each(|user| state.add_user(&NewUser::from(user)).map(drop))
    }
}

fn optional(dir: Option<&Path>, name: &str) -> Result<Option<(PathBuf, Vec<u8>)>, SeedError> {
    let Some(path) = dir.map(|dir| dir.join(name)) else { return Ok(None) };
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some((path, bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SeedError::Io(path, error)),
    }
}

fn json<T: DeserializeOwned>(dir: Option<&Path>, name: &str) -> Result<Option<T>, SeedError> {
    let Some((path, bytes)) = optional(dir, name)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| SeedError::Json(path, error.line()))
}

/// Returns the files below `dir`, sorted by their relative names. Returns none if the
/// directory does not exist.
pub(crate) fn files(dir: &Path) -> Result<Vec<(ResourceName, PathBuf)>, SeedError> {
    let mut found = Vec::new();
    if dir.exists() {
        walk(dir, "", &mut found)?;
    }
    found.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
    Ok(found)
}

fn walk(dir: &Path, prefix: &str, found: &mut Vec<(ResourceName, PathBuf)>) -> Result<(), SeedError> {
    let failed = |error| SeedError::Io(dir.to_owned(), error);
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| SeedError::Name(path.clone()))?;
        if name.starts_with('.') {
            continue;
        }
        let name: ResourceName = format!("{prefix}{name}").parse().map_err(|_| SeedError::Name(path.clone()))?;
        if path.is_dir() {
            walk(&path, &format!("{name}/"), found)?;
        } else {
            found.push((name, path));
        }
    }
    Ok(())
}

/// Copies the resources of the seed to `to`.
pub(crate) fn copy_resources(seed: Option<&Path>, to: &Path) -> Result<(), SeedError> {
    let Some(seed) = seed else { return Ok(()) };
    for (name, from) in files(&seed.join("resources"))? {
        let target = to.join(name.as_str());
        let copied = std::fs::create_dir_all(to.join(name.folder()))
            .and_then(|()| std::fs::File::open(&from))
            .and_then(|mut source| io::copy(&mut source, &mut std::fs::File::create(target)?));
        copied.map_err(|error| SeedError::Io(from, error))?;
    }
    Ok(())
}

/// Returns the credentials of the store at `s3_url`. Writes them to `cdn.yaml` if the
/// resources do not contain that file.
pub(crate) fn cdn(
    resources: &Path,
    settings: &Settings,
    s3_url: &str,
    bucket: &str,
) -> Result<CdnCredentials, SeedError> {
    let path = resources.join("cdn.yaml");
    let own: Option<CdnCredentials> =
        std::fs::read(&path).ok().and_then(|yaml| loader_model::yaml::from_slice(&yaml).ok());
    let own_uploader = own
        .as_ref()
        .and_then(|own| Some(pair(own.uploader_access_key.as_deref()?, own.uploader_access_secret.as_deref()?)));
    let own_downloader = own.as_ref().map(|own| pair(&own.downloader_access_key, &own.downloader_access_secret));
    let downloader = settings.downloader.clone().or(own_downloader).unwrap_or_else(|| random_pair("AZDOWN"));
    let uploader = settings.uploader.clone().or(own_uploader).unwrap_or_else(|| random_pair("AZUP"));
    let token = |of: fn(&CdnCredentials) -> &Option<String>| own.as_ref().and_then(|own| of(own).clone());
    let cdn = CdnCredentials {
        host: s3_url.to_owned(),
        downloader_access_key: downloader.access_key,
        downloader_access_secret: downloader.access_secret,
        uploader_access_key: Some(uploader.access_key),
        uploader_access_secret: Some(uploader.access_secret),
        session_token: token(|own| &own.session_token),
        uploader_session_token: token(|own| &own.uploader_session_token),
        bucket: Some(bucket.to_owned()),
        region: Some(crate::s3::REGION.to_owned()),
        path_style: Some(true),
    };
    if !path.exists() {
        std::fs::write(&path, yaml(&cdn)).map_err(|error| SeedError::Io(path, error))?;
    }
    Ok(cdn)
}

fn pair(access_key: &str, access_secret: &str) -> KeyPair {
    KeyPair { access_key: access_key.to_owned(), access_secret: access_secret.to_owned() }
}

fn random_pair(prefix: &str) -> KeyPair {
    KeyPair { access_key: format!("{prefix}{}", random_hex(7).to_ascii_uppercase()), access_secret: random_hex(20) }
}

/// Returns `len` random bytes in hexadecimal.
pub(crate) fn random_hex(len: usize) -> String {
    let mut bytes = vec![0; len];
    #[expect(clippy::expect_used, reason = "a server without random keys must not start")]
    getrandom::fill(&mut bytes).expect("random bytes from the system");
    hex(&bytes)
}

/// Returns the SHA-256 of `bytes` in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Returns one `key: "value"` line for each field. A JSON scalar is a valid YAML scalar.
fn yaml(cdn: &CdnCredentials) -> String {
    let fields = serde_json::to_value(cdn).unwrap_or_default();
    fields.as_object().into_iter().flatten().map(|(key, value)| format!("{key}: {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generated_cdn_yaml_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let made = cdn(dir.path(), &Settings::default(), "http://127.0.0.1:9", "b").unwrap();
        let read: CdnCredentials =
            loader_model::yaml::from_slice(&std::fs::read(dir.path().join("cdn.yaml")).unwrap()).unwrap();
        assert_eq!(read.host, "http://127.0.0.1:9");
        assert_eq!(read.downloader_access_secret, made.downloader_access_secret);
        let again = cdn(dir.path(), &Settings::default(), "http://127.0.0.1:10", "b").unwrap();
        assert_eq!(again.uploader_access_key, made.uploader_access_key);
    }

    #[test]
    fn hidden_files_are_skipped_and_invalid_names_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("models")).unwrap();
        for name in ["models/b", "models/.keep", "a"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let names: Vec<String> = files(dir.path()).unwrap().into_iter().map(|(name, _)| name.into()).collect();
        assert_eq!(names, ["a", "models/b"]);
        std::fs::write(dir.path().join("a b"), "").unwrap();
        assert!(matches!(files(dir.path()), Err(SeedError::Name(_))));
    }
}

//! What stands behind the flags and the environment: systemd credentials, then
//! the config files.

use crate::Failure;
use clap::Command;
use loader_model::{ErrorCode, yaml};
use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Every key that a config file may hold: the long flag with underscores.
const CONFIG_KEYS: &[&str] = &[
    "api_url",
    "archive",
    "cache_dir",
    "ca_file",
    "cdn_file",
    "cdn_resource",
    "client_cert_file",
    "client_key_file",
    "credentials_file",
    "device_secret_file",
    "events_file",
    "fragment_file",
    "hwid_card",
    "hwid_file",
    "insecure_http",
    "jwks_file",
    "jwt_key_file",
    "key_file",
    "log_dir",
    "log_keep",
    "login_path",
    "key_fragment_path",
    "resources_get_path",
    "resources_list_path",
    "resources_put_path",
    "prometheus",
    "retries",
    "state_dir",
    "status_file",
    "threads",
    "token_file",
];

/// Secrets that systemd may hand over: `$CREDENTIALS_DIRECTORY/<name>` stands in
/// for `--<name>-file`.
const CREDENTIALS: &[&str] = &["credentials", "token", "cdn", "key", "device-secret", "hwid"];

/// A value that stands in for a flag, and the file it comes from.
struct Setting {
    value: String,
    place: String,
}

/// Settings by key.
pub(crate) struct Settings(BTreeMap<String, Setting>);

/// The settings from `$CREDENTIALS_DIRECTORY`, the user's config file
/// and the machine's, in this order of precedence.
///
/// # Errors
/// `config` where a file cannot be read or holds an unknown key.
pub(crate) fn read() -> Result<Settings, Failure> {
    let mut settings = BTreeMap::new();
    for path in config_paths().into_iter().rev() {
        settings.extend(read_config(&path)?);
    }
    settings.extend(systemd_credentials());
    Ok(Settings(settings))
}

impl Settings {
    /// `command` with these as defaults. A setting counts only for options that the
    /// command has and that can come from the environment.
    pub(crate) fn apply(&self, command: Command) -> Command {
        self.0.iter().fold(command, |command, (key, setting)| setting.apply(key, command))
    }

    /// Why `command`, which is right without these, is wrong with them: file, key
    /// and what `cause` makes of clap's error.
    pub(crate) fn culprit(&self, command: &Command, cause: impl Fn(&clap::Error) -> String) -> Option<Failure> {
        self.0.iter().find_map(|(key, setting)| {
            let error = unset_empty(setting.apply(key, command.clone())).try_get_matches().err()?;
            Some(Failure::new(ErrorCode::Config, format_args!("{}: {key}: {}", setting.place, cause(&error))))
        })
    }
}

/// `command` without the variables that are empty, which are as good as not set. To be
/// called when the settings were applied, which go by the variables.
pub(crate) fn unset_empty(command: Command) -> Command {
    let is_empty = |name: &OsStr| env::var_os(name).is_some_and(|value| value.is_empty());
    command.mut_args(|arg| if arg.get_env().is_some_and(is_empty) { arg.env(None) } else { arg })
}

impl Setting {
    fn apply(&self, key: &str, command: Command) -> Command {
        if takes(&command, key) { command.mut_arg(key, |arg| arg.default_value(self.value.clone())) } else { command }
    }
}

fn takes(command: &Command, key: &str) -> bool {
    command.get_arguments().any(|arg| arg.get_id() == key && arg.get_env().is_some())
}

/// The keys of a config file that `command` takes.
#[cfg(feature = "manual")]
pub(crate) fn keys_of(command: &Command) -> impl Iterator<Item = &'static str> {
    CONFIG_KEYS.iter().copied().filter(|key| takes(command, key))
}

/// The credentials of systemd that `command` takes.
#[cfg(feature = "manual")]
pub(crate) fn credentials_of(command: &Command) -> impl Iterator<Item = &'static str> {
    CREDENTIALS.iter().copied().filter(|name| takes(command, &file_key(name)))
}

/// The setting that the credential called `name` stands in for.
fn file_key(name: &str) -> String {
    format!("{}_file", name.replace('-', "_"))
}

fn systemd_credentials() -> impl Iterator<Item = (String, Setting)> {
    let dir = env::var_os("CREDENTIALS_DIRECTORY").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    CREDENTIALS.iter().filter_map(move |name| {
        let path = dir.as_ref()?.join(name);
        let value = path.is_file().then(|| path.to_str().map(str::to_owned))??;
        let place = value.clone();
        Some((file_key(name), Setting { value, place }))
    })
}

fn config_paths() -> Vec<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    user.into_iter().chain([PathBuf::from("/etc")]).map(|dir| dir.join("azaion/config.yaml")).collect()
}

fn read_config(path: &Path) -> Result<BTreeMap<String, Setting>, Failure> {
    let place = path.display();
    let mut document = Vec::new();
    // One byte more than is accepted, which tells that there is more.
    match File::open(path).and_then(|file| file.take(yaml::MAX_BYTES as u64 + 1).read_to_end(&mut document)) {
        Ok(_) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(BTreeMap::new());
        }
        Err(error) => return Err(Failure::new(ErrorCode::Config, format_args!("{place}: {error}"))),
    }
    let map: BTreeMap<String, Scalar> = if document.iter().all(u8::is_ascii_whitespace) {
        BTreeMap::new()
    } else {
        yaml::from_slice(&document)
            .map_err(|error| Failure::new(ErrorCode::Config, format_args!("{place}: {error}")))?
    };
    map.into_iter()
        .map(|(key, value)| {
            if CONFIG_KEYS.contains(&key.as_str()) {
                Ok((key, Setting { value: value.0, place: place.to_string() }))
            } else {
                let shown = loader_model::printable(&key);
                Err(Failure::new(ErrorCode::Config, format_args!("{place}: unknown key {shown}"))
                    .hint(format!("known keys: {}", CONFIG_KEYS.join(", "))))
            }
        })
        .collect()
}

/// A setting as the text that would stand on the command line.
struct Scalar(String);

impl<'de> serde::Deserialize<'de> for Scalar {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(Self(text)),
            value @ (serde_json::Value::Bool(_) | serde_json::Value::Number(_)) => Ok(Self(value.to_string())),
            _ => Err(serde::de::Error::custom("not a scalar")),
        }
    }
}

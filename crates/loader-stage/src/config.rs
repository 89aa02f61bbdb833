//! Defaults for options that are given neither on the command line nor in the environment:
//! systemd credentials and config files.

use crate::Failure;
use clap::Command;
use loader_model::{ErrorCode, yaml};
use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Keys that are valid in a config file: the long option with underscores.
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
    "expect_name",
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
    "min_release",
    "prometheus",
    "publisher_key_file",
    "require_signatures",
    "retries",
    "state_dir",
    "status_file",
    "threads",
    "token_file",
];

/// Names of systemd credentials: `$CREDENTIALS_DIRECTORY/<name>` is the default of
/// `--<name>-file`.
const SYSTEMD_CREDENTIALS: &[&str] = &["credentials", "token", "cdn", "key", "device-secret", "hwid"];

/// Default value of an option, and the file that contains it.
struct Setting {
    value: String,
    source: String,
}

/// Settings by key.
pub(crate) struct Settings(BTreeMap<String, Setting>);

/// Reads the settings from `$CREDENTIALS_DIRECTORY`, the config file of the user and that of
/// the machine, in this order of precedence.
///
/// # Errors
/// `config` if a file cannot be read or contains an unknown key.
pub(crate) fn read() -> Result<Settings, Failure> {
    let mut settings = BTreeMap::new();
    for path in config_paths().into_iter().rev() {
        settings.extend(read_config(&path)?);
    }
    settings.extend(systemd_credentials());
    Ok(Settings(settings))
}

impl Settings {
    /// Returns `command` with these settings as defaults. A setting only applies to an option
    /// that the command has and that can also be set by an environment variable.
    pub(crate) fn apply(&self, command: Command) -> Command {
        self.0.iter().fold(command, |command, (key, setting)| setting.apply(key, command))
    }

    /// Returns the failure for the first setting with which `command`, valid by itself, is
    /// invalid. The text names file and key, and `cause` formats clap's error.
    pub(crate) fn find_invalid(&self, command: &Command, cause: impl Fn(&clap::Error) -> String) -> Option<Failure> {
        self.0.iter().find_map(|(key, setting)| {
            let error = unset_empty(setting.apply(key, command.clone())).try_get_matches().err()?;
            Some(Failure::new(ErrorCode::Config, format_args!("{}: {key}: {}", setting.source, cause(&error))))
        })
    }
}

/// Makes `command` ignore empty environment variables. Call it after [`Settings::apply`],
/// which checks whether an option has a variable.
pub(crate) fn unset_empty(command: Command) -> Command {
    let is_empty = |name: &OsStr| env::var_os(name).is_some_and(|value| value.is_empty());
    command.mut_args(|arg| if arg.get_env().is_some_and(is_empty) { arg.env(None) } else { arg })
}

impl Setting {
    fn apply(&self, key: &str, command: Command) -> Command {
        if accepts(&command, key) { command.mut_arg(key, |arg| arg.default_value(self.value.clone())) } else { command }
    }
}

fn accepts(command: &Command, key: &str) -> bool {
    command.get_arguments().any(|arg| arg.get_id() == key && arg.get_env().is_some())
}

/// Returns the config file keys that apply to `command`.
#[cfg(feature = "manual")]
pub(crate) fn config_keys_of(command: &Command) -> impl Iterator<Item = &'static str> {
    CONFIG_KEYS.iter().copied().filter(|key| accepts(command, key))
}

/// Returns the names of the systemd credentials that apply to `command`.
#[cfg(feature = "manual")]
pub(crate) fn systemd_credentials_of(command: &Command) -> impl Iterator<Item = &'static str> {
    SYSTEMD_CREDENTIALS.iter().copied().filter(|name| accepts(command, &file_key(name)))
}

/// Returns the key of the setting that the systemd credential `name` provides.
fn file_key(name: &str) -> String {
    format!("{}_file", name.replace('-', "_"))
}

fn systemd_credentials() -> impl Iterator<Item = (String, Setting)> {
    let dir = env::var_os("CREDENTIALS_DIRECTORY").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    SYSTEMD_CREDENTIALS.iter().filter_map(move |name| {
        let path = dir.as_ref()?.join(name);
        let value = path.is_file().then(|| path.to_str().map(str::to_owned))??;
        let source = value.clone();
        Some((file_key(name), Setting { value, source }))
    })
}

fn config_paths() -> Vec<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    user.into_iter().chain([PathBuf::from("/etc")]).map(|dir| dir.join("azaion/config.yaml")).collect()
}

fn read_config(path: &Path) -> Result<BTreeMap<String, Setting>, Failure> {
    let source = path.display();
    let mut document = Vec::new();
    // One byte more than the limit, so that the parser rejects a longer document.
    match File::open(path).and_then(|file| file.take(yaml::MAX_BYTES as u64 + 1).read_to_end(&mut document)) {
        Ok(_) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(BTreeMap::new());
        }
        Err(error) => return Err(Failure::new(ErrorCode::Config, format_args!("{source}: {error}"))),
    }
    let map: BTreeMap<String, Scalar> = if document.iter().all(u8::is_ascii_whitespace) {
        BTreeMap::new()
    } else {
        yaml::from_slice(&document)
            .map_err(|error| Failure::new(ErrorCode::Config, format_args!("{source}: {error}")))?
    };
    map.into_iter()
        .map(|(key, value)| {
            if CONFIG_KEYS.contains(&key.as_str()) {
                Ok((key, Setting { value: value.0, source: source.to_string() }))
            } else {
                let shown = loader_model::printable(&key);
                Err(Failure::new(ErrorCode::Config, format_args!("{source}: unknown key {shown}"))
                    .hint(format!("known keys: {}", CONFIG_KEYS.join(", "))))
            }
        })
        .collect()
}

/// Value of a setting, as the text that it would have on the command line.
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

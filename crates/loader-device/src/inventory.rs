//! The sources of a system and their states.

use crate::sources::{DeviceDir, Location, SOURCE_KINDS, SourceKind, Strength};
use crate::sysroot::{ReadOutcome, Sysroot, error_text};
use crate::value::{VALUE_MAX, last_field, normalize};
use std::path::Path;
use zeroize::Zeroizing;

/// Longest `/proc/cpuinfo` in bytes: enough for more than 1000 processors.
const CPUINFO_MAX: usize = 4 << 20;

/// Number of devices of one kind that are read; no supported machine has more.
const DEVICES_MAX: usize = 64;

/// State of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// The value is part of the hardware id.
    Used,
    /// The file does not exist.
    Missing,
    /// The value does not identify the device; contains the reason.
    Placeholder(&'static str),
    /// The value does not belong to the hardware; contains the reason.
    NotCounted(&'static str),
    /// The file exists and cannot be read; contains the reason. The device has no id then.
    Unreadable(String),
}

impl SourceState {
    /// Returns `used`, `missing`, `placeholder`, `not_counted` or `unreadable`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::Missing => "missing",
            Self::Placeholder(_) => "placeholder",
            Self::NotCounted(_) => "not_counted",
            Self::Unreadable(_) => "unreadable",
        }
    }

    /// Returns why the source is not used; `None` if its name says enough.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Used | Self::Missing => None,
            Self::Placeholder(reason) | Self::NotCounted(reason) => Some(reason),
            Self::Unreadable(reason) => Some(reason),
        }
    }
}

/// A source of the hardware id. Its value is never shown, and wiped when it is dropped.
#[derive(Clone)]
pub struct HardwareSource {
    /// Name in the hashed line, such as `dmi-product-uuid`.
    pub name: &'static str,
    /// Absolute path of the file, as seen from the root of the system.
    pub path: String,
    /// How firmly the source is tied to the hardware.
    pub strength: Strength,
    /// Whether the value is used.
    pub state: SourceState,
    pub(crate) value: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for HardwareSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HardwareSource({} at {}: {})", self.name, self.path, self.state.as_str())
    }
}

/// All sources of a system, used or not.
#[derive(Clone, Debug)]
pub struct Inventory {
    pub(crate) sources: Vec<HardwareSource>,
}

impl Inventory {
    /// Reads the sources of the system whose root directory is `sysroot`; `/` for the running
    /// system. Symbolic links are resolved within `sysroot`.
    pub fn read(sysroot: &Path) -> Self {
        let sources = match Sysroot::open(sysroot) {
            Ok(root) => SOURCE_KINDS.iter().flat_map(|kind| read_kind(&root, kind)).collect(),
            Err(error) => {
                let unreadable = |kind: &SourceKind| {
                    let path = sysroot.display().to_string();
                    source(kind, path, Err(SourceState::Unreadable(error_text(error))))
                };
                SOURCE_KINDS.iter().map(unreadable).collect()
            }
        };
        Self { sources }
    }

    /// Returns the sources, in the order of their kinds.
    pub fn sources(&self) -> &[HardwareSource] {
        &self.sources
    }
}

/// The value of a source, or the state of a source that is not used.
type Value = Result<Zeroizing<String>, SourceState>;

fn source(kind: &SourceKind, path: String, value: Value) -> HardwareSource {
    let (state, value) = match value {
        Ok(value) => (SourceState::Used, Some(value)),
        Err(state) => (state, None),
    };
    HardwareSource { name: kind.name, path, strength: kind.strength, state, value }
}

fn read_kind(root: &Sysroot, kind: &SourceKind) -> Vec<HardwareSource> {
    let absolute = |path: &str| format!("/{path}");
    match &kind.location {
        Location::FirstFile(paths) => {
            let values = paths.iter().map(|path| (path, read_system_file(root, path)));
            let first = values.into_iter().find(|(_, value)| !matches!(value, Err(SourceState::Missing)));
            let (path, value) = first.unwrap_or((&paths[0], Err(SourceState::Missing)));
            vec![source(kind, absolute(path), value)]
        }
        Location::Field { path, name } => {
            let value = match root.read(path, CPUINFO_MAX) {
                ReadOutcome::Bytes(bytes) => last_field(&bytes, name).map_or(Err(SourceState::Missing), value_of),
                other => Err(state_without_value(other)),
            };
            vec![source(kind, absolute(path), value)]
        }
        Location::Devices(dir) => {
            let mut devices = read_devices(root, kind, dir);
            if devices.is_empty() {
                devices.push(source(kind, absolute(dir.path), Err(SourceState::Missing)));
            }
            devices
        }
    }
}

fn read_devices(root: &Sysroot, kind: &SourceKind, dir: &DeviceDir) -> Vec<HardwareSource> {
    let mut names = match root.names(dir.path) {
        Ok(names) => names,
        Err(reason) => return vec![source(kind, format!("/{}", dir.path), Err(SourceState::Unreadable(reason)))],
    };
    names.retain(|name| name.starts_with(dir.prefix));
    let mut sources: Vec<HardwareSource> = Vec::new();
    for name in names.iter().take(DEVICES_MAX) {
        let device = format!("{}/{name}", dir.path);
        let path = format!("{device}/{}", dir.file);
        let value = match removable_reason(root, &device, dir) {
            Some(reason) => Err(SourceState::NotCounted(reason)),
            None => read_file(root, &path).and_then(|value| match (dir.placeholder_reason)(&value) {
                Some(reason) => Err(SourceState::Placeholder(reason)),
                None => Ok(value),
            }),
        };
        let found = source(kind, format!("/{path}"), value);
        // A drive can have several entries: boot partitions, controllers with two paths.
        let is_duplicate = found.value.is_some() && sources.iter().any(|other| other.value == found.value);
        if found.state != SourceState::Missing && !is_duplicate {
            sources.push(found);
        }
    }
    sources
}

/// Returns why a device is not counted; `None` if it is part of the hardware.
fn removable_reason(root: &Sysroot, device: &str, dir: &DeviceDir) -> Option<&'static str> {
    dir.removable.iter().find_map(|marker| {
        let ReadOutcome::Bytes(bytes) = root.read(&format!("{device}/{}", marker.file), VALUE_MAX) else {
            return None;
        };
        marker.values.iter().any(|value| value.as_bytes() == bytes.trim_ascii()).then_some(marker.reason)
    })
}

/// Reads a file like [`read_file`], except for a file that a container hides, and for one that a
/// system without a disk creates again at each boot: no id is better than a different id.
fn read_system_file(root: &Sysroot, path: &str) -> Value {
    let value = read_file(root, path);
    match value {
        Err(SourceState::Missing) if root.is_hidden(path) => {
            Err(SourceState::Unreadable("hidden, as in a container".to_owned()))
        }
        Ok(_) if root.is_in_memory(path) => Err(SourceState::NotCounted("created again at each boot")),
        value => value,
    }
}

fn read_file(root: &Sysroot, path: &str) -> Value {
    match root.read(path, 2 * VALUE_MAX) {
        ReadOutcome::Bytes(bytes) => value_of(&bytes),
        other => Err(state_without_value(other)),
    }
}

fn value_of(bytes: &[u8]) -> Value {
    normalize(bytes).map_err(SourceState::Placeholder)
}

fn state_without_value(outcome: ReadOutcome) -> SourceState {
    match outcome {
        ReadOutcome::Missing => SourceState::Missing,
        ReadOutcome::Unreadable(reason) => SourceState::Unreadable(reason),
        ReadOutcome::Bytes(_) | ReadOutcome::TooLong => SourceState::Placeholder("too long for a serial"),
    }
}

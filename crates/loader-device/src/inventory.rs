//! All sources of a system and their state.

use crate::root::{Found, Root, reason};
use crate::table::{Devices, KINDS, Kind, Places, Strength};
use crate::value::{VALUE_MAX, clean, field};
use std::path::Path;
use zeroize::Zeroizing;

/// Longest `/proc/cpuinfo` in bytes: 1000 processors and more.
const CPUINFO_MAX: usize = 4 << 20;

/// Devices of one kind that are looked at; more is no machine of ours.
const DEVICES_MAX: usize = 64;

/// What became of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Part of the hardware id.
    Used,
    /// Not there.
    Missing,
    /// There, and says nothing of this device; why.
    Placeholder(&'static str),
    /// There, and not part of the hardware; why.
    NotCounted(&'static str),
    /// There, and the system does not let it be read; why. There is no id then.
    Unreadable(String),
}

impl State {
    /// `used`, `missing`, `placeholder`, `not_counted` or `unreadable`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::Missing => "missing",
            Self::Placeholder(_) => "placeholder",
            Self::NotCounted(_) => "not_counted",
            Self::Unreadable(_) => "unreadable",
        }
    }

    /// Why it is not used, where there is more to say than its name.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Used | Self::Missing => None,
            Self::Placeholder(reason) | Self::NotCounted(reason) => Some(reason),
            Self::Unreadable(reason) => Some(reason),
        }
    }
}

/// One source of the hardware id. Its value is wiped when it is dropped, and
/// never shown.
#[derive(Clone)]
pub struct Source {
    /// Name in the hashed line, such as `dmi-product-uuid`.
    pub name: &'static str,
    /// The file, from the root.
    pub place: String,
    /// How much it says of the hardware.
    pub strength: Strength,
    /// What became of it.
    pub state: State,
    pub(crate) value: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Source({} at {}: {})", self.name, self.place, self.state.as_str())
    }
}

/// Every source of a system, used or not.
#[derive(Clone, Debug)]
pub struct Inventory {
    pub(crate) sources: Vec<Source>,
}

impl Inventory {
    /// The sources, in the order of their kinds.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }
}

/// The inventory of the system whose root is `sysroot`, `/` for this one. Links
/// in another root are followed as if it were the root, never out of it.
pub fn read(sysroot: &Path) -> Inventory {
    let sources = match Root::open(sysroot) {
        Ok(root) => KINDS.iter().flat_map(|kind| sources(&root, kind)).collect(),
        Err(error) => {
            let unreadable = |kind: &Kind| {
                let place = sysroot.display().to_string();
                source(kind, place, Err(State::Unreadable(reason(error))))
            };
            KINDS.iter().map(unreadable).collect()
        }
    };
    Inventory { sources }
}

type Value = Result<Zeroizing<String>, State>;

fn source(kind: &Kind, place: String, value: Value) -> Source {
    let (state, value) = match value {
        Ok(value) => (State::Used, Some(value)),
        Err(state) => (state, None),
    };
    Source { name: kind.name, place, strength: kind.strength, state, value }
}

fn sources(root: &Root, kind: &Kind) -> Vec<Source> {
    let rooted = |path: &str| format!("/{path}");
    match &kind.places {
        Places::File(paths) => {
            let found = paths.iter().map(|path| (path, of_system_file(root, path)));
            let first = found.into_iter().find(|(_, value)| !matches!(value, Err(State::Missing)));
            let (path, value) = first.unwrap_or((&paths[0], Err(State::Missing)));
            vec![source(kind, rooted(path), value)]
        }
        Places::Field(path, name) => {
            let value = match root.read(path, CPUINFO_MAX) {
                Found::Bytes(bytes) => field(&bytes, name).map_or(Err(State::Missing), value_of),
                other => Err(state_of(other)),
            };
            vec![source(kind, rooted(path), value)]
        }
        Places::Devices(folders) => {
            let mut all: Vec<Source> = folders.iter().flat_map(|devices| of_devices(root, kind, devices)).collect();
            if all.is_empty() {
                all.push(source(kind, rooted(folders[0].folder), Err(State::Missing)));
            }
            all
        }
    }
}

fn of_devices(root: &Root, kind: &Kind, devices: &Devices) -> Vec<Source> {
    let mut names = match root.names(devices.folder) {
        Ok(names) => names,
        Err(why) => return vec![source(kind, format!("/{}", devices.folder), Err(State::Unreadable(why)))],
    };
    names.retain(|name| name.starts_with(devices.prefix));
    let mut all: Vec<Source> = Vec::new();
    for name in names.iter().take(DEVICES_MAX) {
        let device = format!("{}/{name}", devices.folder);
        let path = format!("{device}/{}", devices.file);
        let value = match removable(root, &device, devices) {
            Some(why) => Err(State::NotCounted(why)),
            None => of_file(root, &path).and_then(|value| match (devices.reason)(&value) {
                Some(reason) => Err(State::Placeholder(reason)),
                None => Ok(value),
            }),
        };
        let found = source(kind, format!("/{path}"), value);
        // One drive shows up several times: boot partitions, controllers with two paths.
        let again = found.value.is_some() && all.iter().any(|other| other.value == found.value);
        if found.state != State::Missing && !again {
            all.push(found);
        }
    }
    all
}

/// Why a device is not counted, where it can be taken out.
fn removable(root: &Root, device: &str, devices: &Devices) -> Option<&'static str> {
    devices.removable.iter().find_map(|(file, values, why)| {
        let Found::Bytes(bytes) = root.read(&format!("{device}/{file}"), VALUE_MAX) else { return None };
        values.iter().any(|value| value.as_bytes() == bytes.trim_ascii()).then_some(*why)
    })
}

/// As [`of_file`], where a container may hide the file, or a system without a disk
/// make it anew at each boot: no id is better than another one.
fn of_system_file(root: &Root, path: &str) -> Value {
    let value = of_file(root, path);
    match value {
        Err(State::Missing) if root.hides(path) => Err(State::Unreadable("hidden, as in a container".to_owned())),
        Ok(_) if root.forgets(path) => Err(State::NotCounted("made anew at each boot")),
        value => value,
    }
}

fn of_file(root: &Root, path: &str) -> Value {
    match root.read(path, 2 * VALUE_MAX) {
        Found::Bytes(bytes) => value_of(&bytes),
        other => Err(state_of(other)),
    }
}

fn value_of(bytes: &[u8]) -> Value {
    clean(bytes).map_err(State::Placeholder)
}

fn state_of(found: Found) -> State {
    match found {
        Found::Missing => State::Missing,
        Found::Unreadable(why) => State::Unreadable(why),
        Found::Bytes(_) | Found::TooLong => State::Placeholder("too long for a serial"),
    }
}

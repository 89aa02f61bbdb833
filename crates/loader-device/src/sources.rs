//! The sources of the hardware id: their names, and the files that hold their values.

use crate::placeholder;

/// How firmly a source is tied to the hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// Fixed to the board: one is enough for an id.
    Strong,
    /// Moves with the drive, or is a file on it: not enough for an id.
    Weak,
}

impl Strength {
    /// Returns `strong` or `weak`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::Weak => "weak",
        }
    }
}

/// A kind of source, such as the serials of all NVMe drives.
pub(crate) struct SourceKind {
    /// Name in the hashed line.
    pub(crate) name: &'static str,
    pub(crate) strength: Strength,
    pub(crate) location: Location,
}

/// Files that hold the values of a kind. All paths are relative to the root of the system.
pub(crate) enum Location {
    /// The first of these files that exists.
    FirstFile(&'static [&'static str]),
    /// A field of a file of `field : value` lines.
    Field { path: &'static str, name: &'static str },
    /// A file of each device.
    Devices(DeviceDir),
}

/// A directory that has an entry for each device.
pub(crate) struct DeviceDir {
    pub(crate) path: &'static str,
    /// Start of the names of the devices.
    pub(crate) prefix: &'static str,
    /// File that holds the value, relative to the device.
    pub(crate) file: &'static str,
    /// Files that show that a device is not part of the hardware.
    pub(crate) removable: &'static [RemovableMarker],
    /// Returns why a value does not identify the device; `None` if it does.
    pub(crate) placeholder_reason: fn(&str) -> Option<&'static str>,
}

/// A file whose content shows that a device can be removed.
pub(crate) struct RemovableMarker {
    /// Path relative to the device.
    pub(crate) file: &'static str,
    /// Contents of the file for a device that can be removed.
    pub(crate) values: &'static [&'static str],
    /// Why the device is not counted, in messages.
    pub(crate) reason: &'static str,
}

const MEMORY_CARD: &str = "a removable memory card";

const MMC_REMOVABLE: &[RemovableMarker] = &[
    RemovableMarker { file: "device/type", values: &["SD", "SDIO", "SDcombo"], reason: MEMORY_CARD },
    RemovableMarker { file: "removable", values: &["1"], reason: MEMORY_CARD },
];

const NVME_REMOVABLE: &[RemovableMarker] = &[
    RemovableMarker { file: "transport", values: &["tcp", "rdma", "fc", "loop"], reason: "a network drive" },
    RemovableMarker { file: "device/removable", values: &["removable"], reason: "a removable drive" },
];

/// All kinds of sources. None of the directories lists USB drives: plugging one in must not
/// change the id.
pub(crate) const SOURCE_KINDS: &[SourceKind] = &[
    SourceKind {
        name: "device-tree-serial",
        strength: Strength::Strong,
        location: Location::FirstFile(&[
            "sys/firmware/devicetree/base/serial-number",
            "proc/device-tree/serial-number",
        ]),
    },
    SourceKind {
        name: "dmi-product-uuid",
        strength: Strength::Strong,
        location: Location::FirstFile(&["sys/class/dmi/id/product_uuid", "sys/devices/virtual/dmi/id/product_uuid"]),
    },
    SourceKind {
        name: "dmi-board-serial",
        strength: Strength::Strong,
        location: Location::FirstFile(&["sys/class/dmi/id/board_serial", "sys/devices/virtual/dmi/id/board_serial"]),
    },
    SourceKind {
        name: "cpuinfo-serial",
        strength: Strength::Strong,
        location: Location::Field { path: "proc/cpuinfo", name: "Serial" },
    },
    SourceKind {
        name: "emmc-cid",
        strength: Strength::Strong,
        location: Location::Devices(DeviceDir {
            path: "sys/block",
            prefix: "mmcblk",
            file: "device/cid",
            removable: MMC_REMOVABLE,
            placeholder_reason: placeholder::cid_reason,
        }),
    },
    SourceKind {
        name: "nvme-serial",
        strength: Strength::Weak,
        location: Location::Devices(DeviceDir {
            path: "sys/class/nvme",
            prefix: "nvme",
            file: "serial",
            removable: NVME_REMOVABLE,
            placeholder_reason: |_| None,
        }),
    },
    SourceKind { name: "machine-id", strength: Strength::Weak, location: Location::FirstFile(&["etc/machine-id"]) },
];

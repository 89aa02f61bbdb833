//! The sources of the hardware id, by name and place.

use crate::placeholder;

/// How much a source says of the hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// Fixed to the board: enough for an id.
    Strong,
    /// Travels with the drive, or is a file on it: not enough alone.
    Weak,
}

impl Strength {
    /// `strong` or `weak`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::Weak => "weak",
        }
    }
}

/// One kind of source.
pub(crate) struct Kind {
    /// Its name in the hashed line.
    pub(crate) name: &'static str,
    pub(crate) strength: Strength,
    pub(crate) places: Places,
}

/// Where values of a kind are found, below the system's root.
pub(crate) enum Places {
    /// The first of these files that exists.
    File(&'static [&'static str]),
    /// The value of this field in a file of `field : value` lines.
    Field(&'static str, &'static str),
    /// One value for each device.
    Devices(&'static [Devices]),
}

/// Devices of a folder.
pub(crate) struct Devices {
    /// The folder.
    pub(crate) folder: &'static str,
    /// How the names of its devices begin.
    pub(crate) prefix: &'static str,
    /// The file with the value, below the device.
    pub(crate) file: &'static str,
    /// Files below the device with their values that mean it can be taken out,
    /// and why it is not counted then.
    pub(crate) removable: &'static [(&'static str, &'static [&'static str], &'static str)],
    /// Returns why a value of this kind does not identify the device.
    pub(crate) reason: fn(&str) -> Option<&'static str>,
}

const CARD: &str = "a memory card, which can be taken out";
const FABRIC: &str = "a drive across a network";
const PLUGGED: &str = "a drive on a port, which can be taken out";

const MMC_REMOVABLE: &[(&str, &[&str], &str)] =
    &[("device/type", &["SD", "SDIO", "SDcombo"], CARD), ("removable", &["1"], CARD)];

const NVME_REMOVABLE: &[(&str, &[&str], &str)] =
    &[("transport", &["tcp", "rdma", "fc", "loop"], FABRIC), ("device/removable", &["removable"], PLUGGED)];

/// All kinds. USB drives stand in none of the folders: what comes and goes must
/// not change the id.
pub(crate) const KINDS: &[Kind] = &[
    Kind {
        name: "device-tree-serial",
        strength: Strength::Strong,
        places: Places::File(&["sys/firmware/devicetree/base/serial-number", "proc/device-tree/serial-number"]),
    },
    Kind {
        name: "dmi-product-uuid",
        strength: Strength::Strong,
        places: Places::File(&["sys/class/dmi/id/product_uuid", "sys/devices/virtual/dmi/id/product_uuid"]),
    },
    Kind {
        name: "dmi-board-serial",
        strength: Strength::Strong,
        places: Places::File(&["sys/class/dmi/id/board_serial", "sys/devices/virtual/dmi/id/board_serial"]),
    },
    Kind { name: "cpuinfo-serial", strength: Strength::Strong, places: Places::Field("proc/cpuinfo", "Serial") },
    Kind {
        name: "emmc-cid",
        strength: Strength::Strong,
        places: Places::Devices(&[Devices {
            folder: "sys/block",
            prefix: "mmcblk",
            file: "device/cid",
            removable: MMC_REMOVABLE,
            reason: placeholder::cid_reason,
        }]),
    },
    Kind {
        name: "nvme-serial",
        strength: Strength::Weak,
        places: Places::Devices(&[Devices {
            folder: "sys/class/nvme",
            prefix: "nvme",
            file: "serial",
            removable: NVME_REMOVABLE,
            reason: |_| None,
        }]),
    },
    Kind { name: "machine-id", strength: Strength::Weak, places: Places::File(&["etc/machine-id"]) },
];

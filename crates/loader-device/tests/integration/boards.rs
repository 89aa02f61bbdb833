//! Hardware ids of typical boards and machines: the values of their firmware, as files of a
//! system.

use loader_device::{Error, Inventory, SourceState, hardware_id};
use std::fs;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

/// The files of a machine, and the expected states of its sources.
struct Board {
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    /// Sources that are part of the id.
    used: &'static [&'static str],
    /// Sources that exist and are not used, with the reason.
    rejected: &'static [(&'static str, &'static str)],
    has_id: bool,
}

const NEVER_FILLED: &str = "placeholder: a text that was never filled in";
const ONE_CHARACTER: &str = "placeholder: one repeated character";
const MEMORY_CARD: &str = "a removable memory card";

const DEVICE_TREE: &str = "sys/firmware/devicetree/base/serial-number";
const UUID: &str = "sys/class/dmi/id/product_uuid";
const BOARD_SERIAL: &str = "sys/class/dmi/id/board_serial";
const MACHINE: (&str, &str) = ("etc/machine-id", "9b1f6c2e5d0a4f7e8c3b2a1908f7e6d5\n");

const BOARDS: &[Board] = &[
    Board {
        name: "Raspberry Pi 4, from a memory card",
        files: &[
            (DEVICE_TREE, "10000000b4a2c1d3\0"),
            (
                "proc/cpuinfo",
                "processor\t: 3\nBogoMIPS\t: 108.00\n\nRevision\t: c03115\nSerial\t\t: 10000000b4a2c1d3\nModel\t\t: Raspberry Pi 4 Model B Rev 1.5\n",
            ),
            ("sys/block/mmcblk0/device/type", "SD\n"),
            ("sys/block/mmcblk0/device/cid", "035344534333324780a1b2c3d4014b00\n"),
            MACHINE,
        ],
        used: &["device-tree-serial", "cpuinfo-serial", "machine-id"],
        rejected: &[("emmc-cid", MEMORY_CARD)],
        has_id: true,
    },
    Board {
        name: "Raspberry Pi Compute Module with eMMC, its card slot in use",
        files: &[
            (DEVICE_TREE, "10000000e7f0a913\0"),
            ("proc/cpuinfo", "Serial\t\t: 10000000e7f0a913\n"),
            ("sys/block/mmcblk0/device/type", "MMC\n"),
            ("sys/block/mmcblk0/device/cid", "150100424a5444345203a1f29c35b7c1\n"),
            ("sys/block/mmcblk0boot0/device/cid", "150100424a5444345203a1f29c35b7c1\n"),
            ("sys/block/mmcblk1/device/type", "SD\n"),
            ("sys/block/mmcblk1/device/cid", "275048534431364760a2b3c4d5017a00\n"),
        ],
        used: &["device-tree-serial", "cpuinfo-serial", "emmc-cid"],
        rejected: &[("emmc-cid", MEMORY_CARD)],
        has_id: true,
    },
    Board {
        name: "Jetson module with NVMe",
        files: &[
            (DEVICE_TREE, "1424323049873\0"),
            ("proc/cpuinfo", "processor\t: 0\nCPU part\t: 0xd42\n"),
            (BOARD_SERIAL, "Unspecified\n"),
            ("sys/class/nvme/nvme0/serial", "S6XNNX0T413527      \n"),
            ("sys/class/nvme/nvme0/transport", "pcie\n"),
            MACHINE,
        ],
        used: &["device-tree-serial", "nvme-serial", "machine-id"],
        rejected: &[("dmi-board-serial", NEVER_FILLED)],
        has_id: true,
    },
    Board {
        name: "Rockchip board with the vendor's kernel",
        files: &[
            (DEVICE_TREE, "6ad1a9a2b1f3c7e4\0"),
            ("proc/cpuinfo", "processor\t: 7\nSerial\t\t: 6ad1a9a2b1f3c7e4\n"),
            ("sys/block/mmcblk0/device/type", "MMC\n"),
            ("sys/block/mmcblk0/device/cid", "d6010341334133355640c1d2e3f4a5b6\n"),
            ("sys/block/mmcblk0rpmb/device/type", "MMC\n"),
        ],
        used: &["device-tree-serial", "cpuinfo-serial", "emmc-cid"],
        rejected: &[],
        has_id: true,
    },
    Board {
        name: "Rockchip board whose processor serial was never burned",
        files: &[
            ("proc/cpuinfo", "Serial\t\t: 0000000000000000\n"),
            ("sys/block/mmcblk2/device/type", "MMC\n"),
            ("sys/block/mmcblk2/device/cid", "d6010341334133355640c1d2e3f4a5b6\n"),
            MACHINE,
        ],
        used: &["emmc-cid", "machine-id"],
        rejected: &[("cpuinfo-serial", ONE_CHARACTER)],
        has_id: true,
    },
    Board {
        name: "server with a default UUID in the other byte order, and an eMMC without a serial",
        files: &[
            (UUID, "38313931-3835-435A-3135-353130323750\n"),
            ("sys/block/mmcblk0/device/type", "MMC\n"),
            ("sys/block/mmcblk0/device/cid", "15010042344753343702000000005b00\n"),
            MACHINE,
        ],
        used: &["machine-id"],
        rejected: &[("dmi-product-uuid", NEVER_FILLED), ("emmc-cid", "placeholder: a CID without a serial number")],
        has_id: false,
    },
    Board {
        name: "industrial PC",
        files: &[
            (UUID, "4C4C4544-0042-3510-8052-B4C04F564231\n"),
            (BOARD_SERIAL, "/7XK2KH3/CNWS20007J00C3/\n"),
            ("proc/cpuinfo", "processor\t: 0\nmodel name\t: x\nflags\t\t: fpu vme\n"),
            ("sys/class/nvme/nvme0/serial", "S4EVNF0M812345P     \n"),
            MACHINE,
        ],
        used: &["dmi-product-uuid", "dmi-board-serial", "nvme-serial", "machine-id"],
        rejected: &[],
        has_id: true,
    },
    Board {
        name: "PC whose manufacturer set no serials",
        files: &[
            (UUID, "03000200-0400-0500-0006-000700080009\n"),
            (BOARD_SERIAL, "Default string\n"),
            ("sys/class/nvme/nvme0/serial", "0025385A11B0C2D4    \n"),
            MACHINE,
        ],
        used: &["nvme-serial", "machine-id"],
        rejected: &[("dmi-product-uuid", NEVER_FILLED), ("dmi-board-serial", NEVER_FILLED)],
        has_id: false,
    },
    Board {
        name: "virtual machine with a UUID of its own",
        files: &[(UUID, "7d1c6f0e-93b5-4a28-8f4e-2b6c9d0e1a37\n"), (BOARD_SERIAL, "None\n"), MACHINE],
        used: &["dmi-product-uuid", "machine-id"],
        rejected: &[("dmi-board-serial", NEVER_FILLED)],
        has_id: true,
    },
    Board {
        name: "virtual machine without one",
        files: &[
            (UUID, "00000000-0000-0000-0000-000000000000\n"),
            (BOARD_SERIAL, "0\n"),
            ("proc/cpuinfo", "processor\t: 0\n"),
            MACHINE,
        ],
        used: &["machine-id"],
        rejected: &[("dmi-product-uuid", ONE_CHARACTER), ("dmi-board-serial", ONE_CHARACTER)],
        has_id: false,
    },
    Board {
        name: "container",
        files: &[("proc/cpuinfo", "processor\t: 0\n"), MACHINE],
        used: &["machine-id"],
        rejected: &[],
        has_id: false,
    },
];

impl Board {
    fn system(&self) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, value) in self.files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, value).unwrap();
        }
        // Linux creates this link on every board with a device tree.
        if root.path().join("sys/firmware/devicetree").exists() {
            fs::create_dir_all(root.path().join("proc")).unwrap();
            symlink("/sys/firmware/devicetree/base", root.path().join("proc/device-tree")).unwrap();
        }
        root
    }
}

fn names(inventory: &Inventory, state: &SourceState) -> Vec<&'static str> {
    inventory.sources().iter().filter(|source| source.state == *state).map(|source| source.name).collect()
}

#[test]
fn a_device_tree_hidden_by_a_container_is_unreadable_not_missing() {
    let board = BOARDS.iter().find(|board| board.has_id && board.used.contains(&"device-tree-serial")).unwrap();
    let root = board.system();
    assert!(hardware_id(root.path()).is_ok());
    fs::remove_dir_all(root.path().join("sys/firmware")).unwrap();
    let error = hardware_id(root.path()).unwrap_err().to_string();
    assert!(error.contains("device-tree-serial") && error.contains("hidden"), "{error}");
    // On a machine with DMI the kernel creates the link too.
    fs::create_dir_all(root.path().join("sys/class/dmi/id")).unwrap();
    assert_eq!(
        names(&Inventory::read(root.path()), &SourceState::Unreadable("hidden, as in a container".to_owned())),
        [""; 0]
    );
}

#[test]
fn each_board_uses_the_expected_sources() {
    for board in BOARDS {
        let name = board.name;
        let root = board.system();
        let inventory = Inventory::read(root.path());
        assert_eq!(names(&inventory, &SourceState::Used), board.used, "{name}");
        let rejected = inventory.sources().iter().filter_map(|source| Some((source.name, source.state.reason()?)));
        assert_eq!(rejected.collect::<Vec<_>>(), board.rejected, "{name}");
        match hardware_id(root.path()) {
            Ok(_) => assert!(board.has_id, "{name}"),
            Err(error) => {
                assert!(!board.has_id && matches!(error, Error::NoStrongSource { .. }), "{name}: {error}");
                // The error lists each strong source with the reason.
                let text = error.to_string();
                for (source, reason) in board.rejected {
                    assert!(text.contains(&format!("{source} ({reason})")), "{name}: {text}");
                }
                assert!(text.contains("(missing)"), "{name}: {text}");
            }
        }
    }
}

#[test]
fn ids_differ_between_boards_and_ignore_a_memory_card() {
    let ids: Vec<_> =
        BOARDS.iter().filter(|board| board.has_id).map(|board| hardware_id(board.system().path())).collect();
    for (i, id) in ids.iter().enumerate() {
        assert!(!ids[..i].contains(id), "{i}");
    }
    for board in BOARDS.iter().filter(|board| board.has_id) {
        let (before, root) = (hardware_id(board.system().path()), board.system());
        for (file, value) in [("type", "SD\n"), ("cid", "fe34565344202020100123456789abcd\n")] {
            let path = root.path().join("sys/block/mmcblk9/device").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, value).unwrap();
        }
        assert_eq!(hardware_id(root.path()), before, "{}", board.name);
    }
}

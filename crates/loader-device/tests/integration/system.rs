//! Hardware ids, inventories and cards of systems that consist of a few files.

use loader_device::{Card, ChangeKind, Error, HardwareSource, Inventory, SourceState, hardware_id, id_from_text};
use loader_model::{Coded, ErrorCode};
use std::fs;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

const UUID: &str = "4c4c4544-0042-3510-8052-b4c04f564231";
const BOARD: &str = "/7XK2KH3/CNWS20007J00C3/";
const CPU: &str = "10000000a1b2c3d4";
const CID: &str = "150100385339363039020d2a4b7c8f00";
const NVME: &str = "S4EVNF0M812345P";
const MACHINE: &str = "9b1f6c2e5d0a4f7e8c3b2a1908f7e6d5";

/// Card of [`System::full`] with the salt 00 01 .. 0f, computed by another implementation. With
/// a random salt the tests would fail occasionally, since a card misses one change in 65536.
const CARD: &str = r#"{"hwid_card":1,"salt":"000102030405060708090a0b0c0d0e0f","sources":{"cpuinfo-serial":["77e2"],"device-tree-serial":["1477"],"dmi-board-serial":["5319"],"dmi-product-uuid":["321d"],"emmc-cid":["2909"],"machine-id":["87fc"],"nvme-serial":["0ebb"]}}"#;

struct System(TempDir);

impl System {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    fn link(self, path: &str, target: &str) -> Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
        self
    }

    /// Returns a system with all sources.
    fn full() -> Self {
        Self::new()
            .put("sys/firmware/devicetree/base/serial-number", format!("{CPU}\0"))
            .put("sys/class/dmi/id/product_uuid", format!("{UUID}\n"))
            .put("sys/class/dmi/id/board_serial", format!("{BOARD}\n"))
            .put("proc/cpuinfo", format!("processor\t: 0\nSerial\t\t: {CPU}\nModel\t\t: x\n"))
            .put("sys/block/mmcblk0/device/type", "MMC\n")
            .put("sys/block/mmcblk0/device/cid", format!("{CID}\n"))
            .put("sys/class/nvme/nvme0/serial", format!("{NVME}     \n"))
            .put("sys/class/nvme/nvme0/transport", "pcie\n")
            .put("etc/machine-id", format!("{MACHINE}\n"))
    }

    fn id(&self) -> Result<[u8; 32], Error> {
        hardware_id(self.0.path())
    }

    fn hex(&self) -> String {
        self.id().unwrap().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn state(&self, name: &str) -> SourceState {
        let inventory = Inventory::read(self.0.path());
        inventory.sources().iter().find(|source| source.name == name).unwrap().state.clone()
    }

    fn card(&self) -> Card {
        Card::enroll(&Inventory::read(self.0.path())).unwrap()
    }
}

#[test]
fn the_id_equals_that_of_another_implementation() {
    // Python: hmac.new(b"azs/hwid/v1", lines, "sha256"), lines sorted, each with its newline
    assert_eq!(System::full().hex(), "af7f31b8b92967cbc685443883696b893400ac53015b12ad4546fc8f4989baa1");
    let one = System::new().put("sys/class/dmi/id/product_uuid", format!("{}\r\n", UUID.to_uppercase()));
    assert_eq!(one.hex(), "2b3df84ce984db613f87efe7e377a457e480e84bac57b48eb3dcf8e21cf6c318");
}

#[test]
fn every_source_is_part_of_the_id() {
    let full = System::full().id().unwrap();
    for (path, value) in [
        ("sys/firmware/devicetree/base/serial-number", "10000000a1b2c3d5\0".to_owned()),
        ("sys/class/dmi/id/product_uuid", UUID.replace('2', "7")),
        ("sys/class/dmi/id/board_serial", BOARD.replace('2', "7")),
        ("proc/cpuinfo", "Serial : 10000000a1b2c3d5\n".to_owned()),
        ("sys/block/mmcblk0/device/cid", CID.replace('8', "9")),
        ("sys/class/nvme/nvme0/serial", NVME.replace('8', "9")),
        ("etc/machine-id", MACHINE.replace('8', "9")),
    ] {
        assert_ne!(System::full().put(path, value).id().unwrap(), full, "{path} changed");
        let gone = System::full();
        fs::remove_file(gone.0.path().join(path)).unwrap();
        assert_ne!(gone.id().unwrap(), full, "{path} gone");
        // An empty value and a placeholder are skipped like a missing file.
        let field = if path == "proc/cpuinfo" { "Serial : " } else { "" };
        for nothing in ["\n", "\0", "To Be Filled By O.E.M.\n", "0000000000000000\n"] {
            let nothing = format!("{field}{nothing}");
            assert_eq!(System::full().put(path, &nothing).id(), gone.id(), "{path} {nothing:?}");
        }
    }
}

#[test]
fn without_a_strong_source_there_is_no_id() {
    let weak = System::new()
        .put("etc/machine-id", MACHINE)
        .put("sys/class/nvme/nvme0/serial", NVME)
        .put("sys/class/dmi/id/product_uuid", "03000200-0400-0500-0006-000700080009\n")
        .put("sys/class/dmi/id/board_serial", "Default string\n")
        .put("sys/class/net/eth0/address", "de:ad:be:ef:00:01\n")
        .put("etc/hostname", "machine\n");
    let error = weak.id().unwrap_err();
    assert_eq!(error.code(), ErrorCode::Config);
    let text = error.to_string();
    assert!(text.contains("dmi-board-serial (placeholder: a text that was never filled in)"), "{text}");
    assert!(text.contains("emmc-cid (missing)"), "{text}");
    assert!(!text.contains("03000200") && !text.contains("machine-id"), "{text}");
    let nothing = System::new();
    assert!(matches!(nothing.id(), Err(Error::NoStrongSource { .. })));
    for strong in ["sys/class/dmi/id/product_uuid", "sys/class/dmi/id/board_serial", "proc/device-tree/serial-number"] {
        assert!(System::new().put(strong, UUID).id().is_ok(), "{strong}");
    }
    assert!(System::new().put("sys/block/mmcblk1/device/cid", CID).id().is_ok());
    assert!(System::new().put("proc/cpuinfo", format!("Serial: {CPU}")).id().is_ok());
}

#[test]
fn removable_devices_are_not_counted() {
    let full = System::full().id().unwrap();
    let with_more = System::full()
        .put("sys/block/sda/device/serial", "USB0000A17")
        .put("sys/block/mmcblk1/device/type", "SD\n")
        .put("sys/block/mmcblk1/device/cid", "035344534333324780a1b2c3d4014b00\n")
        .put("sys/block/mmcblk0boot0/device/cid", format!("{CID}\n"))
        .put("sys/class/nvme/nvme1/serial", "PLUGGED7K3")
        .put("sys/class/nvme/nvme1/device/removable", "removable\n")
        .put("sys/class/nvme/nvme2/serial", "FARAWAY7K3")
        .put("sys/class/nvme/nvme2/transport", "tcp\n")
        .put("sys/class/nvme/nvme3/serial", NVME)
        .put("sys/class/net/eth0/address", "de:ad:be:ef:00:01\n");
    assert_eq!(with_more.id().unwrap(), full);
    let inventory = Inventory::read(with_more.0.path());
    let states = |name| -> Vec<_> {
        inventory.sources().iter().filter(|source| source.name == name).map(|source| source.state.as_str()).collect()
    };
    assert_eq!(states("emmc-cid"), ["used", "not_counted"]);
    assert_eq!(states("nvme-serial"), ["used", "not_counted", "not_counted"]);
}

#[test]
fn the_order_of_devices_does_not_matter() {
    let two = |first, second| {
        System::full()
            .put("sys/class/nvme/nvme0/serial", first)
            .put("sys/class/nvme/nvme1/serial", second)
            .id()
            .unwrap()
    };
    assert_eq!(two("AAAA1111B", "CCCC2222D"), two("CCCC2222D", "AAAA1111B"));
    assert_ne!(two("AAAA1111B", "CCCC2222D"), two("AAAA1111B", "CCCC2222E"));
}

#[test]
fn links_are_resolved_within_the_sysroot() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("uuid"), UUID).unwrap();
    let target = outside.path().join("uuid");
    let system = System::new().link("sys/class/dmi/id/product_uuid", target.to_str().unwrap());
    assert_eq!(system.state("dmi-product-uuid"), SourceState::Missing);
    let up = format!("{}{}", "../".repeat(20), target.to_str().unwrap().trim_start_matches('/'));
    let system = System::new().link("sys/class/dmi/id/product_uuid", &up);
    assert_eq!(system.state("dmi-product-uuid"), SourceState::Missing);
    // Links within the sysroot are followed.
    let system = System::new().link("etc/machine-id", "/var/id").put("var/id", MACHINE);
    assert_eq!(system.state("machine-id"), SourceState::Used);
    let system = System::new()
        .link("sys/class/nvme/nvme0", "../../devices/pci0000:00/nvme/nvme0")
        .put("sys/devices/pci0000:00/nvme/nvme0/serial", NVME);
    assert_eq!(system.state("nvme-serial"), SourceState::Used);
    let system = System::new().link("etc/machine-id", "machine-id");
    assert!(matches!(system.state("machine-id"), SourceState::Unreadable(_)));
}

#[test]
fn an_unreadable_source_is_an_error_not_another_id() {
    // Nobody can read a directory as a file, not even root.
    let system = System::full().put("sys/class/dmi/id/other", "");
    fs::remove_file(system.0.path().join("sys/class/dmi/id/product_uuid")).unwrap();
    fs::create_dir(system.0.path().join("sys/class/dmi/id/product_uuid")).unwrap();
    let error = system.id().unwrap_err();
    assert!(matches!(&error, Error::Unreadable { name: "dmi-product-uuid", .. }), "{error}");
    assert!(error.hint().unwrap().contains("--hwid-file"));
    let nowhere = hardware_id("/nonexistent".as_ref()).unwrap_err();
    assert!(matches!(nowhere, Error::Unreadable { .. }), "{nowhere}");
}

#[test]
fn sizes_are_bounded() {
    let long = System::full().put("sys/class/dmi/id/board_serial", vec![b'7'; 5 << 20]);
    assert_eq!(long.state("dmi-board-serial"), SourceState::Placeholder("too long for a serial"));
    let cpuinfo = System::full().put("proc/cpuinfo", vec![b'7'; 5 << 20]);
    assert_eq!(cpuinfo.state("cpuinfo-serial"), SourceState::Placeholder("too long for a serial"));
}

#[test]
fn no_output_contains_a_serial() {
    let system = System::full();
    let inventory = Inventory::read(system.0.path());
    let card = String::from_utf8(system.card().to_line()).unwrap();
    let tags: Vec<_> = inventory.sources().iter().filter_map(HardwareSource::tag).collect();
    assert_eq!(tags.len(), 7);
    let shown = format!("{inventory:?} {card} {tags:?}").to_lowercase();
    for secret in [UUID, BOARD, CPU, CID, NVME, MACHINE, &system.hex()] {
        assert!(!shown.contains(&secret.to_lowercase()), "{secret}");
    }
}

#[test]
fn a_card_shows_which_sources_changed() {
    let before = System::full();
    let card = Card::from_json(CARD.as_bytes()).unwrap();
    assert_eq!(card.compare(&Inventory::read(before.0.path())), []);
    let after = System::full()
        .put("sys/class/nvme/nvme0/serial", "S4EVNF0M899999Q")
        .put("sys/class/dmi/id/board_serial", "Default string\n");
    fs::remove_file(after.0.path().join("proc/cpuinfo")).unwrap();
    let changes = card.compare(&Inventory::read(after.0.path()));
    let named: Vec<_> = changes.iter().map(|change| (change.source.as_str(), change.change)).collect();
    let expected = [
        ("cpuinfo-serial", ChangeKind::Gone),
        ("dmi-board-serial", ChangeKind::Gone),
        ("nvme-serial", ChangeKind::Changed),
    ];
    assert_eq!(named, expected);
    let texts: Vec<_> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(texts[1], "dmi-board-serial is gone (placeholder: a text that was never filled in)");
    let back = Card::from_json(&after.card().to_line()).unwrap().compare(&Inventory::read(before.0.path()));
    assert_eq!(back.iter().filter(|change| change.change == ChangeKind::New).count(), 2);
}

#[test]
fn unreadable_sources_are_not_compared() {
    let card = Card::from_json(CARD.as_bytes()).unwrap();
    assert_eq!(card.compare(&Inventory::read("/nonexistent".as_ref())), []);
    let system = System::full().put("sys/class/nvme/nvme0/serial", "S4EVNF0M899999Q");
    fs::remove_file(system.0.path().join("sys/class/dmi/id/product_uuid")).unwrap();
    fs::create_dir(system.0.path().join("sys/class/dmi/id/product_uuid")).unwrap();
    let changes = card.compare(&Inventory::read(system.0.path()));
    assert_eq!(changes.iter().map(|change| change.source.as_str()).collect::<Vec<_>>(), ["nvme-serial"]);
}

#[test]
fn each_change_is_reported_and_salts_differ() {
    let system = System::full();
    let [one, two] = [system.card(), system.card()];
    assert_ne!(one, two);
    let text = |card: &Card| String::from_utf8(card.to_line()).unwrap();
    let tags = |card: &Card| text(card).split_once("sources").unwrap().1.to_owned();
    assert_ne!(tags(&one), tags(&two));
    for (path, name) in [
        ("sys/firmware/devicetree/base/serial-number", "device-tree-serial"),
        ("sys/class/dmi/id/product_uuid", "dmi-product-uuid"),
        ("sys/class/dmi/id/board_serial", "dmi-board-serial"),
        ("proc/cpuinfo", "cpuinfo-serial"),
        ("sys/block/mmcblk0/device/cid", "emmc-cid"),
        ("sys/class/nvme/nvme0/serial", "nvme-serial"),
        ("etc/machine-id", "machine-id"),
    ] {
        let gone = System::full();
        fs::remove_file(gone.0.path().join(path)).unwrap();
        let changes = one.compare(&Inventory::read(gone.0.path()));
        assert_eq!(changes.len(), 1);
        assert_eq!((changes[0].source.as_str(), changes[0].change), (name, ChangeKind::Gone));
    }
}

#[test]
fn a_malformed_card_is_rejected() {
    let whole = String::from_utf8(System::full().card().to_line()).unwrap();
    for bad in [
        String::new(),
        "{}".to_owned(),
        whole.replace("\"hwid_card\":1", "\"hwid_card\":2"),
        whole.replace("\"salt\":\"", "\"salt\":\"0"),
        whole.replace("\"salt\"", "\"salz\""),
        whole.replace("\"sources\":{", "\"sources\":{\"x\":[],"),
        whole.replace("\"sources\":{", "\"sources\":{\"x\":[\"12345\"],"),
        whole.replace("\"sources\":{", "\"sources\":{\"x\":[\"wxyz\"],"),
    ] {
        assert_eq!(Card::from_json(bad.as_bytes()).unwrap_err().code(), ErrorCode::Malformed, "{bad}");
    }
}

#[test]
fn an_id_is_parsed_from_a_line() {
    let hex = "0aF1".repeat(16);
    assert_eq!(id_from_text(format!("# id\n {hex} \r\n").as_bytes()).unwrap()[..2], [0x0a, 0xf1]);
    for bad in [hex[1..].to_owned(), format!("{hex}0"), hex.replace('F', "g"), String::new()] {
        assert_eq!(id_from_text(bad.as_bytes()), None);
    }
}

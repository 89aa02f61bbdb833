//! Resources sealed to a user and a device open only there; elsewhere the error names the
//! difference. The hardware is simulated by a directory with /sys and /proc files.

use loader_seal::Key;
use loader_seal::device::{Binding, Cost, SealedKind, seal};
use loader_seal::fragment::{Scheme, split};
use loader_testkit::test_dir::TestDir;
use loader_testkit::{FragmentForm, Settings, Site, SiteConfig, UserRecord, credentials, write_below};
use std::fs;
use std::ops::Deref;
use std::process::Command;
use tests::{Finished, bash, filter, hex, run, set_mode};

const SECRET: [u8; 32] = [0x5e; 32];

/// Hardware serial numbers, which no output may contain.
const SERIALS: [&str; 4] = ["4c4c4544-0042-3510-8052-b4c04f564231", "S4EVNF0M812345P", "S4EVNF0M899999Q", "7xk2kh3"];

/// A site with a device whose user is bound to its hardware.
struct Device(Site);

impl Deref for Device {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.0
    }
}

impl Device {
    /// Creates a device. If `secret` is set, resources are additionally sealed with a device secret.
    fn new(secret: bool) -> Self {
        let dir = TestDir::new();
        for (path, value) in [
            ("sys/class/dmi/id/product_uuid", SERIALS[0]),
            ("sys/class/dmi/id/board_serial", SERIALS[3]),
            ("sys/class/nvme/nvme0/serial", SERIALS[1]),
        ] {
            write_below(&dir.path("system").join(path), value);
        }
        let az_hwid = |what: &[&str]| {
            let mut command = filter("az-hwid");
            command.arg("--sysroot").arg(dir.path("system")).args(what);
            let finished = run(command, b"");
            assert_eq!(finished.status, 0, "{}", finished.stderr);
            finished.text()
        };
        let hardware = Some(az_hwid(&[]).trim().to_owned());
        fs::write(dir.path("card.json"), az_hwid(&["--enroll"])).unwrap();

        let device_secret = secret.then(|| hex(&SECRET));
        let user = UserRecord { hardware, device_secret, ..UserRecord::new(42, "device", "Operator") };
        let fragments = split(&Key::from_bytes([1; 32]), Scheme::Xor, 2, 2).unwrap();
        let seed = [
            ("key-fragment", format!("{}\n", *fragments[0].to_text())),
            ("resources/models/tiny.txt", "tiny\n".to_owned()),
        ];
        let base = SiteConfig::default();
        let config = SiteConfig {
            users: vec![user],
            seed: seed.map(|(name, text)| (name.to_owned(), text.into_bytes())).to_vec(),
            settings: Settings { fragment_form: FragmentForm::Sealed, ..base.settings },
            ..base
        };
        let device = Self(Site::start_in(dir, config));
        device.secret("wrong.json", credentials("device@example.com", "another password").to_string());
        for (name, secret, mode) in
            [("device-secret", SECRET, 0o400), ("other-secret", [7; 32], 0o400), ("loose-secret", SECRET, 0o440)]
        {
            device.secret(name, hex(&secret));
            set_mode(&device.path(name), mode);
        }
        device
    }

    fn command(&self, line: &str) -> Command {
        let mut command = bash(line);
        command
            .current_dir(self.root())
            .env("AZ_API_URL", self.server().api_url())
            .env("AZ_TOKEN_FILE", "device.jwt")
            .env("AZ_CREDENTIALS_FILE", "device.json")
            .env("AZ_SYSROOT", "system");
        command
    }

    /// Runs a shell line in the device's directory, and asserts that it prints no serial number.
    fn run(&self, line: &str) -> Finished {
        let finished = run(self.command(line), b"");
        let shown = format!("{}{}", finished.stderr, String::from_utf8_lossy(&finished.stdout)).to_lowercase();
        for serial in SERIALS {
            assert!(!shown.contains(&serial.to_lowercase()), "{line}: {shown}");
        }
        finished
    }

    #[track_caller]
    fn succeeds(&self, line: &str) -> String {
        let finished = self.run(line);
        assert_eq!(finished.status, 0, "{line}: {}", finished.stderr);
        finished.text()
    }

    /// Asserts that the line ends with `status` and that its last event contains `words`.
    #[track_caller]
    fn refused(&self, line: &str, status: i32, words: &[&str]) {
        let finished = self.run(line);
        assert_eq!((finished.status, finished.stdout.len()), (status, 0), "{line}: {}", finished.stderr);
        let last = finished.stderr.lines().last().unwrap();
        for word in words {
            assert!(last.contains(word), "{line}: no {word:?} in {last}");
        }
    }
}

const ALL: [&str; 3] = ["az-fetch key-fragment", "az-fetch models/tiny.txt", "az-fetch --part small models/tiny.txt"];

#[test]
fn with_a_card_the_changed_source_is_named() {
    let device = Device::new(false);
    for line in ALL {
        device.succeeds(&format!("{line} --hwid-card card.json"));
    }
    device.succeeds("az-fetch --export stick key-fragment");
    fs::write(device.path("system/sys/class/nvme/nvme0/serial"), SERIALS[2]).unwrap();
    let stick = "az-fetch --from stick key-fragment";
    for line in
        ["az-fetch key-fragment", "az-fetch models/tiny.txt", "az-cdn-creds --cdn-resource models/tiny.txt", stick]
    {
        device.refused(line, 79, &["\"wrong_device\"", "hardware"]);
        let words = ["; since the enrolment nvme-serial changed\"", "enrolled again"];
        device.refused(&format!("{line} --hwid-card card.json"), 79, &words);
        device.refused(&format!("AZ_HWID_CARD=card.json {line}"), 79, &["since the enrolment nvme-serial changed"]);
    }
    fs::write(device.path("system/sys/class/dmi/id/board_serial"), "To be filled by O.E.M.\n").unwrap();
    let gone = "dmi-board-serial is gone (placeholder: a text that was never filled in), nvme-serial changed";
    device.refused("az-fetch key-fragment --hwid-card card.json", 79, &[gone]);
    device.refused("az-fetch key-fragment --hwid-card device.jwt", 65, &["not an enrolment card"]);
    device.refused("az-fetch key-fragment --hwid-card none", 66, &["none"]);
}

#[test]
fn unchanged_hardware_is_reported_as_unchanged() {
    let device = Device::new(false);
    device.succeeds("az-fetch --export stick key-fragment");
    let line = "az-fetch --credentials-file wrong.json --hwid-card card.json --from stick key-fragment";
    device.refused(
        line,
        79,
        &["sealed to another user, password or hardware", "the hardware matches the enrolment card"],
    );
}

#[test]
fn a_device_secret_is_an_additional_factor() {
    let device = Device::new(true);
    for line in ALL {
        device.succeeds(&format!("{line} --device-secret-file device-secret"));
        device.refused(line, 79, &["sealed with a device secret, which is missing", "--device-secret-file"]);
        device.refused(&format!("{line} --device-secret-file other-secret"), 79, &["hardware or device secret"]);
        device.refused(&format!("{line} --device-secret-file loose-secret"), 78, &["can be read by group or others"]);
    }
    // As with systemd: a credentials directory, and no option.
    fs::create_dir(device.path("credentials")).unwrap();
    fs::copy(device.path("device-secret"), device.path("credentials/device-secret")).unwrap();
    let opened = device.succeeds("CREDENTIALS_DIRECTORY=$PWD/credentials az-fetch models/tiny.txt");
    assert_eq!(opened, "tiny\n");
    let without = Device::new(false);
    let line = "az-fetch --device-secret-file device-secret key-fragment";
    without.refused(line, 79, &["sealed without a device secret, and one is given", "omit"]);
}

/// With a memory limit below 256 MiB: a larger Argon2id cost is refused before memory is
/// allocated, and a cost of 256 MiB is tried.
#[test]
fn a_hostile_password_hash_is_refused_before_it_takes_memory() {
    let device = Device::new(false);
    device.succeeds("az-fetch --export stick key-fragment");
    let binding = Binding { user: [1; 16], password: "x", hardware: [2; 32], secret: None };
    let cheap = Cost { memory_kib: 64, passes: 1, lanes: 1 };
    let sealed = seal(b"x", SealedKind::Fragment, &binding, cheap).unwrap();
    let with = |memory_kib: u32, passes: u32, lanes: u8| {
        let mut sealed = sealed.clone();
        // The cost follows the TLV header, the wrapped key and the KDF.
        let cost = [&memory_kib.to_be_bytes()[..], &passes.to_be_bytes(), &[lanes]].concat();
        sealed[40 + 3 + 64 + 1..][..cost.len()].copy_from_slice(&cost);
        fs::write(device.path("stick/key-fragment.sealed"), sealed).unwrap();
    };
    let line = "ulimit -v 250000; exec az-fetch --from stick key-fragment";
    for (memory_kib, passes, lanes) in [
        (256 * 1024 + 1, 1, 1),
        (u32::MAX, 1, 1),
        (0, 1, 1),
        (7, 1, 1),
        (64, 11, 1),
        (64, u32::MAX, 1),
        (64, 0, 1),
        (64, 1, 0),
        (64, 1, 255),
    ] {
        with(memory_kib, passes, lanes);
        device.refused(line, 65, &["\"malformed\"", "password hash"]);
    }
    with(256 * 1024, 10, 1);
    device.refused(line, 74, &["not enough memory for the password hash, which needs 262144 KiB"]);
}

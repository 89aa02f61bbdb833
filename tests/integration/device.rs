//! Resources sealed to a user and a device open only there; elsewhere the error names the
//! difference. The hardware is simulated by a directory with /sys and /proc files.

use loader_seal::Key;
use loader_seal::device::{Binding, Cost, SealedKind, seal};
use loader_seal::fragment::{Scheme, split};
use loader_testkit::{Config, DevServer, FragmentForm, SealCost, Settings};
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;
use tests::{Finished, bash, filter, hex, run, set_mode};

const PASSWORD: &str = "a password of the tests";
const EMAIL: &str = "device@example.com";
const USER: &str = "00000000-0000-4000-8000-000000000042";
const SECRET: [u8; 32] = [0x5e; 32];

/// Hardware serial numbers, which no output may contain.
const SERIALS: [&str; 4] = ["4c4c4544-0042-3510-8052-b4c04f564231", "S4EVNF0M812345P", "S4EVNF0M899999Q", "7xk2kh3"];

/// A server, and a device whose user is bound to its hardware.
struct Device {
    server: DevServer,
    folder: TempDir,
}

impl Device {
    /// Creates a device. If `secret` is set, resources are additionally sealed with a device secret.
    fn new(secret: bool) -> Self {
        let folder = TempDir::new().unwrap();
        let device = |name: &str| folder.path().join(name);
        for (path, value) in [
            ("sys/class/dmi/id/product_uuid", SERIALS[0]),
            ("sys/class/dmi/id/board_serial", SERIALS[3]),
            ("sys/class/nvme/nvme0/serial", SERIALS[1]),
        ] {
            let path = device("system").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, value).unwrap();
        }
        let az_hwid = |what: &[&str]| {
            let mut command = filter("az-hwid");
            command.arg("--sysroot").arg(device("system")).args(what);
            let finished = run(command, b"");
            assert_eq!(finished.status, 0, "{}", finished.stderr);
            finished.text()
        };
        let hardware = az_hwid(&[]).trim().to_owned();
        fs::write(device("card.json"), az_hwid(&["--enroll"])).unwrap();

        let device_secret = secret.then(|| hex(&SECRET));
        let user = json!([{
            "id": USER, "email": EMAIL, "password": PASSWORD, "role": "Operator",
            "hardware": hardware, "device_secret": device_secret,
        }]);
        fs::create_dir_all(device("seed/resources/models")).unwrap();
        fs::write(device("seed/users.json"), user.to_string()).unwrap();
        let fragments = split(&Key::from_bytes([1; 32]), Scheme::Xor, 2, 2).unwrap();
        fs::write(device("seed/key-fragment"), format!("{}\n", *fragments[0].to_text())).unwrap();
        fs::write(device("seed/resources/models/tiny.txt"), "tiny\n").unwrap();
        let settings = Settings {
            fragment_form: FragmentForm::Sealed,
            seal_cost: SealCost { memory_kib: 64, passes: 1, lanes: 1 },
            ..Settings::default()
        };
        let config = Config { settings: Some(settings), ..Config::seeded(device("seed")) };
        let server = DevServer::start(config).unwrap();
        let token = server.token(EMAIL, 3600).unwrap();
        let device = Self { server, folder };
        device.put("jwt", &token, 0o600);
        let credentials = |password: &str| json!({ "email": EMAIL, "password": password }).to_string();
        device.put("credentials.json", &credentials(PASSWORD), 0o600);
        device.put("wrong.json", &credentials("another password"), 0o600);
        device.put("device-secret", &hex(&SECRET), 0o400);
        device.put("other-secret", &hex(&[7; 32]), 0o400);
        device.put("loose-secret", &hex(&SECRET), 0o440);
        device
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, text: &str, mode: u32) {
        fs::write(self.path(name), format!("{text}\n")).unwrap();
        set_mode(&self.path(name), mode);
    }

    fn command(&self, line: &str) -> Command {
        let mut command = bash(line);
        command
            .current_dir(self.folder.path())
            .env("AZ_API_URL", self.server.api_url())
            .env("AZ_TOKEN_FILE", "jwt")
            .env("AZ_CREDENTIALS_FILE", "credentials.json")
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
    device.put("system/sys/class/nvme/nvme0/serial", SERIALS[2], 0o644);
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
    device.refused("az-fetch key-fragment --hwid-card jwt", 65, &["not an enrolment card"]);
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
        device.refused(line, 79, &["sealed with a device secret, and none is given", "--device-secret-file"]);
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

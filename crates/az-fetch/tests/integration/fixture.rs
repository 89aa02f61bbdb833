//! Test fixture: a server with one resource in two parts, and the az-fetch binary.

use loader_cdn::ExpectedPart;
use loader_model::{PartReceipt, PartsReceipt};
use loader_testkit::{Config, DevServer, FaultLog, Faults, FragmentForm, SealCost, Settings, Tls};
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

pub(crate) const NAME: &str = "models/yolo.onnx";
/// Resource whose big part fits on no disk.
pub(crate) const HUGE: &str = "large/huge";
pub(crate) const FRAGMENT: &[u8] = b"AZ-FRAG-1TEST\n";
pub(crate) const SMALL: &[u8] = b"small part";

pub(crate) struct FetchFixture {
    pub(crate) server: DevServer,
    pub(crate) dir: TempDir,
    pub(crate) big: Vec<u8>,
}

impl FetchFixture {
    /// Starts a server with a big part of `len` bytes.
    pub(crate) fn new(len: usize) -> Self {
        Self::with(len, None, None)
    }

    /// The same behind a proxy that injects faults.
    pub(crate) fn proxied(len: usize) -> Self {
        Self::with(len, Some(Faults::default()), None)
    }

    /// The same with https, behind a proxy that injects faults.
    pub(crate) fn https(len: usize, tls: Tls) -> Self {
        Self::with(len, Some(Faults::default()), Some(tls))
    }

    fn with(len: usize, faults: Option<Faults>, tls: Option<Tls>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let big = random(1, len);
        let small = small_part(&big);
        let huge = published(PartReceipt { size: 1 << 60, sha256: sha256(&big) });
        for (name, bytes) in [
            (format!("resources/{NAME}"), &small),
            (format!("resources/{HUGE}"), &huge),
            (format!("cdn/{NAME}.big"), &big),
            ("key-fragment".to_owned(), &FRAGMENT.to_vec()),
            ("users.json".to_owned(), &users().to_string().into_bytes()),
        ] {
            let path = dir.path().join("seed").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        let cost = SealCost { memory_kib: 64, passes: 1, ..SealCost::default() };
        let settings = Some(Settings { seal_cost: cost, fragment_form: FragmentForm::Sealed, ..Settings::default() });
        let server =
            DevServer::start(Config { settings, faults, tls, ..Config::seeded(dir.path().join("seed")) }).unwrap();
        let fixture = Self { server, dir, big };
        fixture.secret("jwt", fixture.server.token("operator@example.com", 600).unwrap().as_bytes());
        fixture.secret("credentials", br#"{"email":"operator@example.com","password":"operator"}"#);
        fixture.secret("hwid", "a1".repeat(32).as_bytes());
        fixture.secret("cdn", cdn_json(fixture.server.cdn(), fixture.server.s3_url()).as_bytes());
        fixture
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn secret(&self, name: &str, content: &[u8]) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(self.path(name), content).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_az-fetch"));
        command.env_clear().env("AZ_API_URL", self.server.api_url()).env("AZ_CACHE_DIR", self.path("cache"));
        for name in ["token", "credentials", "hwid", "cdn"] {
            let file = if name == "token" { "jwt" } else { name };
            command.arg(format!("--{name}-file")).arg(self.path(file));
        }
        command.args(args);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub(crate) fn whole(&self) -> Vec<u8> {
        [SMALL, &self.big].concat()
    }

    /// Replaces the published release.
    pub(crate) fn publish(&mut self, big: Vec<u8>) {
        std::fs::write(self.server.objects_dir().join(format!("{NAME}.big")), &big).unwrap();
        std::fs::write(self.server.resources_dir().join(NAME), small_part(&big)).unwrap();
        self.big = big;
    }

    /// Returns the first offset of each requested range of the big part, in order.
    pub(crate) fn ranges(&self) -> Vec<u64> {
        let requests = self.server.requests();
        let ranges = requests.iter().filter(|line| line.server == "s3").filter_map(|line| line.range.as_deref());
        ranges.map(|range| range["bytes=".len()..].split('-').next().unwrap().parse().unwrap()).collect()
    }

    /// Returns the faults and counters of the proxy.
    pub(crate) fn faults(&self) -> &FaultLog {
        self.server.faults().unwrap()
    }
}

/// Returns pseudo-random bytes.
pub(crate) fn random(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Returns what the API sends for `big`: the receipt and the small part.
pub(crate) fn small_part(big: &[u8]) -> Vec<u8> {
    published(part(big))
}

fn published(big: PartReceipt) -> Vec<u8> {
    published_as(SMALL, big)
}

/// Returns what the API sends for the small part `small`, preceded by its receipt.
pub(crate) fn published_as(small: &[u8], big: PartReceipt) -> Vec<u8> {
    let receipt = PartsReceipt { parts: 1, name: None, small: part(small), big };
    [&receipt.to_line(), small].concat()
}

pub(crate) fn part(bytes: &[u8]) -> PartReceipt {
    PartReceipt { size: bytes.len() as u64, sha256: sha256(bytes) }
}

/// Returns the SHA-256 of `bytes` in hexadecimal, taken from the message of a failed check.
fn sha256(bytes: &[u8]) -> String {
    let wrong = ExpectedPart { size: None, sha256: Some(String::new()) };
    wrong.check(bytes).unwrap_err().split(' ').nth(2).unwrap().to_owned()
}

/// Operator who is bound to the device.
fn users() -> serde_json::Value {
    serde_json::json!([{
        "id": "00000000-0000-4000-8000-000000000001", "email": "operator@example.com", "password": "operator",
        "role": "Operator", "hardware": "a1".repeat(32),
    }])
}

fn cdn_json(cdn: &loader_model::CdnCredentials, host: &str) -> String {
    serde_json::json!({
        "host": host, "bucket": cdn.bucket, "path_style": true, "region": cdn.region,
        "downloader_access_key": cdn.downloader_access_key, "downloader_access_secret": cdn.downloader_access_secret,
    })
    .to_string()
}

//! Test fixture: a site with one resource in two parts, and the az-fetch binary.

use loader_model::{PartReceipt, PartsReceipt};
use loader_testkit::{Faults, FragmentForm, Random, Settings, Site, SiteConfig, Tls, UserRecord, sha256};
use std::ops::{Deref, DerefMut};
use std::process::{Command, Output};

pub(crate) const NAME: &str = "models/yolo.onnx";
/// Resource whose big part fits on no disk.
pub(crate) const HUGE: &str = "large/huge";
pub(crate) const FRAGMENT: &[u8] = b"AZ-FRAG-1TEST\n";
pub(crate) const SMALL: &[u8] = b"small part";

/// A site whose operator is bound to the device with the hardware id in the file `hwid`.
pub(crate) struct FetchFixture {
    site: Site,
    pub(crate) big: Vec<u8>,
}

impl Deref for FetchFixture {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl DerefMut for FetchFixture {
    fn deref_mut(&mut self) -> &mut Site {
        &mut self.site
    }
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
        let (big, hardware) = (random(1, len), "a1".repeat(32));
        let huge = PartReceipt { size: 1 << 60, sha256: sha256(&big) };
        let base = SiteConfig::default();
        let site = Site::start(SiteConfig {
            users: vec![UserRecord { hardware: Some(hardware.clone()), ..UserRecord::new(1, "operator", "Operator") }],
            seed: vec![
                (format!("resources/{NAME}"), small_part(&big)),
                (format!("resources/{HUGE}"), published_as(SMALL, huge)),
                (format!("cdn/{NAME}.big"), big.clone()),
                ("key-fragment".to_owned(), FRAGMENT.to_vec()),
            ],
            settings: Settings { fragment_form: FragmentForm::Sealed, ..base.settings },
            faults,
            tls,
        });
        site.secret("hwid", hardware);
        Self { site, big }
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.site.command(env!("CARGO_BIN_EXE_az-fetch"));
        command.env("AZ_CACHE_DIR", self.path("cache"));
        for (option, file) in
            [("token", "operator.jwt"), ("credentials", "operator.json"), ("hwid", "hwid"), ("cdn", "cdn.json")]
        {
            command.arg(format!("--{option}-file")).arg(self.path(file));
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
        std::fs::write(self.object(NAME), &big).unwrap();
        std::fs::write(self.resource(NAME), small_part(&big)).unwrap();
        self.big = big;
    }

    /// Returns the first offset of each requested range of the big part, in order.
    pub(crate) fn ranges(&self) -> Vec<u64> {
        let requests = self.server().requests();
        let ranges = requests.iter().filter(|line| line.server == "s3").filter_map(|line| line.range.as_deref());
        ranges.map(|range| range["bytes=".len()..].split('-').next().unwrap().parse().unwrap()).collect()
    }
}

/// Returns standard output or standard error as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns `len` pseudorandom bytes.
pub(crate) fn random(seed: u64, len: usize) -> Vec<u8> {
    Random(seed).bytes(len)
}

/// Returns the response of the API for `big`: the receipt and the small part.
pub(crate) fn small_part(big: &[u8]) -> Vec<u8> {
    published_as(SMALL, part(big))
}

/// Returns the response of the API for the small part `small`, preceded by its receipt.
pub(crate) fn published_as(small: &[u8], big: PartReceipt) -> Vec<u8> {
    let receipt = PartsReceipt { parts: 1, name: None, small: part(small), big };
    [&receipt.to_line(), small].concat()
}

pub(crate) fn part(bytes: &[u8]) -> PartReceipt {
    PartReceipt { size: bytes.len() as u64, sha256: sha256(bytes) }
}

//! Test fixture: a site, sealed streams and the az-push binary.

use loader_model::Description;
use loader_seal::{Key, Metadata, SealOptions, seal};
use loader_testkit::{Faults, Finished, Random, Site, SiteConfig, run};
use std::ops::Deref;
use std::path::Path;
use std::process::Command;

pub(crate) const NAME: &str = "models/v2/yolo.onnx";

/// Site without published resources.
pub(crate) struct PushFixture(Site);

impl Deref for PushFixture {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.0
    }
}

impl PushFixture {
    pub(crate) fn new() -> Self {
        Self::with(SiteConfig::default())
    }

    /// The same behind a proxy that injects faults.
    pub(crate) fn proxied() -> Self {
        Self::with(SiteConfig { faults: Some(Faults::default()), ..SiteConfig::default() })
    }

    pub(crate) fn with(config: SiteConfig) -> Self {
        Self(Site::start(config))
    }

    pub(crate) fn command(&self, user: &str, args: &[&str]) -> Command {
        let mut command = self.0.command(env!("CARGO_BIN_EXE_az-push"));
        command.env("AZ_RETRIES", "6").arg("--token-file").arg(self.path(&format!("{user}.jwt")));
        command.arg("--cdn-file").arg(self.path("uploader-cdn.json")).args(args);
        command
    }

    /// Pushes `stream` from a pipe.
    pub(crate) fn push(&self, args: &[&str], stream: &[u8]) -> Finished {
        self.push_with(self.command("uploader", args), stream)
    }

    /// Pushes `stream` from a pipe with this command.
    pub(crate) fn push_with(&self, mut command: Command, stream: &[u8]) -> Finished {
        command.arg(NAME);
        run(command, stream)
    }

    /// Returns the published parts as one stream.
    pub(crate) fn published(&self) -> Vec<u8> {
        let small = std::fs::read(self.resource(NAME)).unwrap();
        let (_, small) = loader_model::PartsReceipt::split_prefix(&small).unwrap().unwrap();
        [small, &std::fs::read(self.object(NAME)).unwrap()].concat()
    }

    /// Counts the requests with this method whose path has this suffix.
    pub(crate) fn count(&self, method: &str, end: &str) -> usize {
        self.server().requests().iter().filter(|line| line.method == method && line.path.ends_with(end)).count()
    }
}

/// Returns a sealed stream of `len` bytes of plaintext.
pub(crate) fn sealed(len: usize, declared: bool, release: Option<u64>) -> Vec<u8> {
    let options = SealOptions {
        plaintext_len: declared.then_some(len as u64),
        metadata: Metadata { description: Description { release, ..Description::default() }, ..Metadata::default() },
        ..SealOptions::default()
    };
    let mut out = Vec::new();
    seal(&mut &Random(1).bytes(len)[..], &mut out, &[Key::generate().unwrap()], &options).unwrap();
    out
}

pub(crate) fn file(path: &Path, content: &[u8]) -> String {
    std::fs::write(path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

//! Test fixture: a server, sealed streams and the az-push binary.

use loader_seal::{Key, Metadata, SealOptions, seal};
use loader_testkit::{Config, DevServer, FaultLog, Faults};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

pub(crate) const NAME: &str = "models/v2/yolo.onnx";

/// Server without published resources, and a directory with tokens and CDN JSON.
pub(crate) struct PushFixture {
    pub(crate) server: DevServer,
    pub(crate) dir: TempDir,
}

/// Outcome of a run of the binary.
#[derive(Debug)]
pub(crate) struct FinishedRun {
    pub(crate) status: i32,
    pub(crate) receipt: Value,
    pub(crate) events: String,
}

impl PushFixture {
    pub(crate) fn new() -> Self {
        Self::with(None)
    }

    /// The same behind a proxy that injects faults.
    pub(crate) fn proxied() -> Self {
        Self::with(Some(Faults::default()))
    }

    fn with(faults: Option<Faults>) -> Self {
        Self::of(DevServer::start(Config { faults, ..Config::default() }).unwrap())
    }

    /// The same with this server.
    pub(crate) fn of(server: DevServer) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fixture = Self { server, dir };
        for user in ["operator", "uploader"] {
            let token = fixture.server.token(&format!("{user}@example.com"), 600).unwrap();
            fixture.secret(&format!("{user}.jwt"), token.as_bytes());
        }
        fixture.secret("cdn.json", &serde_json::to_vec(fixture.server.cdn()).unwrap());
        fixture
    }

    /// Returns the faults and counters of the proxy.
    pub(crate) fn faults(&self) -> &FaultLog {
        self.server.faults().unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn secret(&self, name: &str, content: &[u8]) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(self.path(name), content).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn command(&self, user: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_az-push"));
        command.env_clear().env("AZ_API_URL", self.server.api_url()).env("AZ_RETRIES", "6");
        command.arg("--token-file").arg(self.path(&format!("{user}.jwt")));
        command.arg("--cdn-file").arg(self.path("cdn.json")).args(args);
        command
    }

    /// Pushes `stream` from a pipe.
    pub(crate) fn push(&self, args: &[&str], stream: &[u8]) -> FinishedRun {
        self.push_with(self.command("uploader", args), stream)
    }

    /// Pushes `stream` from a pipe with this command.
    pub(crate) fn push_with(&self, mut command: Command, stream: &[u8]) -> FinishedRun {
        let mut child =
            command.arg(NAME).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            // The process may end before it has read everything.
            scope.spawn(move || drop(stdin.write_all(stream)));
            finished(child.wait_with_output().unwrap())
        })
    }

    /// Returns the published parts as one stream.
    pub(crate) fn published(&self) -> Vec<u8> {
        let small = std::fs::read(self.server.resources_dir().join(NAME)).unwrap();
        let (_, small) = loader_model::PartsReceipt::split_prefix(&small).unwrap().unwrap();
        [small, &std::fs::read(self.object()).unwrap()].concat()
    }

    pub(crate) fn object(&self) -> PathBuf {
        self.server.objects_dir().join(format!("{NAME}.big"))
    }

    /// Counts the requests with this method whose path has this suffix.
    pub(crate) fn count(&self, method: &str, end: &str) -> usize {
        self.server.requests().iter().filter(|line| line.method == method && line.path.ends_with(end)).count()
    }
}

pub(crate) fn finished(output: Output) -> FinishedRun {
    FinishedRun {
        status: output.status.code().unwrap_or(-1),
        receipt: serde_json::from_slice(&output.stdout).unwrap_or_default(),
        events: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Returns a sealed stream of `len` bytes of plaintext.
pub(crate) fn sealed(len: usize, declared: bool, release: Option<u64>) -> Vec<u8> {
    let mut state = 1_u32;
    let plain: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(len)
    .collect();
    let options = SealOptions {
        plaintext_len: declared.then_some(len as u64),
        metadata: Metadata { release, ..Metadata::default() },
        ..SealOptions::default()
    };
    let mut out = Vec::new();
    seal(&mut &plain[..], &mut out, &[Key::generate().unwrap()], &options).unwrap();
    out
}

pub(crate) fn file(path: &Path, content: &[u8]) -> String {
    std::fs::write(path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

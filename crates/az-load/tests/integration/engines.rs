//! Real engines for the tests: the machine's Docker, podman if it is
//! installed, and separate Docker daemons that tests may kill or fill up.

use loader_testkit::{Finished, unique_name};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Returns the engine of this machine, or the one at the socket `AZ_TEST_ENGINE`; `None`
/// with a message if there is none, unless `AZ_REQUIRE_DOCKER=1` demands one.
#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
pub(crate) fn docker() -> Option<Engine> {
    let socket =
        std::env::var_os("AZ_TEST_ENGINE").map_or_else(|| PathBuf::from("/var/run/docker.sock"), PathBuf::from);
    let engine = Engine { socket, child: None, folder: None, mounted: PathBuf::new() };
    if engine.answers() {
        return Some(engine);
    }
    assert_ne!(std::env::var("AZ_REQUIRE_DOCKER").as_deref(), Ok("1"), "no container engine, but one is required");
    eprintln!("skipped: no container engine");
    None
}

/// An engine that answers on a socket; one of our own ends with the value.
pub(crate) struct Engine {
    socket: PathBuf,
    child: Option<Child>,
    folder: Option<tempfile::TempDir>,
    /// What it mounts on itself, and leaves mounted when it does not end in peace.
    mounted: PathBuf,
}

impl Engine {
    /// Podman with a store of its own.
    #[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
    pub(crate) fn podman() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut command = Command::new("podman");
        command.args(["--root", &path("root"), "--runroot", &path("run"), "system", "service", "--time=0"]);
        command.arg(format!("unix://{}", path("sock")));
        let mounted = folder.path().join("root/overlay");
        let engine = Self::start(command, folder, mounted);
        if engine.is_none() {
            eprintln!("skipped: no podman");
        }
        engine
    }

    /// A Docker daemon with its store in `root`.
    pub(crate) fn dockerd(root: &Path) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut command = Command::new("dockerd");
        command.args(["--config-file", &path("config.json"), "--data-root", &root.display().to_string()]);
        command.args(["--exec-root", &path("exec"), "--pidfile", &path("pid"), "--host"]);
        command.arg(format!("unix://{}", path("sock")));
        command.args(["--bridge", "none", "--iptables=false", "--ip6tables=false", "--storage-driver", "vfs"]);
        let containerd = Path::new("/var/run/docker/containerd/containerd.sock");
        if containerd.exists() {
            command.args(["--containerd", &containerd.display().to_string(), "--containerd-namespace", "az-load-test"]);
        }
        Self::start(command, folder, root.to_owned())
    }

    fn start(mut command: Command, folder: tempfile::TempDir, mounted: PathBuf) -> Option<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let engine = Self { socket: folder.path().join("sock"), child: Some(child), folder: Some(folder), mounted };
        let start = Instant::now();
        while !engine.answers() {
            if start.elapsed() > Duration::from_secs(30) {
                return None;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(engine)
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
            self.unmount();
        }
    }

    fn unmount(&self) {
        let _ = Command::new("umount").arg(&self.mounted).stderr(Stdio::null()).status();
    }

    fn answers(&self) -> bool {
        self.ask("GET", "/_ping").is_some_and(|answer| answer.contains("OK"))
    }

    fn ask(&self, method: &str, path: &str) -> Option<String> {
        let mut stream = UnixStream::connect(&self.socket).ok()?;
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: engine\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Answers of the API as JSON.
    fn json(&self, path: &str) -> serde_json::Value {
        let answer = self.ask("GET", path).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap_or_default()
    }

    /// Returns true if it is podman.
    pub(crate) fn is_podman(&self) -> bool {
        self.json("/version").to_string().contains("Podman")
    }

    /// Returns true if it is Docker with its own store.
    pub(crate) fn has_own_store(&self) -> bool {
        !self.is_podman() && !self.uses_containerd()
    }

    /// Returns true if it is Docker with the containerd image store.
    pub(crate) fn uses_containerd(&self) -> bool {
        self.json("/info").to_string().contains("io.containerd.snapshotter.v1")
    }

    /// Returns the id of the image with a name.
    pub(crate) fn id(&self, name: &str) -> Option<String> {
        Some(self.json(&format!("/images/{name}/json")).get("Id")?.as_str()?.replace("sha256:", ""))
    }

    /// Returns the uncompressed digests of an image's layers.
    pub(crate) fn layers(&self, name: &str) -> Vec<String> {
        let inspected = self.json(&format!("/images/{name}/json"));
        let layers = inspected["RootFS"]["Layers"].as_array().cloned().unwrap_or_default();
        layers.iter().map(|layer| layer.as_str().unwrap().to_owned()).collect()
    }

    /// Whether an image is listed with `name` in one of its names.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.ask("GET", "/images/json?all=1").unwrap().contains(name)
    }

    pub(crate) fn remove(&self, tag: &str) {
        self.ask("DELETE", &format!("/images/{tag}?force=true"));
    }

    /// Gives an image one more name.
    pub(crate) fn tag(&self, image: &str, repository: &str, tag: &str) {
        self.ask("POST", &format!("/images/{image}/tag?repo={repository}&tag={tag}"));
    }

    /// `podman load` into the store of [`Engine::podman`].
    pub(crate) fn podman_load(&self) -> String {
        let path = |name: &str| self.folder.as_ref().unwrap().path().join(name).display().to_string();
        format!("podman --root {} --runroot {} load", path("root"), path("run"))
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// `az-load` against this engine.
    pub(crate) fn az_load(&self) -> Command {
        let mut command = az_load();
        command.env("DOCKER_HOST", self.url());
        command
    }

    /// Runs `az-load` with `input` and returns its outcome.
    pub(crate) fn load(&self, input: &[u8], set: impl for<'c> FnOnce(&'c mut Command) -> &'c mut Command) -> Ran {
        let mut command = self.az_load();
        set(&mut command);
        run(command, input)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // After SIGTERM the engine unmounts and stops its child processes.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let start = Instant::now();
            while matches!(child.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(15) {
                std::thread::sleep(Duration::from_millis(50));
            }
            let _ = child.kill();
            let _ = child.wait();
            if self.mounted.ends_with("overlay") {
                self.unmount();
            }
        }
        drop(self.folder.take());
    }
}

/// What a run of `az-load` gave.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn az_load() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_az-load"));
    for name in ["AZ_RUN", "AZ_RUN_DIR", "AZ_EVENTS", "DOCKER_HOST", "SOURCE_DATE_EPOCH"] {
        command.env_remove(name);
    }
    command
}

pub(crate) fn run(mut command: Command, input: &[u8]) -> Ran {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    loader_testkit::run(command, input).into()
}

impl From<Finished> for Ran {
    fn from(finished: Finished) -> Self {
        let exit = (finished.status >= 0).then_some(finished.status);
        Self { exit, stdout: finished.text(), stderr: finished.stderr }
    }
}

/// A name that no other run uses.
pub(crate) fn unique(what: &str) -> String {
    format!("az-load-test-{what}-{}", unique_name())
}

/// What az-inspect would print of the images in an archive.
pub(crate) fn sealed(bytes: &[u8]) -> String {
    let mut reader = loader_archive::ArchiveReader::default();
    reader.push::<loader_archive::Error>(bytes, &mut |_| Ok(())).unwrap();
    let images = reader.finish().unwrap().images().unwrap();
    format!(r#"{{"verified":true,"images":{}}}"#, serde_json::to_string(&images).unwrap())
}

//! The same tests against two independent stores, az-devserver and moto: `aws` reads the
//! objects of az-push, and az-fetch reads the objects of `aws`.

use loader_model::CdnCredentials;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tests::site::Site;
use tests::{Finished, Random, filter, package_dir, run, write_secret};

const MIB: usize = 1 << 20;

/// A moto server, killed on drop.
struct Moto {
    process: Child,
    cdn: CdnCredentials,
}

impl Moto {
    fn start() -> Self {
        let mut process = Command::new(python())
            .arg(package_dir().join("with_moto.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Self { process, cdn: serde_json::from_str(&line).unwrap() }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn python() -> PathBuf {
    std::env::var_os("AZ_TEST_PYTHON").map_or_else(|| "python3".into(), PathBuf::from)
}

/// Returns true if moto and aws are installed. Prints a message if the user has chosen to
/// skip these tests.
fn is_possible() -> bool {
    let there = Command::new(python()).args(["-c", "import moto.server, awscli"]).output();
    let there = there.is_ok_and(|output| output.status.success());
    let skip = std::env::var_os("AZ_SKIP_PYTHON").is_some();
    assert!(
        there || skip,
        "no moto and awscli: install them with `pip install -r tests/requirements.txt`, or name another interpreter \
         with AZ_TEST_PYTHON, or set AZ_SKIP_PYTHON=1"
    );
    there
}

/// A store, and a site whose API has the small parts of its objects.
struct StoreUnderTest<'a> {
    site: &'a Site,
    cdn: &'a CdnCredentials,
    name: &'a str,
}

impl StoreUnderTest<'_> {
    fn secret(&self, name: &str, cdn: &Value) -> PathBuf {
        let path = self.path(name);
        write_secret(&path, cdn.to_string());
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.site.path(&format!("{}-{name}", self.name))
    }

    /// Returns credentials with the key pair `up` for the uploader and `down` for the downloader.
    fn cdn(&self, up: (&str, &str), down: (&str, &str)) -> Value {
        json!({
            "host": self.cdn.host, "bucket": self.cdn.bucket, "region": self.cdn.region, "path_style": true,
            "uploader_access_key": up.0, "uploader_access_secret": up.1,
            "downloader_access_key": down.0, "downloader_access_secret": down.1,
        })
    }

    fn uploader(&self) -> (&str, &str) {
        (self.cdn.uploader_access_key.as_deref().unwrap(), self.cdn.uploader_access_secret.as_deref().unwrap())
    }

    fn downloader(&self) -> (&str, &str) {
        (&self.cdn.downloader_access_key, &self.cdn.downloader_access_secret)
    }

    fn filter(&self, name: &str, token: &str, cdn: &Path) -> Command {
        let mut command = filter(name);
        self.site.configure(&mut command);
        command.arg("--token-file").arg(self.site.path(token)).arg("--cdn-file").arg(cdn);
        command
    }

    fn push(&self, cdn: &Path, args: &[&str], stream: &[u8]) -> Finished {
        let mut command = self.filter("az-push", "uploader.jwt", cdn);
        command.env_remove("AZ_CREDENTIALS_FILE").args(["--part", "5M"]).args(args);
        run(command, stream)
    }

    fn fetch(&self, cdn: &Path, args: &[&str]) -> Command {
        let mut command = self.filter("az-fetch", "jwt", cdn);
        command.args(["--jobs", "3", "--chunk", "512K"]).args(args);
        command
    }

    /// Copies with `aws s3 cp`.
    fn aws(&self, from: &str, to: &str) {
        let (key, secret) = self.uploader();
        let output = Command::new(python())
            .args(["-m", "awscli", "--endpoint-url", &self.cdn.host, "s3", "cp", "--quiet", from, to])
            .env("AWS_ACCESS_KEY_ID", key)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .env("AWS_DEFAULT_REGION", self.cdn.region.as_deref().unwrap())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env("NO_PROXY", "*")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}: {}", self.name, String::from_utf8_lossy(&output.stderr));
    }

    fn object(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.cdn.bucket.as_deref().unwrap())
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Returns a sealed file, whose header contains its length.
fn sealed(site: &Site, seed: u64, len: usize) -> Vec<u8> {
    let plain = site.path("plain");
    fs::write(&plain, Random(seed).bytes(len)).unwrap();
    let mut command = filter("az-encrypt");
    let sealed = site.path("sealed");
    command.arg("--key-file").arg(site.path("key")).arg(&plain).arg("-o").arg(&sealed);
    let finished = run(command, b"");
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    fs::read(sealed).unwrap()
}

/// az-fetch and aws read what az-push publishes. A second push of the same data sends nothing.
fn check_push_is_readable(store: &StoreUnderTest<'_>, up: &Path, down: &Path, stream: &[u8]) {
    let pushed = store.push(up, &["models/pushed"], stream);
    assert_eq!(pushed.status, 0, "{}: {}", store.name, pushed.stderr);
    let receipt: Value = serde_json::from_slice(&pushed.stdout).unwrap();
    let small_len = receipt["small"]["size"].as_u64().unwrap() as usize;
    let copy = store.path("copy");
    store.aws(&store.object("models/pushed.big"), text(&copy));
    assert!(fs::read(&copy).unwrap() == stream[small_len..], "{}: aws reads other bytes", store.name);
    let fetched = run(store.fetch(down, &["models/pushed"]), b"");
    assert!(fetched.status == 0 && fetched.stdout == stream, "{}: {}", store.name, fetched.stderr);
    let again = store.push(up, &["models/pushed"], stream);
    assert!(again.status == 0 && again.text().contains("\"changed\":false"), "{}: {}", store.name, again.stderr);
}

/// az-fetch reads what aws uploads, also after a kill.
fn check_aws_upload_is_readable(store: &StoreUnderTest<'_>, down: &Path, stream: &[u8]) {
    let (sealed, stem) = (store.path("sealed"), store.path("split"));
    fs::write(&sealed, stream).unwrap();
    let mut split = filter("az-split");
    split.arg("--parts").arg(&stem).args(["--name", "models/put"]).arg(&sealed);
    let receipt = run(split, b"");
    assert_eq!(receipt.status, 0, "{}", receipt.stderr);
    store.aws(text(&stem.with_extension("big")), &store.object("models/put.big"));
    let small = fs::read(stem.with_extension("small")).unwrap();
    fs::write(store.site.server().resources_dir().join("models/put"), [receipt.stdout, small].concat()).unwrap();

    let cache = store.path("cache");
    let args = ["models/put", "--cache-dir", text(&cache)];
    let mut first = store.fetch(down, &args).spawn().unwrap();
    first.stdout.as_mut().unwrap().read_exact(&mut vec![0; 9 * MIB]).unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    let fetched = run(store.fetch(down, &args), b"");
    assert!(fetched.status == 0 && fetched.stdout == stream, "{}: {}", store.name, fetched.stderr);
    assert!(fetched.stderr.contains("\"resumed_at\":"), "{}: {}", store.name, fetched.stderr);
}

/// A push whose input ended early resumes.
fn check_push_resumes(store: &StoreUnderTest<'_>, up: &Path, down: &Path, stream: &[u8]) {
    let state = store.path("state");
    let args = ["models/resumed", "--state-dir", text(&state), "--jobs", "1"];
    let cut = store.push(up, &args, &stream[..stream.len() - 1]);
    assert_eq!(cut.status, 65, "{}: {}", store.name, cut.stderr);
    let again = store.push(up, &args, stream);
    assert!(again.status == 0 && again.stderr.contains("\"resumed\""), "{}: {}", store.name, again.stderr);
    let fetched = run(store.fetch(down, &["models/resumed"]), b"");
    assert!(fetched.status == 0 && fetched.stdout == stream, "{}: {}", store.name, fetched.stderr);
}

/// Wrong keys, keys without permission, and a missing big part are refused.
fn check_refusals(store: &StoreUnderTest<'_>, up: &Path, down: &Path, stream: &[u8]) {
    let (reads, wrong) = (store.downloader(), (store.downloader().0, "a secret that was never given out"));
    let wrong = store.secret("wrong", &store.cdn(wrong, wrong));
    let reads = store.secret("reads", &store.cdn(reads, reads));
    let refused = [
        (run(store.fetch(&wrong, &["models/pushed"]), b""), 77),
        (store.push(&wrong, &["models/refused"], stream), 77),
        (store.push(&reads, &["models/refused"], stream), 77),
    ];
    for (finished, status) in refused {
        assert_eq!(finished.status, status, "{}: {}", store.name, finished.stderr);
        assert!(finished.stderr.contains("get fresh CDN credentials"), "{}: {}", store.name, finished.stderr);
    }
    let resource = store.site.server().resources_dir().join("models");
    fs::copy(resource.join("pushed"), resource.join("gone")).unwrap();
    let gone = run(store.fetch(down, &["models/gone"]), b"");
    assert!(gone.status == 65 && gone.stderr.contains("its receipt is that of"), "{}: {}", store.name, gone.stderr);
    let replaced = store.push(up, &["models/pushed", "--replace"], &sealed(store.site, 3, 6 * MIB));
    assert_eq!(replaced.status, 0, "{}: {}", store.name, replaced.stderr);
}

#[test]
fn both_stores_behave_the_same() {
    if !is_possible() {
        return;
    }
    let (site, moto) = (Site::start(), Moto::start());
    let streams = [sealed(&site, 1, 10 * MIB), sealed(&site, 2, 13 * MIB)];
    for (name, cdn) in [("az-devserver", site.server().cdn()), ("moto", &moto.cdn)] {
        let store = StoreUnderTest { site: &site, cdn, name };
        let cdn = store.cdn(store.uploader(), store.downloader());
        let (up, down) = (store.secret("up", &cdn), store.secret("down", &cdn));
        check_push_is_readable(&store, &up, &down, &streams[0]);
        check_aws_upload_is_readable(&store, &down, &streams[1]);
        check_push_resumes(&store, &up, &down, &streams[1]);
        check_refusals(&store, &up, &down, &streams[0]);
        fs::remove_dir_all(site.server().resources_dir().join("models")).unwrap();
        fs::create_dir(site.server().resources_dir().join("models")).unwrap();
    }
}

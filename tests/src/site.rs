//! Test site: a server on loopback with users, a fragment and resources, and a directory
//! with the files of a device.

use crate::command::filter;
use crate::vectors;
use loader_seal::Key;
use loader_seal::fragment::{Scheme, split};
use loader_testkit::archive::{ImageSpec, docker_archive};
use loader_testkit::test_dir::TestDir;
use loader_testkit::{
    DevServer, FragmentForm, KeyPair, Random, Settings, SiteConfig, UserRecord, credentials, run, unique_name,
    write_below, write_secret,
};
use std::fs;
use std::ops::Deref;
use std::path::Path;
use std::process::Command;

/// Password of all users of a site.
pub const PASSWORD: &str = "a password of the tests";

/// Email address of the operator.
const OPERATOR: &str = "operator@example.com";

/// Byte, in hexadecimal, that is repeated in the hardware id of a site.
const HARDWARE: &str = "ab";

/// A site of `loader_testkit` whose directory contains in addition:
///
/// | file | content |
/// | --- | --- |
/// | `credentials.json`, `jwt` | credentials and token of the operator; `wrong.json` has a wrong password, `expired.jwt` has expired |
/// | `hwid`, `other.hwid` | hardware ids |
/// | `device.frag`, `foreign.frag` | the device's fragment, and a fragment of another set |
/// | `key` | the key joined from the fragments of device and server |
/// | `images.tar`, `images.enc` | an archive of two images, and the sealed archive |
/// | `model` | the plaintext of the resource `models/yolo.onnx` |
pub struct Site {
    site: loader_testkit::Site,
    tags: Vec<String>,
}

impl Deref for Site {
    type Target = loader_testkit::Site;

    fn deref(&self) -> &loader_testkit::Site {
        &self.site
    }
}

impl Site {
    /// Starts a site. Its image names are unique, so that tests can share an engine.
    pub fn start() -> Self {
        Self::with(FragmentForm::Text)
    }

    /// Starts a site whose server seals the fragment to user and hardware.
    pub fn with_sealed_fragment() -> Self {
        Self::with(FragmentForm::Sealed)
    }

    fn with(fragment_form: FragmentForm) -> Self {
        let dir = TestDir::new();
        let fragments = vectors::fragments();
        let foreign = split(&Key::from_bytes([1; 32]), Scheme::Xor, 2, 2).unwrap();
        for (name, line) in [
            ("device.frag", fragments.device.as_str()),
            ("foreign.frag", &foreign[1].to_text()),
            ("key", &fragments.key),
            ("hwid", &HARDWARE.repeat(32)),
            ("other.hwid", &"cd".repeat(32)),
        ] {
            write_secret(&dir.path(name), format!("{line}\n"));
        }
        let tags = unique_tags();
        docker_archive(&images(&tags), fs::File::create(dir.path("images.tar")).unwrap()).unwrap();
        seal(&dir.path("key"), &dir.path("images.tar"), &dir.path("images.enc"));
        fs::write(dir.path("model"), Random(6).bytes(100_000)).unwrap();
        for name in ["yolo", "gone", "cut", "damaged"] {
            publish(dir.root(), name);
        }
        let big = |name: &str| dir.path(&format!("seed/cdn/models/{name}.onnx.big"));
        fs::remove_file(big("gone")).unwrap();
        let mut bytes = fs::read(big("cut")).unwrap();
        fs::write(big("cut"), &bytes[..bytes.len() - 1]).unwrap();
        bytes[1000] ^= 1;
        fs::write(big("damaged"), bytes).unwrap();

        let site = loader_testkit::Site::start_in(dir, config(fragment_form, &fragments.server));
        fs::rename(site.path("operator.json"), site.path("credentials.json")).unwrap();
        fs::rename(site.path("operator.jwt"), site.path("jwt")).unwrap();
        site.secret("wrong.json", credentials(OPERATOR, "not the password").to_string());
        site.secret("expired.jwt", site.server().token(OPERATOR, -3600).unwrap());
        Self { site, tags }
    }

    /// Starts a second server with the same content, but with `fragment`.
    pub fn server_with(&self, fragment: &str) -> DevServer {
        fs::write(self.path("seed/key-fragment"), fragment).unwrap();
        self.second_server()
    }

    /// Returns the tags of the images in the archive.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// Sets the environment that the documented command lines expect, and `SITE` to the
    /// device's directory.
    pub fn configure(&self, command: &mut Command) {
        command
            .env("AZ_API_URL", self.server().api_url())
            .env("AZ_CREDENTIALS_FILE", self.path("credentials.json"))
            .env("AZ_HWID_FILE", self.path("hwid"))
            .env("DEVICE_FRAGMENT", self.path("device.frag"))
            .env("IMAGES", self.path("images.enc"))
            .env("SITE", self.root());
    }
}

fn config(fragment_form: FragmentForm, fragment: &str) -> SiteConfig {
    let user = |n, name, role| UserRecord { password: PASSWORD.to_owned(), ..UserRecord::new(n, name, role) };
    let bound = |user, byte: &str| UserRecord { hardware: Some(byte.repeat(32)), ..user };
    let users = vec![
        bound(user(0, "operator", "Operator"), HARDWARE),
        user(1, "guest", "NONE"),
        user(2, "uploader", "ResourceUploader"),
        UserRecord { locked: true, ..user(3, "locked", "Operator") },
        bound(user(4, "bound", "Operator"), "ee"),
    ];
    let seed = [
        ("key-fragment", format!("{fragment}\n")),
        ("resources/models/tiny.txt", "not sealed by the publisher\n".to_owned()),
    ];
    let seed = seed.map(|(name, text)| (name.to_owned(), text.into_bytes())).to_vec();
    let pair =
        |name: &str| Some(KeyPair { access_key: name.to_uppercase(), access_secret: format!("secret of the {name}") });
    let base = SiteConfig::default();
    let settings =
        Settings { fragment_form, downloader: pair("downloader"), uploader: pair("uploader"), ..base.settings.clone() };
    SiteConfig { users, seed, settings, ..base }
}

/// Describes two images, one of them with two tags.
fn images(tags: &[String]) -> Vec<ImageSpec> {
    let mut random = Random(7);
    let mut layer = |path: &str, len| vec![(path.to_owned(), random.bytes(len))];
    let base = layer("opt/base.bin", 40_000);
    let first = vec![base.clone(), layer("opt/app.bin", 60_000)];
    let second = vec![base, layer("opt/model.bin", 30_000)];
    vec![ImageSpec { tags: tags[..2].to_vec(), layers: first }, ImageSpec { tags: tags[2..].to_vec(), layers: second }]
}

fn unique_tags() -> Vec<String> {
    let name = unique_name();
    ["app:1.4", "app:latest", "server:2"].map(|rest| format!("az-tests/{name}/{rest}")).to_vec()
}

fn seal(key: &Path, plain: &Path, sealed: &Path) {
    let mut command = filter("az-encrypt");
    command.args(["--segment", "4K", "--key-file"]).arg(key).arg("-o").arg(sealed).arg(plain);
    let finished = run(command, b"");
    assert_eq!(finished.status, 0, "{}", finished.stderr);
}

/// Publishes the model in `dir` as `models/<name>.onnx` in two parts.
fn publish(dir: &Path, name: &str) {
    let sealed = dir.join("model.enc");
    seal(&dir.join("key"), &dir.join("model"), &sealed);
    let mut command = filter("az-split");
    let stem = dir.join(name);
    command.arg("--parts").arg(&stem).args(["--name", &format!("models/{name}.onnx")]).arg(&sealed);
    let receipt = run(command, b"");
    assert_eq!(receipt.status, 0, "{}", receipt.stderr);
    let small = fs::read(stem.with_extension("small")).unwrap();
    write_below(&dir.join(format!("seed/resources/models/{name}.onnx")), [receipt.stdout, small].concat());
    let big = fs::read(stem.with_extension("big")).unwrap();
    write_below(&dir.join(format!("seed/cdn/models/{name}.onnx.big")), big);
    fs::remove_file(stem.with_extension("big")).unwrap();
}

/// Returns true if `docker` reaches a container engine.
///
/// # Panics
/// If it does not, and `AZ_REQUIRE_DOCKER=1`.
pub fn has_engine() -> bool {
    let found = Command::new("docker").arg("info").output().is_ok_and(|output| output.status.success());
    let required = std::env::var("AZ_REQUIRE_DOCKER").is_ok_and(|value| value == "1");
    assert!(found || !required, "AZ_REQUIRE_DOCKER=1, and `docker info` fails");
    found
}

//! Test site: a server on loopback with users, a fragment and resources, and a directory
//! with the files of a device.

use crate::command::{filter, run, write_secret};
use crate::{Random, vectors};
use loader_seal::Key;
use loader_seal::fragment::{Scheme, split};
use loader_testkit::archive::{ImageSpec, docker_archive};
use loader_testkit::{Config, DevServer, FragmentForm, KeyPair, SealCost, Settings};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Password of all users of a site.
pub const PASSWORD: &str = "a password of the tests";

/// Byte, in hexadecimal, that is repeated in the hardware id of a site.
const HARDWARE: &str = "ab";

/// A running server and the directory of a device, which contains:
///
/// | file | content |
/// | --- | --- |
/// | `credentials.json`, `<user>.json` | credentials of the operator and of the other users; `wrong.json` has a wrong password |
/// | `jwt`, `<user>.jwt`, `expired.jwt` | tokens |
/// | `hwid`, `other.hwid` | hardware ids |
/// | `device.frag`, `foreign.frag` | the device's fragment, and a fragment of another set |
/// | `key` | the key joined from the fragments of device and server |
/// | `images.tar`, `images.enc` | an archive of two images, and the sealed archive |
/// | `model` | the plaintext of the resource `models/yolo.onnx` |
/// | `cdn.json` | credentials of the CDN |
pub struct Site {
    server: DevServer,
    folder: TempDir,
    tags: Vec<String>,
}

/// Users other than the operator, with their roles.
const USERS: [(&str, &str); 5] = [
    ("credentials", "Operator"),
    ("guest", "NONE"),
    ("uploader", "ResourceUploader"),
    ("locked", "Operator"),
    ("bound", "Operator"),
];

impl Site {
    /// Starts a site. Its image names are unique, so that tests can share an engine.
    pub fn start() -> Self {
        Self::with(settings())
    }

    /// Starts a site whose server seals the fragment to user and hardware.
    pub fn with_sealed_fragment() -> Self {
        Self::with(Settings { fragment_form: FragmentForm::Sealed, ..settings() })
    }

    fn with(settings: Settings) -> Self {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        let fragments = vectors::fragments();
        fs::create_dir_all(at("seed/resources/models")).unwrap();
        fs::create_dir_all(at("seed/cdn/models")).unwrap();
        fs::write(at("seed/users.json"), users().to_string()).unwrap();
        fs::write(at("seed/key-fragment"), format!("{}\n", fragments.server)).unwrap();
        fs::write(at("seed/resources/models/tiny.txt"), "not sealed by the publisher\n").unwrap();

        let foreign = split(&Key::from_bytes([1; 32]), Scheme::Xor, 2, 2).unwrap();
        write_secret(&at("device.frag"), &fragments.device);
        write_secret(&at("foreign.frag"), &foreign[1].to_text());
        write_secret(&at("key"), &fragments.key);
        write_secret(&at("hwid"), &HARDWARE.repeat(32));
        write_secret(&at("other.hwid"), &"cd".repeat(32));

        let tags = unique_tags();
        docker_archive(&images(&tags), fs::File::create(at("images.tar")).unwrap()).unwrap();
        seal(&at("key"), &at("images.tar"), &at("images.enc"));
        fs::write(at("model"), Random(6).bytes(100_000)).unwrap();
        for name in ["yolo", "gone", "cut", "damaged"] {
            publish(folder.path(), name);
        }
        let big = |name: &str| at("seed/cdn/models").join(format!("{name}.onnx.big"));
        fs::remove_file(big("gone")).unwrap();
        let mut bytes = fs::read(big("cut")).unwrap();
        fs::write(big("cut"), &bytes[..bytes.len() - 1]).unwrap();
        bytes[1000] ^= 1;
        fs::write(big("damaged"), bytes).unwrap();

        let server = DevServer::start(Config { settings: Some(settings), ..Config::seeded(at("seed")) }).unwrap();
        for (name, _) in USERS {
            let credentials = json!({ "email": email(name), "password": PASSWORD });
            write_secret(&at(&format!("{name}.json")), &credentials.to_string());
            let jwt = if name == "credentials" { "jwt".to_owned() } else { format!("{name}.jwt") };
            write_secret(&at(&jwt), &server.token(&email(name), 3600).unwrap());
        }
        let wrong = json!({ "email": email("credentials"), "password": "not the password" });
        write_secret(&at("wrong.json"), &wrong.to_string());
        write_secret(&at("expired.jwt"), &server.token(&email("credentials"), -3600).unwrap());
        let cdn = server.cdn();
        let cdn = json!({
            "host": cdn.host, "downloader_access_key": cdn.downloader_access_key,
            "downloader_access_secret": cdn.downloader_access_secret,
            "bucket": cdn.bucket, "region": cdn.region, "path_style": cdn.path_style,
        });
        write_secret(&at("cdn.json"), &cdn.to_string());
        Self { server, folder, tags }
    }

    /// Starts a second server with the same content, but with `fragment`.
    pub fn server_with(&self, fragment: &str) -> DevServer {
        fs::write(self.file("seed/key-fragment"), fragment).unwrap();
        DevServer::start(Config { settings: Some(settings()), ..Config::seeded(self.file("seed")) }).unwrap()
    }

    /// Returns the server.
    pub fn server(&self) -> &DevServer {
        &self.server
    }

    /// Returns the device's directory.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the path of a file in the device's directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the tags of the images in the archive.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// Sets the environment that the documented command lines expect, and `SITE` to the
    /// device's directory.
    pub fn configure(&self, command: &mut Command) {
        command
            .env("AZ_API_URL", self.server.api_url())
            .env("AZ_CREDENTIALS_FILE", self.file("credentials.json"))
            .env("AZ_HWID_FILE", self.file("hwid"))
            .env("DEVICE_FRAGMENT", self.file("device.frag"))
            .env("IMAGES", self.file("images.enc"))
            .env("SITE", self.folder());
    }
}

fn email(name: &str) -> String {
    if name == "credentials" { "operator@example.com".to_owned() } else { format!("{name}@example.com") }
}

fn users() -> Value {
    let user = |(i, (name, role)): (usize, &(&str, &str))| {
        let mut user = json!({
            "id": format!("00000000-0000-4000-8000-00000000000{i}"),
            "email": email(name), "password": PASSWORD, "role": role, "locked": *name == "locked",
        });
        match *name {
            "credentials" => user["hardware"] = json!(HARDWARE.repeat(32)),
            "bound" => user["hardware"] = json!("ee".repeat(32)),
            _ => {}
        }
        user
    };
    USERS.iter().enumerate().map(user).collect()
}

fn settings() -> Settings {
    let pair = |name: &str| KeyPair { access_key: name.to_uppercase(), access_secret: format!("secret of the {name}") };
    Settings {
        downloader: Some(pair("downloader")),
        uploader: Some(pair("uploader")),
        // Minimum cost of Argon2id, whose strength is not tested here.
        seal_cost: SealCost { memory_kib: 64, passes: 1, lanes: 1 },
        ..Settings::default()
    }
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
    let folder = TempDir::with_prefix("az-").unwrap();
    let name = folder.path().file_name().unwrap().to_string_lossy().to_lowercase();
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    ["app:1.4", "app:latest", "server:2"].map(|rest| format!("az-tests/{}-{name}/{rest}", std::process::id())).to_vec()
}

fn seal(key: &Path, plain: &Path, sealed: &Path) {
    let mut command = filter("az-encrypt");
    command.args(["--segment", "4K", "--key-file"]).arg(key).arg("-o").arg(sealed).arg(plain);
    let finished = run(command, b"");
    assert_eq!(finished.status, 0, "{}", finished.stderr);
}

/// Publishes the model in `folder` as `models/<name>.onnx` in two parts.
fn publish(folder: &Path, name: &str) {
    let sealed = folder.join("model.enc");
    seal(&folder.join("key"), &folder.join("model"), &sealed);
    let mut command = filter("az-split");
    let stem = folder.join(name);
    command.arg("--parts").arg(&stem).args(["--name", &format!("models/{name}.onnx")]).arg(&sealed);
    let receipt = run(command, b"");
    assert_eq!(receipt.status, 0, "{}", receipt.stderr);
    let small = fs::read(stem.with_extension("small")).unwrap();
    let resource = folder.join(format!("seed/resources/models/{name}.onnx"));
    fs::write(resource, [receipt.stdout, small].concat()).unwrap();
    let object = folder.join(format!("seed/cdn/models/{name}.onnx.big"));
    fs::rename(stem.with_extension("big"), object).unwrap();
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

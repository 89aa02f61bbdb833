//! Test site: a server on loopback, and the directory of a device with its files.
#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

use crate::files::{write_below, write_secret};
use crate::test_dir::TestDir;
use crate::{Config, DevServer, FaultLog, Faults, SealCost, Settings, Tls, UserRecord, default_users};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Users, files and settings of a [`Site`].
#[derive(Clone)]
pub struct SiteConfig {
    /// Users; [`default_users`] if there are none.
    pub users: Vec<UserRecord>,
    /// Files of the server's seed directory, with their paths in it.
    pub seed: Vec<(String, Vec<u8>)>,
    /// Settings of the server. By default Argon2id has its minimum cost: its strength is not
    /// tested.
    pub settings: Settings,
    /// Faults that a proxy before both servers injects. `None` starts no proxy.
    pub faults: Option<Faults>,
    /// Certificates for https on both servers. `None` uses plain http.
    pub tls: Option<Tls>,
}

impl Default for SiteConfig {
    fn default() -> Self {
        let settings = Settings { seal_cost: SealCost::MINIMUM, ..Settings::default() };
        Self { users: Vec::new(), seed: Vec::new(), settings, faults: None, tls: None }
    }
}

/// A running server, and a directory, which is removed on drop and contains:
///
/// | file | content |
/// | --- | --- |
/// | `<user>.json`, `<user>.jwt` | credentials and token of the user `<user>@example.com` |
/// | `cdn.json`, `uploader-cdn.json` | credentials of the CDN, to download only and to upload |
/// | `seed/` | the seed of the server |
///
/// # Panics
/// Every method panics on an I/O error: a test whose setup fails has failed.
pub struct Site {
    server: DevServer,
    dir: TestDir,
    config: SiteConfig,
}

impl Site {
    /// Starts a server in a new directory.
    pub fn start(config: SiteConfig) -> Self {
        Self::start_in(TestDir::new(), config)
    }

    /// Starts a server in `dir`, whose directory `seed` may contain more files.
    pub fn start_in(dir: TestDir, config: SiteConfig) -> Self {
        let seed = dir.path("seed");
        std::fs::create_dir_all(&seed).unwrap();
        for (name, content) in &config.seed {
            write_below(&seed.join(name), content);
        }
        let users = if config.users.is_empty() { default_users() } else { config.users.clone() };
        write_below(&seed.join("users.json"), serde_json::to_vec(&users).unwrap());
        let site = Self { server: start_server(&seed, &config), dir, config };
        for user in &users {
            let name = user.email.split('@').next().unwrap();
            site.secret(&format!("{name}.json"), credentials(&user.email, &user.password).to_string());
            site.secret(&format!("{name}.jwt"), site.server.token(&user.email, 3600).unwrap());
        }
        let cdn = site.server.cdn();
        site.secret("uploader-cdn.json", serde_json::to_vec(cdn).unwrap());
        site.secret("cdn.json", serde_json::to_vec(&cdn.clone().without_uploader()).unwrap());
        site
    }

    /// Returns the server.
    pub fn server(&self) -> &DevServer {
        &self.server
    }

    /// Starts a second server with the same seed and settings.
    pub fn second_server(&self) -> DevServer {
        start_server(&self.path("seed"), &self.config)
    }

    /// Replaces the server.
    pub fn set_server(&mut self, server: DevServer) {
        self.server = server;
    }

    /// Returns the faults and counters of the proxy.
    ///
    /// # Panics
    /// If the site was started without one.
    pub fn faults(&self) -> &FaultLog {
        self.server.faults().unwrap()
    }

    /// Returns the path of the directory.
    pub fn root(&self) -> &Path {
        self.dir.root()
    }

    /// Returns the path of a file in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path(name)
    }

    /// Writes a file that only its owner may read.
    pub fn secret(&self, name: &str, content: impl AsRef<[u8]>) {
        write_secret(&self.path(name), content);
    }

    /// Returns the path of the published small part, or of the whole resource.
    pub fn resource(&self, name: &str) -> PathBuf {
        self.server.resources_dir().join(name)
    }

    /// Returns the path of the big part in the bucket.
    pub fn object(&self, name: &str) -> PathBuf {
        self.server.objects_dir().join(format!("{name}.big"))
    }

    /// Returns a command with pipes as standard output and standard error. Its environment
    /// contains only the URL of the API.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("AZ_API_URL", self.server.api_url());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

fn start_server(seed: &Path, config: &SiteConfig) -> DevServer {
    let SiteConfig { settings, faults, tls, .. } = config.clone();
    DevServer::start(Config { settings: Some(settings), faults, tls, ..Config::seeded(seed) }).unwrap()
}

/// Returns the document that az-login reads.
pub fn credentials(email: &str, password: &str) -> Value {
    json!({ "email": email, "password": password })
}

//! Start and stop of both servers.

use crate::access_log::AccessLog;
use crate::access_log::{Observer, observe};
use crate::faults::{FaultLog, Proxy, Side};
use crate::seed::{self, Seed, SeedError};
use crate::tls::Tls;
use crate::{Config, RequestLine, s3};
use axum::Router;
use axum::middleware::from_fn_with_state;
use loader_model::CdnCredentials;
use loader_server::{Api, ApiConfig, Limits, Metrics, StateDir, StateError, TlsConfig, TlsError};
use serde::Serialize;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;

/// Maximum time for open responses to complete after a stop request.
const GRACE: Duration = Duration::from_millis(500);

/// Time that no test reaches.
const UNLIMITED: Duration = Duration::from_secs(24 * 3600);

/// Tests stop and slow down transfers for as long as they like.
const LIMITS: Limits = Limits {
    connections: 4096,
    connections_per_address: 4096,
    header_time: UNLIMITED,
    connection_time: UNLIMITED,
    grace: GRACE,
};

/// Reason why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address is not on loopback.
    #[error("{0}: not a loopback address")]
    NotLoopback(IpAddr),
    /// The address or port cannot be bound.
    #[error("{0}: {1}")]
    Bind(String, #[source] io::Error),
    /// The bucket name is not a single path component.
    #[error("{0:?}: not a valid bucket name")]
    Bucket(String),
    /// The seed cannot be served.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// A certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The state of the API cannot be created.
    #[error(transparent)]
    State(#[from] StateError),
    /// A thread or the temporary directory cannot be created.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// URLs of a server.
#[derive(Clone, Debug, Serialize)]
pub struct Urls {
    /// Base URL of the API, without a trailing slash.
    pub api: String,
    /// Base URL of the S3 store, without a trailing slash.
    pub s3: String,
    /// Bucket name.
    pub bucket: String,
    /// Process id.
    pub pid: u32,
}

/// A running server. A drop closes both listeners, waits at most half a second for open
/// responses, and removes the temporary directory.
pub struct DevServer {
    urls: Urls,
    cdn: CdnCredentials,
    api: Api,
    log: Arc<AccessLog>,
    dir: TempDir,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    faults: Option<FaultLog>,
    _proxies: Vec<Proxy>,
}

impl DevServer {
    /// Starts a server with its own threads. When it returns, both listeners are bound
    /// and all objects are in the store.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(config: Config) -> Result<Self, StartError> {
        if !config.bind.is_loopback() {
            return Err(StartError::NotLoopback(config.bind));
        }
        if !is_bucket(&config.bucket) {
            return Err(StartError::Bucket(config.bucket));
        }
        let (mut api_listener, api_address) = listen(config.bind, config.port)?;
        let (mut s3_listener, s3_address) = listen(config.bind, config.s3_port)?;
        let tls = config.tls.as_ref().map(Tls::config).transpose()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let faults = config.faults.clone().map(FaultLog::new);
        let mut proxies = Vec::new();
        for (side, listener) in [(Side::Api, &mut api_listener), (Side::Cdn, &mut s3_listener)] {
            let Some(faults) = faults.clone() else { break };
            let (backend, server) = listen(config.bind, 0)?;
            proxies.push(Proxy::start(side, std::mem::replace(listener, backend), server, faults)?);
        }
        let url = |address| format!("{scheme}://{address}");
        let urls =
            Urls { api: url(api_address), s3: url(s3_address), bucket: config.bucket.clone(), pid: std::process::id() };

        let dir = tempfile::Builder::new().prefix("az-devserver-").tempdir()?;
        let store = dir.path().join("store");
        std::fs::create_dir_all(store.join(&config.bucket))?;
        let state = StateDir::open_or_create(dir.path().join("state"))?;
        let seed = Seed::read(&config)?;
        seed::copy_resources(config.seed.as_deref(), &state.resources())?;
        let cdn = seed::cdn(&state.resources(), &seed.settings, &urls.s3, &config.bucket)?;
        seed.write_state(&state)?;
        let metrics = Arc::new(Metrics::default());
        let api_config = ApiConfig { request_time: UNLIMITED, ..ApiConfig::default() };
        let api = Api::new(state, api_config, metrics.clone())?;

        let log = Arc::new(AccessLog::new(config.log));
        let objects = config.seed.map(|seed| seed.join("cdn"));
        let routers = Routers { api: api.clone(), log: log.clone(), cdn: cdn.clone(), store, objects, metrics };
        let (stop, stopped) = watch::channel(false);
        let (ready, wait) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("az-devserver".to_owned())
            .spawn(move || run((api_listener, s3_listener), tls, routers, stopped, &ready))?;
        let server = Self { urls, cdn, api, log, dir, stop, thread: Some(thread), faults, _proxies: proxies };
        wait.recv().map_err(|_| io::Error::other("the server's thread ended"))??;
        Ok(server)
    }

    /// Returns the URLs of the server.
    pub fn urls(&self) -> &Urls {
        &self.urls
    }

    /// Returns the base URL of the API.
    pub fn api_url(&self) -> &str {
        &self.urls.api
    }

    /// Returns the base URL of the S3 store.
    pub fn s3_url(&self) -> &str {
        &self.urls.s3
    }

    /// Returns the credentials of the store with both key pairs, as in the generated `cdn.yaml`.
    pub fn cdn(&self) -> &CdnCredentials {
        &self.cdn
    }

    /// Returns a token for the user with this email that expires in `seconds` (negative:
    /// already expired), or `None` if there is no such user.
    pub fn token(&self, email: &str, seconds: i64) -> Option<String> {
        self.api.token(email, seconds).ok().flatten()
    }

    /// Returns the last 4096 requests of both servers, oldest first. A request is recorded
    /// before the first byte of its response is sent.
    pub fn requests(&self) -> Vec<RequestLine> {
        self.log.requests()
    }

    /// Returns rules and counters of the fault proxies, if there are any.
    pub fn faults(&self) -> Option<&FaultLog> {
        self.faults.as_ref()
    }

    /// Returns the directory of the current resources, including uploads.
    pub fn resources_dir(&self) -> PathBuf {
        self.dir.path().join("state/resources")
    }

    /// Returns the directory of the bucket's current objects: one file per object, with
    /// its key as path.
    pub fn objects_dir(&self) -> PathBuf {
        self.dir.path().join("store").join(&self.urls.bucket)
    }
}

impl Drop for DevServer {
    fn drop(&mut self) {
        if let Some(faults) = &self.faults {
            faults.stop();
        }
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn is_bucket(name: &str) -> bool {
    !name.contains('/') && name.parse::<loader_model::ResourceName>().is_ok()
}

fn listen(bind: IpAddr, port: u16) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Bind(SocketAddr::new(bind, port).to_string(), error);
    let listener = TcpListener::bind((bind, port)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Parameters of the routers.
struct Routers {
    api: Api,
    metrics: Arc<Metrics>,
    log: Arc<AccessLog>,
    cdn: CdnCredentials,
    store: PathBuf,
    objects: Option<PathBuf>,
}

impl Routers {
    async fn build(&self) -> Result<(Router, Router), StartError> {
        let bucket = self.cdn.bucket.as_deref().unwrap_or_default();
        let store = s3::ObjectStore::open(&self.store)?;
        store.seed(bucket, self.objects.as_deref().unwrap_or(Path::new(""))).await?;
        let observer = Observer { log: self.log.clone(), server: "api" };
        Ok((
            self.api.router().layer(from_fn_with_state(observer, observe)),
            s3::router(store, &self.cdn, self.log.clone()),
        ))
    }
}

/// Runs the server thread: reports readiness once, then serves until it is stopped.
fn run(
    listeners: (TcpListener, TcpListener),
    tls: Option<TlsConfig>,
    routers: Routers,
    stopped: watch::Receiver<bool>,
    ready: &mpsc::Sender<Result<(), StartError>>,
) {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error.into()))),
    };
    match runtime.block_on(routers.build()) {
        Err(error) => drop(ready.send(Err(error))),
        Ok((api, s3)) => {
            let _ = ready.send(Ok(()));
            let serve = |listener, router| {
                let (tls, metrics) = (tls.clone(), routers.metrics.clone());
                loader_server::serve(listener, tls, router, LIMITS, metrics, wait_for_stop(stopped.clone()))
            };
            let (api, s3) = (serve(listeners.0, api), serve(listeners.1, s3));
            let _ = runtime.block_on(async { tokio::join!(api, s3) });
        }
    }
    runtime.shutdown_timeout(GRACE);
}

async fn wait_for_stop(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender was dropped, which is a stop too.
    let _ = stopped.wait_for(|stop| *stop).await;
}

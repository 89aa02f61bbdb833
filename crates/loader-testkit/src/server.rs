//! Start and stop of both servers.

use crate::access_log::AccessLog;
use crate::api::{self, App};
use crate::faults::{FaultLog, Proxy, Side};
use crate::seed::{self, Seed, SeedError};
use crate::tls::{TlsError, TlsListener};
use crate::token::TokenSigner;
use crate::users::Users;
use crate::{Config, RequestLine, Tls, s3};
use axum::Router;
use axum::serve::ListenerExt;
use loader_model::CdnCredentials;
use serde::Serialize;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// Maximum time for open responses to complete after a stop request.
const GRACE: Duration = Duration::from_millis(500);

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
    app: Arc<App>,
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
        let (mut api, api_address) = listen(config.bind, config.port)?;
        let (mut s3, s3_address) = listen(config.bind, config.s3_port)?;
        let tls = config.tls.as_ref().map(Tls::acceptor).transpose()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let faults = config.faults.clone().map(FaultLog::new);
        let mut proxies = Vec::new();
        for (side, listener) in [(Side::Api, &mut api), (Side::Cdn, &mut s3)] {
            let Some(faults) = faults.clone() else { break };
            let (backend, server) = listen(config.bind, 0)?;
            proxies.push(Proxy::start(side, std::mem::replace(listener, backend), server, faults)?);
        }
        let url = |address| format!("{scheme}://{address}");
        let urls =
            Urls { api: url(api_address), s3: url(s3_address), bucket: config.bucket.clone(), pid: std::process::id() };

        let dir = tempfile::Builder::new().prefix("az-devserver-").tempdir()?;
        let [resources, incoming, store] = ["resources", "incoming", "store"].map(|name| dir.path().join(name));
        for path in [&resources, &incoming, &store.join(&config.bucket)] {
            std::fs::create_dir_all(path)?;
        }
        let seed = Seed::read(&config)?;
        seed::copy_resources(config.seed.as_deref(), &resources)?;
        let cdn = seed::cdn(&resources, &seed.settings, &urls.s3, &config.bucket)?;
        let secret = seed.settings.jwt_secret.clone().unwrap_or_else(|| seed::random_hex(32));
        let app = Arc::new(App::new(
            Users::new(seed.users)?,
            TokenSigner::new(secret.into_bytes(), seed.settings.role_claim.clone()),
            seed.settings,
            seed.fragment,
            resources,
            incoming,
        )?);

        let log = Arc::new(AccessLog::new(config.log));
        let objects = config.seed.map(|seed| seed.join("cdn"));
        let routers = Routers { app: app.clone(), log: log.clone(), cdn: cdn.clone(), store, objects };
        let (stop, stopped) = watch::channel(false);
        let (ready, wait) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("az-devserver".to_owned())
            .spawn(move || run((api, s3), tls, routers, stopped, &ready))?;
        let server = Self { urls, cdn, app, log, dir, stop, thread: Some(thread), faults, _proxies: proxies };
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

    /// Returns the secret of the HS256 signatures.
    pub fn jwt_secret(&self) -> &[u8] {
        self.app.signer.secret()
    }

    /// Returns a token for the user with this email that expires in `seconds` (negative:
    /// already expired), or `None` if there is no such user.
    pub fn token(&self, email: &str, seconds: i64) -> Option<String> {
        let account = self.app.users.by_email(email)?;
        Some(self.app.token_for(account, seconds))
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
        self.dir.path().join("resources")
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
    app: Arc<App>,
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
        Ok((api::router(self.app.clone(), self.log.clone()), s3::router(store, &self.cdn, self.log.clone())))
    }
}

/// Runs the server thread: reports readiness once, then serves until it is stopped.
fn run(
    listeners: (TcpListener, TcpListener),
    tls: Option<TlsAcceptor>,
    routers: Routers,
    stopped: watch::Receiver<bool>,
    ready: &mpsc::Sender<Result<(), StartError>>,
) {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error.into()))),
    };
    let both = runtime.block_on(async {
        let (api, s3) = routers.build().await?;
        let api = serve(listeners.0, tls.clone(), api, stopped.clone())?;
        Ok((api, serve(listeners.1, tls, s3, stopped.clone())?))
    });
    match both {
        Err(error) => drop(ready.send(Err(error))),
        Ok((api, s3)) => {
            let _ = ready.send(Ok(()));
            runtime.block_on(async move {
                let serving = async { tokio::join!(api, s3) };
                let overdue = async {
                    wait_for_stop(stopped).await;
                    tokio::time::sleep(GRACE).await;
                };
                tokio::select! { _ = serving => {}, () = overdue => {} }
            });
        }
    }
    runtime.shutdown_timeout(GRACE);
}

fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    stopped: watch::Receiver<bool>,
) -> Result<Pin<Box<dyn Future<Output = io::Result<()>>>>, StartError> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let stop = wait_for_stop(stopped);
    Ok(match tls {
        Some(acceptor) => {
            let listener = TlsListener::new(listener, acceptor)?;
            Box::pin(axum::serve(listener, router).with_graceful_shutdown(stop).into_future())
        }
        None => {
            let listener = listener.tap_io(|stream| {
                // Nagle's algorithm would delay a small body until the header is acknowledged.
                let _ = stream.set_nodelay(true);
            });
            Box::pin(axum::serve(listener, router).with_graceful_shutdown(stop).into_future())
        }
    })
}

async fn wait_for_stop(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender was dropped, which is a stop too.
    let _ = stopped.wait_for(|stop| *stop).await;
}

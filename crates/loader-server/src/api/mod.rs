//! The HTTP API, as described in `openapi.json`.

mod auth;
mod context;
mod error;
mod fragment;
mod keys;
mod list;
mod login;
mod resource;
mod upload;

use crate::audit::{AuditLine, AuditLog};
use crate::sealing::{Argon2Pool, PoolError};
use crate::state::{Account, VerifyingKeys};
use crate::throttle::Throttle;
use crate::token::{self, TokenClaims};
use crate::{Metrics, ServerSettings, StateDir, StateError, unix_now};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use context::Client;
use error::ApiError;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Maximum size of a JSON request body in bytes.
const JSON_MAX: usize = 64 * 1024;

/// Maximum size of an upload body in bytes: a small part and its multipart headers.
const UPLOAD_BODY_MAX: usize = upload::FILE_MAX as usize + 64 * 1024;

/// Settings of an [`Api`] that are not in the state directory.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Destination of the audit log.
    pub audit: AuditLog,
    /// Uses the last address in `X-Forwarded-For` for requests from loopback, where a reverse
    /// proxy runs.
    pub behind_proxy: bool,
    /// Maximum time to read and answer a request.
    pub request_time: Duration,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self { audit: AuditLog::Off, behind_proxy: false, request_time: Duration::from_secs(60) }
    }
}

/// The API over a state directory.
#[derive(Clone)]
pub struct Api(Arc<App>);

/// State shared by the API handlers.
pub(crate) struct App {
    pub(crate) state: StateDir,
    pub(crate) settings: ServerSettings,
    config: ApiConfig,
    throttle: Mutex<Throttle>,
    pool: Argon2Pool,
    metrics: Arc<Metrics>,
}

impl Api {
    /// Creates the API and starts its threads. Creates a signing key if there is none. The
    /// settings in the directory are read only here; everything else is read for each request.
    ///
    /// # Errors
    /// [`StateError`] if the settings or keys are unusable; those of starting a thread.
    pub fn new(state: StateDir, config: ApiConfig, metrics: Arc<Metrics>) -> Result<Self, StateError> {
        let settings = state.settings()?;
        state.ensure_key(unix_now())?;
        let failed = |error| StateError::Io(state.root().to_owned(), error);
        let (throttle, pool) = (Throttle::new().map_err(failed)?.into(), Argon2Pool::start().map_err(failed)?);
        Ok(Self(Arc::new(App { state, settings, config, throttle, pool, metrics })))
    }

    /// Returns a token for the user with this email that expires in `seconds` (negative: already
    /// expired). `None` if there is no such user.
    ///
    /// # Errors
    /// The errors of reading the user and the key.
    pub fn token(&self, email: &str, seconds: i64) -> Result<Option<String>, StateError> {
        self.0.state.account(email)?.map(|account| self.0.token_for(&account, seconds)).transpose()
    }

    /// Returns the router. A layer added to it sees every request.
    pub fn router(&self) -> Router {
        let uploads = Router::new()
            .route("/resources", post(upload::upload))
            .route("/resources/", post(upload::upload))
            .route("/resources/{*folder}", post(upload::upload))
            .layer(DefaultBodyLimit::max(UPLOAD_BODY_MAX));
        Router::new()
            .route("/login", post(login::login))
            .route("/resources/get", post(resource::get))
            .route("/resources/get/", post(resource::get))
            .route("/resources/get/{*folder}", post(resource::get))
            .route("/resources/list", get(list::list))
            .route("/resources/list/", get(list::list))
            .route("/resources/list/{*folder}", get(list::list))
            .route("/binary-split/key-fragment", get(fragment::get))
            .route("/.well-known/jwks.json", get(keys::jwks))
            .route("/healthz", get(keys::health))
            .route("/openapi.json", get(openapi))
            .layer(DefaultBodyLimit::max(JSON_MAX))
            .merge(uploads)
            .fallback(async || ApiError::new(StatusCode::NOT_FOUND, "no_such_call", "unknown path"))
            .method_not_allowed_fallback(async || {
                ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "method not allowed")
            })
            .layer(from_fn_with_state(self.0.clone(), context::bound_and_record))
            .with_state(self.0.clone())
    }
}

impl App {
    fn token_for(&self, account: &Account, seconds: i64) -> Result<String, StateError> {
        let now = unix_now();
        let key = self.state.signing_key(now)?.ok_or(StateError::Crypto)?;
        let claims = TokenClaims {
            nameid: account.record.id.clone(),
            unique_name: account.record.email.clone(),
            role: account.record.role.clone(),
            generation: account.record.generation,
            nbf: now + seconds.min(0),
            exp: now + seconds,
        };
        Ok(token::sign(&key, &self.settings.role_claim, &claims))
    }

    fn verifying_keys(&self) -> VerifyingKeys<'_> {
        VerifyingKeys(&self.state)
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses a password check after too many failures.
    fn check_throttle(&self, email: &str, address: IpAddr) -> Result<(), ApiError> {
        match self.throttle().wait_seconds(email, address, Instant::now()) {
            None => Ok(()),
            Some(seconds) => {
                self.metrics.logins_throttled.fetch_add(1, Ordering::Relaxed);
                Err(ApiError::too_many(seconds))
            }
        }
    }

    /// Records a wrong password.
    fn password_failed(&self, email: &str, address: IpAddr) {
        self.metrics.logins_failed.fetch_add(1, Ordering::Relaxed);
        self.throttle().failed(email, address, Instant::now());
    }

    /// Runs `work`, which computes Argon2id, on a thread of the pool.
    async fn argon2<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let app = self.clone();
        let done = self.pool.run(move || work(&app)).await;
        self.metrics.argon2_waiting.store(self.pool.waiting() as u64, Ordering::Relaxed);
        done.map_err(|error| match error {
            PoolError::Busy => ApiError::busy(),
            PoolError::Lost => ApiError::internal("a password hash was not computed"),
        })
    }

    /// Runs `work`, which reads files, on a thread that may block.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let app = self.clone();
        tokio::task::spawn_blocking(move || work(&app)).await.map_err(ApiError::internal)
    }

    fn audit(&self, client: &Client, action: &str, target: Option<&str>, result: &str) {
        let user = client.user();
        let line = AuditLine { action, user: user.as_deref(), target, address: Some(client.address), result };
        if self.config.audit.write(&line).is_err() {
            self.metrics.audit_lines_lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], crate::OPENAPI)
}

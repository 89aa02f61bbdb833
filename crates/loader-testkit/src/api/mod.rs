//! The HTTP API, as described in `openapi.json`.

mod auth;
mod error;
mod fragment;
mod list;
mod login;
mod resource;
mod upload;

use crate::Settings;
use crate::access_log::{AccessLog, Observer, observe};
use crate::sealing::SealingPool;
use crate::throttle::Throttle;
use crate::token::{TokenClaims, TokenSigner};
use crate::users::{Account, Users};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use error::ApiError;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

/// Maximum size of a JSON request body in bytes.
const JSON_MAX: usize = 64 * 1024;

/// Maximum size of an upload body in bytes: a small part and its multipart headers.
const UPLOAD_BODY_MAX: usize = upload::FILE_MAX as usize + 64 * 1024;

/// State shared by the API handlers.
pub(crate) struct App {
    pub(crate) users: Users,
    pub(crate) signer: TokenSigner,
    settings: Settings,
    fragment: Option<Vec<u8>>,
    /// Directory of the resources.
    resources: PathBuf,
    /// Directory of incomplete uploads, on the same filesystem.
    incoming: PathBuf,
    throttle: Mutex<Throttle>,
    sealers: SealingPool,
}

impl App {
    /// Creates the state and starts the sealing threads.
    ///
    /// # Errors
    /// Those of starting a thread.
    pub(crate) fn new(
        users: Users,
        signer: TokenSigner,
        settings: Settings,
        fragment: Option<Vec<u8>>,
        resources: PathBuf,
        incoming: PathBuf,
    ) -> io::Result<Self> {
        let (throttle, sealers) = (Mutex::default(), SealingPool::start()?);
        Ok(Self { users, signer, settings, fragment, resources, incoming, throttle, sealers })
    }

    /// Returns a token for `account` that expires in `seconds`.
    pub(crate) fn token_for(&self, account: &Account, seconds: i64) -> String {
        let now = unix_now();
        self.signer.sign(&TokenClaims {
            nameid: account.record.id.clone(),
            unique_name: account.record.email.clone(),
            role: account.record.role.clone(),
            nbf: now + seconds.min(0),
            exp: now + seconds,
        })
    }
}

/// Returns the current time in seconds since 1970.
fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |past| past.as_secs() as i64)
}

/// Returns the router of the API. A layer added to it sees every request.
pub(crate) fn router(app: Arc<App>, log: Arc<AccessLog>) -> Router {
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
        .route("/healthz", get("ok\n"))
        .route("/openapi.json", get(openapi))
        .layer(DefaultBodyLimit::max(JSON_MAX))
        .merge(uploads)
        .fallback(async || ApiError::new(StatusCode::NOT_FOUND, "no_such_call", "unknown path"))
        .method_not_allowed_fallback(async || {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "method not allowed")
        })
        .layer(from_fn_with_state(Observer { log, server: "api" }, observe))
        .with_state(app)
}

async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], crate::OPENAPI)
}

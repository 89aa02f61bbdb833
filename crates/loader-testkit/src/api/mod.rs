//! The HTTP API (spec/api.md section 1).

mod auth;
mod error;
mod fragment;
mod list;
mod login;
mod resource;
mod upload;

use crate::Settings;
use crate::access_log::{AccessLog, Observer, observe};
use crate::sealing::Sealers;
use crate::throttle::Throttle;
use crate::token::{Claims, Signer};
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

/// Longest JSON body of a request in bytes.
const JSON_MAX: usize = 64 * 1024;

/// Longest body of an upload in bytes: a small part and its multipart headers.
const UPLOAD_BODY_MAX: usize = upload::FILE_MAX as usize + 64 * 1024;

/// What the calls share.
pub(crate) struct App {
    pub(crate) users: Users,
    pub(crate) signer: Signer,
    settings: Settings,
    fragment: Option<Vec<u8>>,
    /// Resources as they are handed out.
    resources: PathBuf,
    /// Uploads that are not complete, on the same file system.
    incoming: PathBuf,
    throttle: Mutex<Throttle>,
    sealers: Sealers,
}

impl App {
    /// `folders` are those of the resources and of unfinished uploads.
    ///
    /// # Errors
    /// The system's, where it has no thread to seal with.
    pub(crate) fn new(
        users: Users,
        signer: Signer,
        settings: Settings,
        fragment: Option<Vec<u8>>,
        folders: (PathBuf, PathBuf),
    ) -> io::Result<Self> {
        let (resources, incoming) = folders;
        let (throttle, sealers) = (Mutex::default(), Sealers::start()?);
        Ok(Self { users, signer, settings, fragment, resources, incoming, throttle, sealers })
    }

    /// A token for `account` that ends `seconds` from now.
    pub(crate) fn token_for(&self, account: &Account, seconds: i64) -> String {
        let now = unix_now();
        self.signer.sign(&Claims {
            nameid: account.record.id.clone(),
            unique_name: account.record.email.clone(),
            role: account.record.role.clone(),
            nbf: now + seconds.min(0),
            exp: now + seconds,
        })
    }
}

/// The clock in seconds since 1970.
fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |past| past.as_secs() as i64)
}

/// The calls of the API. A layer added to the result sees every request.
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
        .fallback(async || ApiError::new(StatusCode::NOT_FOUND, "no_such_call", "there is no such call"))
        .method_not_allowed_fallback(async || {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "the call has another method")
        })
        .layer(from_fn_with_state(Observer { log, server: "api" }, observe))
        .with_state(app)
}

async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], crate::OPENAPI)
}

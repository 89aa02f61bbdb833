//! Error responses.

use crate::StateError;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Code of an error, an extension of its response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ErrorKind(pub(crate) &'static str);

/// Error response `{"error":"code","message":"…"}` with its status.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after_seconds: Option<u64>,
}

impl ApiError {
    /// Creates an error. The message must not contain a secret.
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after_seconds: None }
    }

    /// 400: the request is invalid.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// 404: the resource does not exist.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("{what}: not found"))
    }

    /// 429: the client may retry after `seconds`.
    pub(crate) fn too_many(seconds: u64) -> Self {
        let message = format!("too many failed logins; try again in {seconds} s");
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_logins", message);
        Self { retry_after_seconds: Some(seconds), ..error }
    }

    /// 503: too many requests wait for a password hash.
    pub(crate) fn busy() -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "too many requests; try again");
        Self { retry_after_seconds: Some(2), ..error }
    }

    /// 500: the server failed. The cause, which may contain paths, is not part of the response.
    pub(crate) fn internal(_cause: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the server failed")
    }
}

impl From<StateError> for ApiError {
    fn from(error: StateError) -> Self {
        Self::internal(error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Json(json!({"error": self.code, "message": self.message}));
        let mut response = (self.status, body).into_response();
        response.extensions_mut().insert(ErrorKind(self.code));
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

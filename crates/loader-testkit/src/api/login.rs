//! `POST /login`.

use super::App;
use super::error::ApiError;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use loader_model::Credentials;
use serde_json::{Value, json};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

/// Longest email address in bytes (RFC 5321 section 4.5.3.1).
const EMAIL_MAX: usize = 320;

/// Returns a token for the correct email and password; 401 if they are wrong, 409 if
/// the account is locked, 429 after too many failures.
pub(crate) async fn login(
    State(app): State<Arc<App>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, ApiError> {
    let credentials = Credentials::from_json(&json_body(body)?)
        .filter(|credentials| credentials.email.len() <= EMAIL_MAX)
        .ok_or_else(|| ApiError::bad_request("email and password are required"))?;
    let now = Instant::now();
    let mut throttle = app.throttle.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(seconds) = throttle.wait_seconds(&credentials.email, now) {
        return Err(ApiError::too_many(seconds));
    }
    let Some(account) = app.users.check(&credentials.email, &credentials.password) else {
        throttle.failed(&credentials.email, now);
        return Err(ApiError::new(StatusCode::UNAUTHORIZED, "bad_credentials", "email or password is wrong"));
    };
    if account.record.locked {
        return Err(ApiError::new(StatusCode::CONFLICT, "account_locked", "the account is locked"));
    }
    throttle.succeeded(&credentials.email);
    Ok(Json(json!({"token": app.token_for(account, app.settings.token_seconds)})))
}

/// Returns the body of a JSON request, or the error for one that is too long or incomplete.
pub(crate) fn json_body(body: Result<Bytes, BytesRejection>) -> Result<Bytes, ApiError> {
    body.map_err(|rejection| ApiError::new(rejection.status(), "bad_body", rejection.body_text()))
}

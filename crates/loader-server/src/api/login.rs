//! `POST /login`.

use super::App;
use super::context::Client;
use super::error::ApiError;
use crate::password::PasswordHash;
use crate::state::valid_email;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::{Extension, Json};
use loader_model::Credentials;
use serde_json::{Value, json};
use std::sync::Arc;

/// Longest email address in bytes (RFC 5321 section 4.5.3.1).
const EMAIL_MAX: usize = 320;

/// Returns a token for the correct email and password; 401 if they are wrong, 409 if
/// the account is locked, 429 after too many failures. An unknown user and a wrong password take
/// the same time.
pub(crate) async fn login(
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, ApiError> {
    let credentials = Credentials::from_json(&json_body(body)?)
        .filter(|credentials| credentials.email.len() <= EMAIL_MAX)
        .ok_or_else(|| ApiError::bad_request("email and password are required"))?;
    // Only what has the form of an address is logged: people type passwords into the wrong field.
    if let Some(email) = valid_email(&credentials.email) {
        client.set_user(&email);
    }
    let address = client.address;
    app.check_throttle(&credentials.email, address)?;
    let checked = app.argon2(move |app| {
        // Many guesses may have waited here together: the limit holds for all but the first few.
        app.check_throttle(&credentials.email, address)?;
        let account = app.state.account(&credentials.email)?;
        let nobody = PasswordHash::of_nobody(app.settings.argon2);
        let is_right = account.as_ref().map_or(&nobody, |found| &found.password).verify(&credentials.password);
        let Some(account) = account.filter(|_| is_right) else {
            app.password_failed(&credentials.email, address);
            return Err(ApiError::new(StatusCode::UNAUTHORIZED, "bad_credentials", "email or password is wrong"));
        };
        if account.record.locked {
            return Err(ApiError::new(StatusCode::CONFLICT, "account_locked", "the account is locked"));
        }
        app.state.seal_fragment(&account, &credentials.password)?;
        Ok(app.token_for(&account, app.settings.token_seconds)?)
    });
    Ok(Json(json!({"token": checked.await??})))
}

/// Returns the body of a JSON request, or the error for one that is too long or incomplete.
pub(crate) fn json_body(body: Result<Bytes, BytesRejection>) -> Result<Bytes, ApiError> {
    body.map_err(|rejection| ApiError::new(rejection.status(), "bad_body", rejection.body_text()))
}

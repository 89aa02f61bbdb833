//! `GET /.well-known/jwks.json` and `GET /healthz`.

use super::App;
use super::error::ApiError;
use axum::Json;
use axum::extract::State;
use serde_json::Value;
use std::sync::Arc;

/// Returns the public keys that verify tokens (RFC 7517).
pub(crate) async fn jwks(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    Ok(Json(app.blocking(|app| app.state.jwks()).await??))
}

/// Returns `ok` if the state directory can be read.
pub(crate) async fn health(State(app): State<Arc<App>>) -> Result<&'static str, ApiError> {
    let keys = app.blocking(|app| app.state.signing_keys()).await??;
    if keys.is_empty() { Err(ApiError::internal("no signing key")) } else { Ok("ok\n") }
}

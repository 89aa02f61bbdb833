//! `POST /resources/get/{folder}`.

use super::App;
use super::auth::Caller;
use super::error::ApiError;
use super::login::json_body;
use crate::sealing::{Recipient, kind_of, seal_to};
use crate::users::hex_bytes;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderName, StatusCode, header};
use loader_model::{ResourceName, Role};
use loader_seal::device::SealedKind;
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;

/// A sealed body with its content type.
pub(crate) type SealedResponse = ([(HeaderName, &'static str); 1], Vec<u8>);

#[derive(Deserialize)]
struct ResourceRequest {
    #[serde(rename = "fileName")]
    file_name: String,
    hardware: String,
    password: String,
}

/// Returns the resource sealed to user and hardware; 409 if the hardware does not
/// match the user, 403 if the password does not.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    caller: Caller,
    folder: Option<Path<String>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<SealedResponse, ApiError> {
    caller.needs_rank(Role::Operator.rank().into(), "resources")?;
    let asked: ResourceRequest = serde_json::from_slice(&json_body(body)?)
        .map_err(|_| ApiError::bad_request("fileName, hardware and password are required"))?;
    let name = resource_name(folder, &asked.file_name)?;
    let hardware =
        hex_bytes(&asked.hardware).ok_or_else(|| ApiError::bad_request("hardware must be 64 hexadecimal digits"))?;
    let account = caller.account()?;
    if !account.has_password(&asked.password) {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "password_mismatch", "the password is not the user's"));
    }
    if account.hardware.is_some_and(|known| known != hardware) {
        return Err(ApiError::new(StatusCode::CONFLICT, "hardware_mismatch", "the user is bound to other hardware"));
    }
    let path = app.resources.join(name.as_str());
    if !path.is_file() {
        return Err(ApiError::not_found(name.as_str()));
    }
    let to = Recipient { user: account.id, password: asked.password, hardware, secret: account.secret };
    seal_response(&app, to, Plaintext::File(path), kind_of(&name)).await
}

/// Data to seal.
pub(crate) enum Plaintext {
    /// Content of a file, read by the sealing thread.
    File(PathBuf),
    /// Bytes in memory.
    Bytes(Vec<u8>),
}

/// Seals `plaintext` on a sealing thread.
pub(crate) async fn seal_response(
    app: &App,
    to: Recipient,
    plaintext: Plaintext,
    kind: SealedKind,
) -> Result<SealedResponse, ApiError> {
    let cost = app.settings.seal_cost;
    let sealing = app.sealers.run(move || {
        let plaintext = match plaintext {
            Plaintext::File(path) => std::fs::read(path).map_err(ApiError::internal)?,
            Plaintext::Bytes(bytes) => bytes,
        };
        seal_to(&to, &plaintext, kind, cost).map_err(ApiError::internal)
    });
    let sealed = sealing.await.ok_or_else(|| ApiError::internal("a sealing thread has ended"))??;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], sealed))
}

/// Returns the name `folder/file`. The directory may be missing or end in a slash.
pub(crate) fn resource_name(folder: Option<Path<String>>, file: &str) -> Result<ResourceName, ApiError> {
    if file.contains('/') {
        return Err(ApiError::bad_request("a file name must not contain a slash"));
    }
    let folder = folder.map(|Path(folder)| folder).unwrap_or_default();
    let folder = folder.strip_suffix('/').unwrap_or(&folder);
    let name = if folder.is_empty() { file.to_owned() } else { format!("{folder}/{file}") };
    name.parse().map_err(|error: loader_model::ResourceNameError| ApiError::bad_request(error.to_string()))
}

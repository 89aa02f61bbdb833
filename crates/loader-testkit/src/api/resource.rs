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

/// A sealed body with its type.
pub(crate) type Sealed = ([(HeaderName, &'static str); 1], Vec<u8>);

#[derive(Deserialize)]
struct Asked {
    #[serde(rename = "fileName")]
    file_name: String,
    hardware: String,
    password: String,
}

/// The resource sealed to user and hardware; 409 where the hardware is not the
/// user's, 403 where the password is not.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    caller: Caller,
    folder: Option<Path<String>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Sealed, ApiError> {
    caller.needs_rank(Role::Operator.rank().into(), "resources")?;
    let asked: Asked = serde_json::from_slice(&json_body(body)?)
        .map_err(|_| ApiError::bad_request("fileName, hardware and password are needed"))?;
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
    seal_answer(&app, to, Plaintext::File(path), kind_of(&name)).await
}

/// What is to be sealed.
pub(crate) enum Plaintext {
    /// The content of a file, read when its turn has come.
    File(PathBuf),
    /// These bytes.
    Bytes(Vec<u8>),
}

/// `plaintext` sealed, once its turn has come.
pub(crate) async fn seal_answer(
    app: &App,
    to: Recipient,
    plaintext: Plaintext,
    kind: SealedKind,
) -> Result<Sealed, ApiError> {
    let cost = app.settings.seal_cost;
    let sealing = app.sealers.run(move || {
        let plaintext = match plaintext {
            Plaintext::File(path) => std::fs::read(path).map_err(ApiError::internal)?,
            Plaintext::Bytes(bytes) => bytes,
        };
        seal_to(&to, &plaintext, kind, cost).map_err(ApiError::internal)
    });
    let sealed = sealing.await.ok_or_else(|| ApiError::internal("a thread that seals has gone"))??;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], sealed))
}

/// The name `folder/file`; a folder may be absent or end in a slash.
pub(crate) fn resource_name(folder: Option<Path<String>>, file: &str) -> Result<ResourceName, ApiError> {
    if file.contains('/') {
        return Err(ApiError::bad_request("a file name has no slash"));
    }
    let folder = folder.map(|Path(folder)| folder).unwrap_or_default();
    let folder = folder.strip_suffix('/').unwrap_or(&folder);
    let name = if folder.is_empty() { file.to_owned() } else { format!("{folder}/{file}") };
    name.parse().map_err(|error: loader_model::NameError| ApiError::bad_request(error.to_string()))
}

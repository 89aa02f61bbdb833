//! `POST /resources/get/{folder}`.

use super::App;
use super::auth::Caller;
use super::error::ApiError;
use super::login::json_body;
use super::upload::FILE_MAX;
use crate::StateDir;
use crate::sealing::{Recipient, kind_of, seal_to};
use crate::state::{CDN_RESOURCE, hex_bytes};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderName, StatusCode, header};
use loader_model::{ResourceName, Role, deserialize_zeroizing};
use serde::Deserialize;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::sync::Arc;
use zeroize::Zeroizing;

/// A sealed body with its content type.
pub(crate) type SealedResponse = ([(HeaderName, &'static str); 1], Vec<u8>);

#[derive(Deserialize)]
struct ResourceRequest {
    #[serde(rename = "fileName")]
    file_name: String,
    hardware: String,
    #[serde(deserialize_with = "deserialize_zeroizing")]
    password: Zeroizing<String>,
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
    caller.client.set_target(name.as_str());
    let Caller { account, client, role } = caller;
    let (email, address) = (account.record.email.clone(), client.address);
    app.check_throttle(&email, address)?;
    let sealing = app.argon2(move |app| {
        app.check_throttle(&email, address)?;
        if !account.password.verify(&asked.password) {
            app.password_failed(&email, address);
            return Err(ApiError::new(StatusCode::FORBIDDEN, "password_mismatch", "the password is not the user's"));
        }
        if account.hardware.is_some_and(|known| known != hardware) {
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                "hardware_mismatch",
                "the user is bound to other hardware",
            ));
        }
        let plaintext = plaintext(&app.state, &name, &role)?.ok_or_else(|| ApiError::not_found(name.as_str()))?;
        let to = Recipient { user: account.id, password: asked.password, hardware, secret: account.secret };
        seal_to(&to, &plaintext, kind_of(&name), app.settings.argon2).map_err(ApiError::internal)
    });
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], sealing.await??))
}

/// Returns the content of a resource. `cdn.yaml` depends on the role.
fn plaintext(state: &StateDir, name: &ResourceName, role: &Role) -> Result<Option<Zeroizing<Vec<u8>>>, ApiError> {
    if name.as_str() == CDN_RESOURCE
        && let Some(cdn) = state.cdn(role)?
    {
        return Ok(cdn);
    }
    let mut bytes = Zeroizing::new(Vec::new());
    let path = state.resources().join(name.as_str());
    let opened = File::open(&path).and_then(|file| {
        let metadata = file.metadata()?;
        Ok((file, metadata))
    });
    let (file, metadata) = match opened {
        Ok(opened) => opened,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(ApiError::internal(error)),
    };
    if !metadata.is_file() {
        return Ok(None);
    }
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(ApiError::internal)?;
    if bytes.len() as u64 > FILE_MAX { Err(ApiError::internal("too large")) } else { Ok(Some(bytes)) }
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

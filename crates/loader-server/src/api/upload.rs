//! `POST /resources/{folder}`.

use super::App;
use super::auth::Caller;
use super::error::ApiError;
use super::list::FileEntry;
use super::resource::resource_name;
use crate::hex;
use crate::state::{CDN_RESOURCE, sync_dir};
use axum::Json;
use axum::extract::multipart::{Field, MultipartError, MultipartRejection};
use axum::extract::{Multipart, Path, State};
use axum::http::StatusCode;
use sha2::{Digest, Sha256};
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path as FilePath;
use std::sync::Arc;
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;

/// Maximum size of a file in bytes, as for a small part.
pub(crate) const FILE_MAX: u64 = 16 * 1024 * 1024;

/// Stores the multipart field `data` under its file name, atomically. Replaces an
/// existing resource.
pub(crate) async fn upload(
    State(app): State<Arc<App>>,
    caller: Caller,
    folder: Option<Path<String>>,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Json<FileEntry>, ApiError> {
    caller.needs_upload()?;
    let mut form = form.map_err(|rejection| ApiError::new(rejection.status(), "bad_body", rejection.body_text()))?;
    let field = loop {
        match form.next_field().await.map_err(broken)? {
            Some(field) if field.name() == Some("data") => break field,
            Some(_) => {}
            None => return Err(ApiError::bad_request("the multipart field data is required")),
        }
    };
    let name = resource_name(folder, field.file_name().ok_or_else(|| ApiError::bad_request("data has no file name"))?)?;
    caller.client.set_target(name.as_str());
    let (root, incoming) = (app.state.resources(), app.state.incoming());
    let target = root.join(name.as_str());
    // Who may upload must not decide which store the devices use.
    if name.as_str() == CDN_RESOURCE && app.blocking(|app| app.state.has_cdn()).await?? {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "reserved", "cdn.yaml is set by the administrator"));
    }
    if target.is_dir() {
        return Err(ApiError::new(StatusCode::CONFLICT, "is_a_folder", format!("{name}: is a folder")));
    }
    let (file, size, sha256) = receive(field, &incoming).await?;
    // Only the closing boundary proves that the body is complete.
    while form.next_field().await.map_err(broken)?.is_some() {}
    let folder = name.folder().to_owned();
    let storing = app.blocking(move |_| store(file, &root, &folder, &target));
    storing.await?.map_err(|error| match error.kind() {
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            ApiError::new(StatusCode::CONFLICT, "is_a_file", format!("{}: is a file", name.folder()))
        }
        _ => ApiError::internal(error),
    })?;
    Ok(Json(FileEntry { name: name.file_name().to_owned(), size, sha256 }))
}

/// Puts a file at its path, durably: the response promises that it stays.
fn store(file: NamedTempFile, root: &FilePath, folder: &str, target: &FilePath) -> std::io::Result<()> {
    file.as_file().sync_all()?;
    let dir = root.join(folder);
    DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
    file.persist(target)?;
    // The names of new directories, too.
    dir.ancestors().take_while(|dir| dir.starts_with(root)).try_for_each(sync_dir)
}

/// Writes the field to a new file in `incoming` and returns it with its length and SHA-256.
async fn receive(mut field: Field<'_>, incoming: &FilePath) -> Result<(NamedTempFile, u64, String), ApiError> {
    let (file, path) = NamedTempFile::new_in(incoming).map_err(ApiError::internal)?.into_parts();
    let mut file = tokio::fs::File::from_std(file);
    let mut hash = Sha256::new();
    let mut size = 0;
    while let Some(chunk) = field.chunk().await.map_err(broken)? {
        size += chunk.len() as u64;
        if size > FILE_MAX {
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "a resource has at most 16 MiB"));
        }
        hash.update(&chunk);
        file.write_all(&chunk).await.map_err(ApiError::internal)?;
    }
    file.flush().await.map_err(ApiError::internal)?;
    Ok((NamedTempFile::from_parts(file.into_std().await, path), size, hex(&hash.finalize())))
}

fn broken(error: MultipartError) -> ApiError {
    ApiError::new(error.status(), "bad_body", error.body_text())
}

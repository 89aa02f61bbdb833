//! `POST /resources/{folder}`.

use super::App;
use super::auth::Caller;
use super::error::ApiError;
use super::list::FileEntry;
use super::resource::resource_name;
use crate::seed::hex;
use axum::Json;
use axum::extract::multipart::{Field, MultipartError, MultipartRejection};
use axum::extract::{Multipart, Path, State};
use axum::http::StatusCode;
use sha2::{Digest, Sha256};
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
    let target = app.resources.join(name.as_str());
    if target.is_dir() {
        return Err(ApiError::new(StatusCode::CONFLICT, "is_a_folder", format!("{name}: is a folder")));
    }
    let (file, size, sha256) = receive(field, &app.incoming).await?;
    // Only the closing boundary proves that the body is complete.
    while form.next_field().await.map_err(broken)?.is_some() {}
    std::fs::create_dir_all(app.resources.join(name.folder())).map_err(ApiError::internal)?;
    file.persist(target).map_err(ApiError::internal)?;
    Ok(Json(FileEntry { name: name.file_name().to_owned(), size, sha256 }))
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

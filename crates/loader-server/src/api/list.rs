//! `GET /resources/list/{folder}?search=`.

use super::App;
use super::auth::Caller;
use super::error::ApiError;
use super::resource::resource_name;
use crate::hex;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use loader_model::Role;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::sync::Arc;

#[derive(Deserialize)]
pub(crate) struct Filter {
    #[serde(default)]
    search: String,
}

/// A file of a directory, before sealing.
#[derive(Serialize)]
pub(crate) struct FileEntry {
    /// File name, without the directory.
    pub(crate) name: String,
    /// Length in bytes.
    pub(crate) size: u64,
    /// SHA-256 in 64 hexadecimal digits.
    pub(crate) sha256: String,
}

/// Lists the files of one directory, sorted by name, without its subdirectories. The
/// list is empty if the directory does not exist. `search` selects the names that
/// contain it, ignoring case.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    folder: Option<Path<String>>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Json<Vec<FileEntry>>, ApiError> {
    caller.needs_rank(Role::Operator.rank().into(), "resources")?;
    let Query(filter) = filter.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    let search = filter.search.to_lowercase();
    // Any valid file name serves to check the name of the directory.
    let dir = app.state.resources().join(resource_name(folder, "x")?.folder());
    let reading = tokio::task::spawn_blocking(move || {
        let mut listed = Vec::new();
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            // Incomplete uploads and other hidden files are not resources.
            if !name.starts_with('.') && entry.path().is_file() && name.to_lowercase().contains(&search) {
                let (size, sha256) = digest(std::fs::File::open(entry.path())?)?;
                listed.push(FileEntry { name, size, sha256 });
            }
        }
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok::<_, std::io::Error>(listed)
    });
    Ok(Json(reading.await.map_err(ApiError::internal)?.map_err(ApiError::internal)?))
}

/// Returns length and SHA-256 of `file`, read to its end.
fn digest(mut file: impl Read) -> std::io::Result<(u64, String)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((size, hex(&hash.finalize()))),
            n => {
                hash.update(&buffer[..n]);
                size += n as u64;
            }
        }
    }
}

//! Docker archives created without an engine or registry.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::{self, Write};

/// Description of an image to write into an archive.
#[derive(Clone, Debug, Default)]
pub struct ImageSpec {
    /// Tags such as `app:1.4`; may be empty.
    pub tags: Vec<String>,
    /// Layers, base layer first.
    pub layers: Vec<LayerFiles>,
}

/// Files of one layer: path relative to the root, and content.
pub type LayerFiles = Vec<(String, Vec<u8>)>;

/// Writes `images` as a docker-archive, in the legacy layout of `docker save`: a
/// directory with `layer.tar` for each layer, a config for each image, `manifest.json`
/// last. The same images produce the same bytes. Returns the id of each image: the
/// SHA-256 of its config as `sha256:` and 64 hexadecimal digits.
///
/// # Errors
/// Those of `output`.
pub fn docker_archive(images: &[ImageSpec], output: impl Write) -> io::Result<Vec<String>> {
    let mut archive = tar::Builder::new(output);
    let mut manifest = Vec::new();
    let mut ids = Vec::new();
    let mut written = Vec::new();
    for image in images {
        let mut diff_ids = Vec::new();
        let mut paths = Vec::new();
        for layer in &image.layers {
            let bytes = layer_tar(layer)?;
            let digest = hex(&bytes);
            let path = format!("{digest}/layer.tar");
            if !written.contains(&path) {
                append(&mut archive, &path, &bytes)?;
                written.push(path.clone());
            }
            diff_ids.push(format!("sha256:{digest}"));
            paths.push(path);
        }
        let config = config(&diff_ids).to_string().into_bytes();
        let id = hex(&config);
        append(&mut archive, &format!("{id}.json"), &config)?;
        manifest.push(json!({ "Config": format!("{id}.json"), "RepoTags": image.tags, "Layers": paths }));
        ids.push(format!("sha256:{id}"));
    }
    append(&mut archive, "manifest.json", Value::from(manifest).to_string().as_bytes())?;
    archive.finish()?;
    Ok(ids)
}

/// Returns the tar archive of one layer.
///
/// # Errors
/// Those of writing to memory, which do not occur.
pub fn layer_tar(layer: &LayerFiles) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut tar = tar::Builder::new(&mut bytes);
    for (path, content) in layer {
        append(&mut tar, path, content)?;
    }
    tar.finish()?;
    drop(tar);
    Ok(bytes)
}

fn config(diff_ids: &[String]) -> Value {
    json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
        "history": diff_ids.iter().map(|_| json!({ "created_by": "loader-testkit" })).collect::<Vec<_>>(),
    })
}

fn append(archive: &mut tar::Builder<impl Write>, path: &str, content: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(1_767_225_600);
    archive.append_data(&mut header, path, content)
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

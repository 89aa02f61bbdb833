//! Archives with platforms, without tags, and with layers that engines cannot unpack.

use crate::sample::{Tar, config, layer, sha256};

/// Media types of the OCI image specification begin with it.
const OCI: &str = "application/vnd.oci.image";

/// An image of a legacy archive.
pub(crate) struct Image {
    pub(crate) tags: Vec<String>,
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) config: Vec<u8>,
}

impl Image {
    pub(crate) fn new(tags: &[&str], layers: &[&[u8]]) -> Self {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Self { tags, layers: layers.iter().map(|layer| layer.to_vec()).collect(), config: config(layers) }
    }

    /// The same image for another architecture.
    pub(crate) fn for_architecture(mut self, architecture: &str) -> Self {
        self.config = with_architecture(&self.config, architecture);
        self
    }

    /// Digest of the config, 64 digits.
    pub(crate) fn id(&self) -> String {
        sha256(&self.config)
    }
}

fn with_architecture(config: &[u8], architecture: &str) -> Vec<u8> {
    String::from_utf8(config.to_vec()).unwrap().replace("amd64", architecture).into_bytes()
}

/// An archive as `docker save` of Docker before 25 writes it.
pub(crate) fn legacy(images: &[Image]) -> Vec<u8> {
    let mut tar = Tar::new();
    let mut entries = Vec::new();
    let mut written = std::collections::BTreeSet::new();
    for image in images {
        let config = format!("{}.json", image.id());
        if written.insert(config.clone()) {
            tar.file(&config, &image.config);
        }
        let mut paths = Vec::new();
        for layer in &image.layers {
            let path = format!("{}/layer.tar", sha256(layer));
            if written.insert(path.clone()) {
                tar.file(&path, layer);
            }
            paths.push(path);
        }
        entries.push(serde_json::json!({"Config": config, "RepoTags": image.tags, "Layers": paths}));
    }
    tar.file("manifest.json", serde_json::Value::from(entries).to_string().as_bytes());
    tar.end()
}

/// An archive as `docker buildx build --output type=oci` writes it for several
/// architectures: an index with a manifest for each of them. `seed` makes the layers.
pub(crate) fn buildx(tag: Option<&str>, seed: &str, architectures: &[&str]) -> Vec<u8> {
    let mut tar = Tar::new();
    let mut blob = |bytes: &[u8]| {
        tar.file(&format!("blobs/sha256/{}", sha256(bytes)), bytes);
        format!("sha256:{}", sha256(bytes))
    };
    let mut manifests = Vec::new();
    for architecture in architectures {
        let layer = layer(&format!("{seed}-{architecture}"), 3000);
        let config = with_architecture(&config(&[&layer]), architecture);
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": format!("{OCI}.manifest.v1+json"),
            "config": {"mediaType": format!("{OCI}.config.v1+json"), "digest": blob(&config), "size": config.len()},
            "layers": [{"mediaType": format!("{OCI}.layer.v1.tar"), "digest": blob(&layer), "size": layer.len()}],
        });
        let manifest = manifest.to_string();
        manifests.push(serde_json::json!({
            "mediaType": format!("{OCI}.manifest.v1+json"), "digest": blob(manifest.as_bytes()), "size": manifest.len(),
            "platform": {"architecture": architecture, "os": "linux"},
        }));
    }
    let index = |manifests: Vec<serde_json::Value>| {
        let kind = format!("{OCI}.index.v1+json");
        serde_json::json!({"schemaVersion": 2, "mediaType": kind, "manifests": manifests}).to_string()
    };
    let inner = index(manifests);
    let mut descriptor = serde_json::json!({
        "mediaType": format!("{OCI}.index.v1+json"), "digest": blob(inner.as_bytes()), "size": inner.len(),
    });
    if let Some(tag) = tag {
        descriptor["annotations"] = serde_json::json!({"io.containerd.image.name": format!("docker.io/library/{tag}")});
    }
    tar.file("index.json", index(vec![descriptor]).as_bytes());
    tar.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    tar.end()
}

/// A layer that is a good tar archive, which no engine can unpack: a hard link to nothing.
pub(crate) fn cannot_be_unpacked(seed: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(layer(seed, 100)[..1024].to_vec());
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_entry_type(tar::EntryType::Link);
    tar.append_link(&mut header, "link", "missing/file").unwrap();
    tar.into_inner().unwrap()
}

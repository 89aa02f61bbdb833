//! OCI layouts.

use super::*;

/// An image in an OCI layout.
#[derive(Clone)]
pub(crate) struct Oci {
    pub(crate) config: Vec<u8>,
    /// The stored layers.
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) architecture: String,
}

pub(crate) const OCI: &str = "application/vnd.oci.image";

impl Oci {
    pub(crate) fn new(layers: &[Vec<u8>], architecture: &str) -> Self {
        let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
        let config = String::from_utf8(config(&layers)).unwrap().replace("amd64", architecture).into_bytes();
        Self { config, layers: layers.iter().map(|layer| layer.to_vec()).collect(), architecture: architecture.into() }
    }

    pub(crate) fn stored(layers: &[Vec<u8>], config: &[u8]) -> Self {
        Self { config: config.to_vec(), layers: layers.to_vec(), architecture: "amd64".into() }
    }

    pub(crate) fn manifest(&self) -> String {
        let layer = |layer: &Vec<u8>| {
            let suffix = match layer[..] {
                [0x1f, 0x8b, ..] => "+gzip",
                [0x28, 0xb5, ..] => "+zstd",
                _ => "",
            };
            describe(&format!("layer.v1.tar{suffix}"), layer)
        };
        let layers: Vec<String> = self.layers.iter().map(layer).collect();
        let config = describe("config.v1+json", &self.config);
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI}.manifest.v1+json","config":{config},"layers":[{}]}}"#,
            layers.join(",")
        )
    }

    /// The descriptor of the manifest with a name.
    pub(crate) fn descriptor(&self, name: &str) -> String {
        named(&describe("manifest.v1+json", self.manifest().as_bytes()), name)
    }

    pub(crate) fn blobs(&self) -> Vec<u8> {
        let manifest = self.manifest();
        let all = self.layers.iter().map(Vec::as_slice).chain([&self.config[..], manifest.as_bytes()]);
        all.flat_map(blob).collect()
    }

    pub(crate) fn index(&self) -> String {
        index_of(&[self.descriptor("f/x:1")])
    }

    pub(crate) fn archive(&self) -> Vec<u8> {
        self.archive_with(|index| index)
    }

    pub(crate) fn archive_with(&self, change: impl Fn(String) -> String) -> Vec<u8> {
        layout(&self.blobs(), &change(self.index()))
    }

    /// Returns the archive with a `manifest.json` that describes the same images.
    pub(crate) fn with_docker(&self) -> Vec<u8> {
        let config = format!("blobs/sha256/{}", sha256(&self.config));
        let diff_ids = self.layers.len();
        let layers: Vec<String> = self.layers.iter().map(|layer| format!("blobs/sha256/{}", sha256(layer))).collect();
        let layers: Vec<&str> = layers.iter().map(String::as_str).take(diff_ids).collect();
        let manifest = entries(&[(&config, &["f/x:1"], &layers)]);
        layout(&[self.blobs(), file("manifest.json", manifest.as_bytes())].concat(), &self.index())
    }

    /// An index of this image and another one, whose blobs may be missing.
    pub(crate) fn multi(&self, other: &Self, has_other: bool) -> Vec<u8> {
        let inner = index_of(&[self.for_platform(), other.for_platform()]);
        let top = named(&describe("index.v1+json", inner.as_bytes()), "f/x:1");
        let other = if has_other { other.blobs() } else { Vec::new() };
        layout(&[self.blobs(), other, blob(inner.as_bytes())].concat(), &index_of(&[top]))
    }

    /// The descriptor of the manifest with a platform.
    pub(crate) fn for_platform(&self) -> String {
        let platform = format!(r#","platform":{{"architecture":"{}","os":"linux"}}}}"#, self.architecture);
        format!("{}{platform}", describe("manifest.v1+json", self.manifest().as_bytes()).strip_suffix('}').unwrap())
    }
}

/// A descriptor.
pub(crate) fn describe(kind: &str, content: &[u8]) -> String {
    format!(r#"{{"mediaType":"{OCI}.{kind}","digest":"sha256:{}","size":{}}}"#, sha256(content), content.len())
}

/// The descriptor with the name that containerd and Docker write.
pub(crate) fn named(descriptor: &str, name: &str) -> String {
    let name = format!(r#","annotations":{{"io.containerd.image.name":"{name}"}}}}"#);
    format!("{}{name}", descriptor.strip_suffix('}').unwrap())
}

pub(crate) fn index_of(descriptors: &[String]) -> String {
    format!(r#"{{"schemaVersion":2,"mediaType":"{OCI}.index.v1+json","manifests":[{}]}}"#, descriptors.join(","))
}

pub(crate) fn blob(content: &[u8]) -> Vec<u8> {
    file(&format!("blobs/sha256/{}", sha256(content)), content)
}

/// An archive of blobs and an index.
pub(crate) fn layout(blobs: &[u8], index: &str) -> Vec<u8> {
    let documents = [file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#), file("index.json", index.as_bytes())];
    [blobs, &documents.concat(), &END].concat()
}

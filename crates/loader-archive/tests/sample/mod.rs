//! Small archives of images in the layouts that engines write.

use sha2::{Digest, Sha256};

/// A tar under construction.
pub(crate) struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    pub(crate) fn file(&mut self, name: &str, bytes: &[u8]) -> &mut Self {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        self.0.append_data(&mut header, name, bytes).unwrap();
        self
    }

    pub(crate) fn link(&mut self, name: &str, target: &str) -> &mut Self {
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_entry_type(tar::EntryType::Symlink);
        self.0.append_link(&mut header, name, target).unwrap();
        self
    }

    pub(crate) fn end(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The tar of a layer with one file.
pub(crate) fn layer(name: &str, len: usize) -> Vec<u8> {
    let mut tar = Tar::new();
    // Bytes that do not pack well, different for each name.
    let mut state = name.bytes().fold(7_u64, |state, byte| state.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let bytes: Vec<u8> = (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect();
    tar.file(name, &bytes);
    tar.end()
}

pub(crate) fn config(layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| format!("\"sha256:{}\"", sha256(layer))).collect();
    let ids = diff_ids.join(",");
    format!(r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":[{ids}]}}}}"#)
        .into_bytes()
}

/// Names and sizes of the images in a sample.
pub(crate) struct Sample<'a> {
    /// Name of the first image, tags `1.4` and `latest`; also makes its bytes its own.
    pub(crate) one: &'a str,
    /// Name of the second image, tag `2`.
    pub(crate) two: &'a str,
    /// Length of the file in the layer that both share.
    pub(crate) len: usize,
}

pub(crate) const SMALL: Sample<'_> = Sample { one: "app", two: "web", len: 3000 };

impl Sample<'_> {
    fn layers(&self) -> [Vec<u8>; 3] {
        let name = |what: &str| format!("{what}-{}", self.one);
        [
            layer(&name("base"), self.len),
            layer(&name("top"), self.len / 4),
            layer(&format!("{}-{}", name("other"), self.two), self.len / 5),
        ]
    }

    /// Two images that share a layer, as Docker 20.10 writes them.
    pub(crate) fn legacy(&self) -> Vec<u8> {
        let [base, top, other] = self.layers();
        let (one, two) = (config(&[&base, &top]), config(&[&base, &other]));
        let mut tar = Tar::new();
        tar.file(&format!("{}.json", sha256(&one)), &one);
        tar.file("a/VERSION", b"1.0").file("a/json", b"{}").file("a/layer.tar", &base);
        tar.file("b/layer.tar", &top).link("c/layer.tar", "../a/layer.tar").file("d/layer.tar", &other);
        tar.file(&format!("{}.json", sha256(&two)), &two);
        let (app, web) = (self.one, self.two);
        let manifest = format!(
            r#"[{{"Config":"{}.json","RepoTags":["{app}:1.4","{app}:latest"],"Layers":["a/layer.tar","b/layer.tar"]}},{{"Config":"{}.json","RepoTags":["{web}:2"],"Layers":["c/layer.tar","d/layer.tar"]}}]"#,
            sha256(&one),
            sha256(&two)
        );
        tar.file("manifest.json", manifest.as_bytes());
        let names = format!(r#"{{"{app}":{{"1.4":"b","latest":"b"}},"{web}":{{"2":"d"}}}}"#);
        tar.file("repositories", names.as_bytes());
        tar.end()
    }

    /// The first image as Docker 28 writes it, one layer packed; with `front`, the
    /// documents that name it come first.
    pub(crate) fn oci(&self, front: bool) -> Vec<u8> {
        let [plain, packed, _] = self.layers();
        let config = config(&[&plain, &packed]);
        let packed = gzip(&packed);
        let blob = |bytes: &[u8]| format!("blobs/sha256/{}", sha256(bytes));
        let descriptor = |bytes: &[u8], kind: &str| {
            let (digest, len) = (sha256(bytes), bytes.len());
            format!(r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"sha256:{digest}","size":{len}}}"#)
        };
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[{},{}]}}"#,
            descriptor(&config, "config.v1+json"),
            descriptor(&plain, "layer.v1.tar"),
            descriptor(&packed, "layer.v1.tar+gzip")
        );
        let manifest = manifest.as_bytes();
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{}","size":{},"annotations":{{"io.containerd.image.name":"docker.io/library/{}:1.4","org.opencontainers.image.ref.name":"1.4"}}}}]}}"#,
            sha256(manifest),
            manifest.len(),
            self.one
        );
        let docker = format!(
            r#"[{{"Config":"{}","RepoTags":["{}:1.4"],"Layers":["{}","{}"]}}]"#,
            blob(&config),
            self.one,
            blob(&plain),
            blob(&packed)
        );
        let mut tar = Tar::new();
        let documents = |tar: &mut Tar| {
            tar.file("index.json", index.as_bytes()).file("manifest.json", docker.as_bytes());
            tar.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        };
        if front {
            documents(&mut tar);
        }
        for bytes in [manifest, &config[..], &plain[..], &packed[..]] {
            tar.file(&blob(bytes), bytes);
        }
        if !front {
            documents(&mut tar);
        }
        tar.end()
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

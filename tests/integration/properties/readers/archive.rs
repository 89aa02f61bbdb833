//! Archives of images.

use loader_archive::{
    Archive, ArchiveReader, CommitRecord, DecompressingReader, Error, Event, Image, LayerNames, LayerWriter, Layout,
    Platform, PlatformChoice, SkipLayers,
};

/// Maximum number of bytes of a compressed archive that are read.
const DECOMPRESSED_MAX: usize = 1 << 20;

/// The verdict on `bytes` in pieces of `piece`, and the layers that were emitted, as members
/// of a new archive.
fn read(bytes: &[u8], piece: usize, skip: SkipLayers) -> (Result<Archive, Error>, Vec<u8>) {
    let (mut reader, mut writer) = (ArchiveReader::new(skip), LayerWriter::new(LayerNames::Digest));
    let mut layers = Vec::new();
    for piece in bytes.chunks(piece) {
        let outcome = reader.push::<Error>(piece, &mut |event: Event<'_>| {
            writer.write(&event, &mut |bytes| {
                layers.extend(bytes);
                Ok(())
            })
        });
        if let Err(error) = outcome {
            return (Err(error), layers);
        }
    }
    (reader.finish(), layers)
}

/// Config, tags and stored layers of an image.
type Ids = (Option<String>, Vec<String>, Vec<Option<String>>);

/// What a layout keeps of images: an OCI layout has their manifests as well.
fn ids(images: &[Image]) -> Vec<Ids> {
    let layers = |image: &Image| image.layers.iter().map(|layer| layer.digest.clone()).collect();
    let mut ids: Vec<_> =
        images.iter().map(|image| (image.config.clone(), image.tags.clone(), layers(image))).collect();
    ids.sort();
    ids
}

/// The verdict does not depend on how the input was cut; the written archive contains the
/// images of the record, in every layout; an archive that is compressed is one of the same
/// images.
pub(super) fn archive(input: &[u8]) {
    let (verdict, layers) = read(input, 65536, SkipLayers::default());
    let (in_pieces, layers_in_pieces) = read(input, 1 + input.len() % 700, SkipLayers::default());
    match (&verdict, &in_pieces) {
        (Ok(one), Ok(other)) => {
            assert!(layers == layers_in_pieces);
            match (one.images(), other.images()) {
                (Ok(one), Ok(other)) => assert_eq!(one, other),
                (one, other) => assert_eq!(one.unwrap_err().to_string(), other.unwrap_err().to_string()),
            }
        }
        (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string()),
        _ => panic!("{verdict:?} and {in_pieces:?}"),
    }
    // What is emitted is no more than the input and a header and padding for each member.
    assert!(layers.len() <= 2 * input.len());
    if let Ok(archive) = verdict {
        rewrite(&archive, &layers);
        skip_all(input, &archive);
    }
    decompress(input);
}

fn rewrite(archive: &Archive, layers: &[u8]) {
    let machine = PlatformChoice::Engine(Platform::new("linux", "amd64", ""));
    for choice in [machine, PlatformChoice::All] {
        for layout in [Layout::Docker, Layout::OciManifests, Layout::OciIndexes] {
            let Ok(selected) = archive.select(&choice, &[]) else { continue };
            // Docker's layout has room for one platform.
            let Ok(record) = CommitRecord::new(&selected, layout, &LayerNames::Digest) else { continue };
            let whole = [layers, &record.bytes].concat();
            // The layers alone name no image.
            assert!(read(&[layers, &[0; 1024]].concat(), 4096, SkipLayers::default()).0.is_err());
            let again = read(&whole, 4096, SkipLayers::default()).0.unwrap();
            let found = again.images().unwrap();
            if choice == PlatformChoice::All || layout == Layout::Docker {
                let merged = |images: &[Image]| {
                    let mut tags: Vec<_> = images
                        .iter()
                        .flat_map(|image| image.tags.iter().map(|tag| (image.config.clone(), tag.clone())))
                        .collect();
                    tags.sort();
                    tags.dedup();
                    tags
                };
                assert_eq!(merged(&found), merged(&record.images));
            }
            let selected = again.select(&choice, &[]).unwrap();
            let second = CommitRecord::new(&selected, layout, &LayerNames::Digest).unwrap();
            if layout == Layout::Docker {
                assert_eq!(ids(&second.images).len(), ids(&record.images).len());
            }
        }
    }
}

/// Layers that are skipped are those of the images, and the verdict stays.
fn skip_all(input: &[u8], archive: &Archive) {
    let Ok(images) = archive.images() else { return };
    let (verdict, layers) = read(input, 4096, SkipLayers::new(&images, |_| true));
    let skipped = verdict.unwrap();
    assert_eq!(ids(&skipped.images().unwrap()).len(), ids(&images).len());
    assert!(layers.len() <= 2 * input.len());
}

/// Reading ends for any input, and uncompressed bytes are returned unchanged.
fn decompress(input: &[u8]) {
    let Ok(mut reader) = DecompressingReader::new(input) else { return };
    let (mut buffer, mut bytes) = ([0; 4096], Vec::new());
    let is_whole = loop {
        match reader.read(&mut buffer) {
            Ok(0) => break true,
            Err(_) => break false,
            Ok(read) => bytes.extend(&buffer[..read]),
        }
        if bytes.len() > DECOMPRESSED_MAX {
            break false;
        }
    };
    match reader.compression() {
        None => assert!(bytes.starts_with(&input[..input.len().min(bytes.len())])),
        Some(_) if is_whole => drop(read(&bytes, 4096, SkipLayers::default())),
        Some(_) => {}
    }
}

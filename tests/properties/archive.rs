//! Archives of images.

use loader_archive::{
    Archive, ArchiveReader, CommitRecord, DecompressingReader, Error, Event, Image, LayerWriter, Layout, PlatformChoice,
};

/// Maximum number of bytes of a compressed archive that are decompressed.
const DECOMPRESSED_MAX: usize = 1 << 20;

/// Reads `bytes` in pieces of `piece` bytes. Returns the model and the layers as they are
/// written.
fn read(bytes: &[u8], piece: usize) -> (Result<Archive, Error>, Vec<u8>) {
    let mut reader = ArchiveReader::default();
    let (mut writer, mut written) = (LayerWriter::default(), Vec::new());
    for piece in bytes.chunks(piece) {
        let outcome = reader.push::<Error>(piece, &mut |event: Event<'_>| {
            writer.write(&event, &mut |bytes| {
                written.extend(bytes);
                Ok(())
            })
        });
        if let Err(error) = outcome {
            return (Err(error), written);
        }
    }
    (reader.finish(), written)
}

/// Ids, tags and layers: what every layout keeps.
fn essence(images: &[Image]) -> Vec<(Option<String>, Vec<String>, Option<Vec<String>>)> {
    let ids = |image: &Image| image.diff_ids().map(|ids| ids.into_iter().map(str::to_owned).collect());
    images.iter().map(|image| (image.config.clone(), image.tags.clone(), ids(image))).collect()
}

/// The model does not depend on how the input was cut. What is written has the same images
/// when it is read again, and without its last part no image at all.
pub(super) fn archive(input: &[u8]) {
    let (model, layers) = read(input, 65536);
    let (in_pieces, _) = read(input, 1 + input.len() % 700);
    match (&model, &in_pieces) {
        (Ok(one), Ok(other)) => assert_eq!(format!("{:?}", one.images()), format!("{:?}", other.images())),
        (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string()),
        _ => panic!("{model:?} and {in_pieces:?}"),
    }
    if let Ok(archive) = model
        && let Ok(selected) = archive.select(&PlatformChoice::All, &[])
    {
        for layout in [Layout::Docker, Layout::OciManifests, Layout::OciIndexes] {
            let record = CommitRecord::new(&selected, layout).unwrap();
            let again = read(&[&layers[..], &record.bytes].concat(), 4096).0.unwrap();
            assert_eq!(essence(&again.images().unwrap()), essence(&record.images), "{layout:?}");
        }
        assert!(read(&layers, 4096).0.is_err());
    }
    decompress(input);
}

/// Compressed or not, reading ends.
fn decompress(input: &[u8]) {
    let Ok(mut reader) = DecompressingReader::new(input) else { return };
    let (mut buffer, mut len) = ([0; 4096], 0);
    while len < DECOMPRESSED_MAX {
        match reader.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(read) => len += read,
        }
    }
    assert!(reader.compression().is_some() || len <= input.len());
}

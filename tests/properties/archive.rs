//! Docker archives.

use loader_archive::{Archive, Error, Omit, Passed, Scanner, Unpacked};

/// Most bytes of a packed archive that are unpacked.
const UNPACKED_MAX: usize = 1 << 20;

/// The verdict on `bytes` in pieces of `piece`, and what passed before it.
fn scan(bytes: &[u8], piece: usize) -> (Result<Archive, Error>, Vec<u8>) {
    let mut scanner = Scanner::new(Omit::default());
    let mut passed = Vec::new();
    for piece in bytes.chunks(piece) {
        let outcome = scanner.push::<Error>(piece, &mut |what| {
            if let Passed::Bytes(bytes) = what {
                passed.extend(bytes);
            }
            Ok(())
        });
        if let Err(error) = outcome {
            return (Err(error), passed);
        }
    }
    (scanner.finish(), passed)
}

/// The verdict does not hang on where the input was cut; what passes and the tail are
/// an archive of the same images, and the tail alone holds what names them.
pub(super) fn archive(input: &[u8]) {
    let (verdict, passed) = scan(input, 65536);
    let (in_pieces, _) = scan(input, 1 + input.len() % 700);
    match (&verdict, &in_pieces) {
        (Ok(one), Ok(other)) => assert_eq!((&one.images, &one.tail), (&other.images, &other.tail)),
        (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string()),
        _ => panic!("{verdict:?} and {in_pieces:?}"),
    }
    if let Ok(archive) = verdict {
        let whole = [&passed[..], &archive.tail].concat();
        assert_eq!(scan(&whole, 4096).0.unwrap().images, archive.images);
        assert!(archive.images.is_empty() || scan(&passed, 4096).0.is_err());
    }
    unpack(input);
}

/// Packed or not, reading ends.
fn unpack(input: &[u8]) {
    let Ok(mut unpacked) = Unpacked::new(input) else { return };
    let (mut buffer, mut given) = ([0; 4096], 0);
    while given < UNPACKED_MAX {
        match unpacked.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(read) => given += read,
        }
    }
    assert!(unpacked.is_packed() || given <= input.len());
}

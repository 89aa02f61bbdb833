//! State files of fetch and push.

use loader_cdn::{ByteSource, Cache, CacheLookup, ExpectedPart, UploadJournal};
use loader_model::ResourceName;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Content of the resource.
const WHOLE: &[u8] = b"abc";

const SHA256_OF_WHOLE: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// Temporary directory, in /dev/shm if available. Not that of loader-testkit, which tests/fuzz
/// does without.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("az-properties-{}-{number}", std::process::id()));
        fs::create_dir_all(path.join("models")).unwrap();
        Self(path)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.join("models").join(name), bytes).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.join("models")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn name() -> ResourceName {
    "models/abc".parse().unwrap()
}

/// With any state file, an entry is either resumed within its size or restarted. It is
/// completed only with the correct bytes, which its digest decides. The first byte of `input` is
/// the number of bytes in the partial file.
pub(super) fn cache_state(input: &[u8]) {
    let Some((len, state)) = input.split_first() else { return };
    let there = &b"abcdefgh"[..usize::from(len % 9)];
    let scratch = Scratch::new();
    scratch.put("abc.big.state", state);
    scratch.put("abc.big.partial", there);
    let cache = Cache::open(&scratch.0).unwrap();
    let expected = ExpectedPart { size: Some(WHOLE.len() as u64), sha256: Some(SHA256_OF_WHOLE.to_owned()) };
    let CacheLookup::Miss { partial, .. } = cache.lookup(&name(), &expected, &|| None, &|_| Ok(())).unwrap() else {
        panic!("hit")
    };
    let start = partial.resume_point();
    assert!(start.offset <= (there.len().min(WHOLE.len())) as u64);
    assert!(start.etag.is_none() || start.offset > 0);
    assert!(start.etag.is_none_or(|etag| !etag.is_empty()));
    let mut kept = partial.resumed_bytes().unwrap();
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        match kept.next_bytes().unwrap() {
            [] => break,
            more => bytes.extend(more),
        }
    }
    assert_eq!(bytes, there[..start.offset as usize]);
    drop((partial, kept));
    let names = scratch.names();
    assert!(names.is_empty() || names == ["abc.big.partial", "abc.big.state"], "{names:?}");
    assert!(!matches!(cache.lookup(&name(), &expected, &|| None, &|_| Ok(())).unwrap(), CacheLookup::Hit(_)));
}

/// A journal keeps its complete lines before the first torn line, and the next run reads
/// the same lines.
pub(super) fn upload_state(input: &[u8]) {
    let scratch = Scratch::new();
    scratch.put("abc.upload", input);
    let read = || {
        let known = format!("{:?}", UploadJournal::open(&scratch.0, &name(), &|_| None).unwrap());
        let kept = fs::read(scratch.0.join("models/abc.upload")).unwrap();
        (known.split_once("recorded:").unwrap().1.to_owned(), kept)
    };
    let (known, kept) = read();
    assert!(input.starts_with(&kept) && (kept.is_empty() || kept.ends_with(b"\n")));
    assert_eq!(read(), (known, kept));
}

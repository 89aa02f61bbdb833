//! Comparison of AES-256-GCM in three libraries: sealing and opening a segment in place,
//! with one thread.
//!
//! Run `cargo bench -p loader-seal --features bench-backends --bench backends`; with
//! `-- --test` it only checks that the outputs are equal. RESULTS.md contains results.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use aes_gcm::aead::{AeadInOut, KeyInit};
use divan::counter::BytesCount;

const KEY: [u8; 32] = [7; 32];
const NONCE: [u8; 12] = [1; 12];

/// Segment lengths in KiB.
const SEGMENTS: [usize; 4] = [64, 256, 1024, 4096];

fn main() {
    check_outputs();
    divan::main();
}

/// AES-256-GCM of a library, with a fixed key and nonce, without associated data.
trait Backend {
    fn new() -> Self;
    /// Encrypts in place and returns the tag.
    fn seal(&self, segment: &mut [u8]) -> [u8; 16];
    /// Decrypts a segment with its tag in place.
    ///
    /// # Panics
    /// If the tag is invalid.
    fn open(&self, segment_and_tag: &mut [u8]);
}

struct Ring(ring::aead::LessSafeKey);

impl Backend for Ring {
    fn new() -> Self {
        Self(ring::aead::LessSafeKey::new(ring::aead::UnboundKey::new(&ring::aead::AES_256_GCM, &KEY).unwrap()))
    }

    fn seal(&self, segment: &mut [u8]) -> [u8; 16] {
        use ring::aead::{Aad, Nonce};
        let tag =
            self.0.seal_in_place_separate_tag(Nonce::assume_unique_for_key(NONCE), Aad::empty(), segment).unwrap();
        tag.as_ref().try_into().unwrap()
    }

    fn open(&self, segment_and_tag: &mut [u8]) {
        use ring::aead::{Aad, Nonce};
        self.0.open_in_place(Nonce::assume_unique_for_key(NONCE), Aad::empty(), segment_and_tag).unwrap();
    }
}

struct AwsLc(aws_lc_rs::aead::LessSafeKey);

impl Backend for AwsLc {
    fn new() -> Self {
        use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &KEY).unwrap()))
    }

    fn seal(&self, segment: &mut [u8]) -> [u8; 16] {
        use aws_lc_rs::aead::{Aad, Nonce};
        let tag =
            self.0.seal_in_place_separate_tag(Nonce::assume_unique_for_key(NONCE), Aad::empty(), segment).unwrap();
        tag.as_ref().try_into().unwrap()
    }

    fn open(&self, segment_and_tag: &mut [u8]) {
        use aws_lc_rs::aead::{Aad, Nonce};
        self.0.open_in_place(Nonce::assume_unique_for_key(NONCE), Aad::empty(), segment_and_tag).unwrap();
    }
}

struct AesGcm(Box<aes_gcm::Aes256Gcm>);

impl Backend for AesGcm {
    fn new() -> Self {
        Self(Box::new(aes_gcm::Aes256Gcm::new(&KEY.into())))
    }

    fn seal(&self, segment: &mut [u8]) -> [u8; 16] {
        self.0.encrypt_inout_detached(&NONCE.into(), b"", segment.into()).unwrap().into()
    }

    fn open(&self, segment_and_tag: &mut [u8]) {
        let (segment, tag) = segment_and_tag.split_at_mut(segment_and_tag.len() - 16);
        let tag: [u8; 16] = (&*tag).try_into().unwrap();
        self.0.decrypt_inout_detached(&NONCE.into(), b"", segment.into(), &tag.into()).unwrap();
    }
}

fn sealed<B: Backend>(len: usize) -> Vec<u8> {
    let mut segment = vec![0x5a; len];
    let tag = B::new().seal(&mut segment);
    segment.extend(tag);
    segment
}

/// Checks that the libraries produce the same bytes.
fn check_outputs() {
    let expected = sealed::<Ring>(70_001);
    assert!(sealed::<AwsLc>(70_001) == expected, "aws-lc-rs differs from ring");
    assert!(sealed::<AesGcm>(70_001) == expected, "aes-gcm differs from ring");
}

#[divan::bench(types = [Ring, AwsLc, AesGcm], args = SEGMENTS)]
fn seal<B: Backend>(bencher: divan::Bencher<'_, '_>, kib: usize) {
    let backend = B::new();
    let mut segment = vec![0x5a; kib << 10];
    bencher.counter(BytesCount::new(kib << 10)).bench_local(|| backend.seal(&mut segment));
}

/// Opening replaces the sealed bytes, so they are copied again before each round. The copy
/// is not measured, but its bytes are in the cache.
#[divan::bench(types = [Ring, AwsLc, AesGcm], args = SEGMENTS)]
fn open<B: Backend>(bencher: divan::Bencher<'_, '_>, kib: usize) {
    let backend = B::new();
    let sealed = sealed::<B>(kib << 10);
    bencher
        .counter(BytesCount::new(kib << 10))
        .with_inputs(|| sealed.clone())
        .bench_local_refs(|segment| backend.open(segment));
}

//! Sealing and opening in memory with each suite and several segment lengths, one thread.
//!
//! Run `cargo bench -p loader-seal`. `scripts/instructions` counts instructions, which is
//! independent of the load of the machine.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use divan::counter::BytesCount;
use loader_seal::{Header, Key, SealOptions, Suite, seal};

/// Length of the plaintext in bytes.
const LEN: usize = 8 << 20;

/// Segment lengths, as log2 of a number of bytes.
const SEGMENTS: [u8; 5] = [12, 16, 18, 20, 22];

fn main() {
    divan::main();
}

fn options(suite: Suite, segment_log2: u8) -> SealOptions {
    SealOptions { suite, segment_log2, plaintext_len: Some(LEN as u64), ..SealOptions::default() }
}

fn bench_seal(bencher: divan::Bencher<'_, '_>, suite: Suite, segment_log2: u8) {
    let key = [Key::generate().unwrap()];
    let plain = vec![0x5a; LEN];
    let mut out = Vec::with_capacity(LEN + LEN / 64);
    bencher.counter(BytesCount::new(LEN)).bench_local(|| {
        out.clear();
        seal(&mut &plain[..], &mut out, &key, &options(suite, segment_log2)).unwrap()
    });
}

fn bench_open(bencher: divan::Bencher<'_, '_>, suite: Suite, segment_log2: u8) {
    let key = [Key::generate().unwrap()];
    let mut sealed = Vec::new();
    seal(&mut &vec![0x5a; LEN][..], &mut sealed, &key, &options(suite, segment_log2)).unwrap();
    let mut out = Vec::with_capacity(LEN);
    bencher.counter(BytesCount::new(LEN)).bench_local(|| {
        out.clear();
        let mut rest = &sealed[..];
        Header::read(&mut rest).unwrap().unlock(&key).unwrap().open(&mut rest, &mut out, 1).unwrap()
    });
}

#[divan::bench(args = SEGMENTS)]
fn seal_gcm(bencher: divan::Bencher<'_, '_>, segment_log2: u8) {
    bench_seal(bencher, Suite::AesGcm, segment_log2);
}

#[divan::bench(args = SEGMENTS)]
fn open_gcm(bencher: divan::Bencher<'_, '_>, segment_log2: u8) {
    bench_open(bencher, Suite::AesGcm, segment_log2);
}

#[divan::bench(args = SEGMENTS)]
fn seal_ctr_hmac(bencher: divan::Bencher<'_, '_>, segment_log2: u8) {
    bench_seal(bencher, Suite::AesCtrHmac, segment_log2);
}

#[divan::bench(args = SEGMENTS)]
fn open_ctr_hmac(bencher: divan::Bencher<'_, '_>, segment_log2: u8) {
    bench_open(bencher, Suite::AesCtrHmac, segment_log2);
}

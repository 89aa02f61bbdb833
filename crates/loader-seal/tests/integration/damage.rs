//! Damaged files: every truncation, bit flip, deletion and insertion of a byte, and random
//! changes of the valid files of the test kit. No damaged file is accepted, and exactly the
//! complete segments before the damage are released.
//!
//! `AZ_DAMAGE_CASES` is the minimum number of cases.

#![allow(clippy::print_stderr, reason = "the test prints statistics")]

use loader_model::Coded;
use loader_seal::{Header, Key};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Default minimum number of cases.
const CASES: u64 = 1_000_000;

const SEGMENT_LEN: usize = 4096;

/// Valid file with its key and plaintext.
struct Sample {
    name: String,
    keys: [Key; 1],
    sealed: Vec<u8>,
    plain: Vec<u8>,
    header_len: usize,
    tag_len: usize,
}

impl Sample {
    fn new(case: &crate::case::Case) -> Option<Self> {
        let key = Key::parse(case.field("key")?).unwrap();
        let keys = [key];
        let mut rest = &case.bytes[..];
        let unlocked = Header::read(&mut rest).unwrap().unlock(&keys).unwrap();
        let header = unlocked.header();
        let (header_len, tag_len) = (header.as_bytes().len(), header.suite().tag_len());
        // Long headers and segments would make the test slow.
        if header.segment_len() != SEGMENT_LEN || case.bytes.len() > 12_000 {
            return None;
        }
        let mut plain = Vec::new();
        unlocked.open(&mut rest, &mut plain, 1).unwrap();
        Some(Self { name: case.name.clone(), keys, sealed: case.bytes.clone(), plain, header_len, tag_len })
    }

    /// Returns the plaintext that may be released for `damaged`: that of the complete
    /// segments before the first different byte.
    fn expected_prefix(&self, damaged: &[u8]) -> &[u8] {
        let same = self.sealed.iter().zip(damaged).take_while(|(byte, other)| byte == other).count();
        // If one file is a prefix of the other, the last segment of the shorter file is the damaged one.
        let at = if same == damaged.len() || same == self.sealed.len() { same.saturating_sub(1) } else { same };
        let segment = at.saturating_sub(self.header_len) / SEGMENT_LEN;
        let len = (segment * (SEGMENT_LEN - self.tag_len)).saturating_sub(40);
        &self.plain[..len]
    }

    fn check(&self, damaged: &[u8], released: &mut Vec<u8>, what: impl Fn() -> String) -> bool {
        // Several changes can cancel each other out.
        if damaged == self.sealed {
            return false;
        }
        released.clear();
        let mut rest = damaged;
        let threads = threads(CHECKED.fetch_add(1, Ordering::Relaxed));
        let outcome = Header::read(&mut rest)
            .and_then(|header| header.unlock(&self.keys))
            .and_then(|unlocked| unlocked.open(&mut rest, released, threads));
        let Err(error) = outcome else { panic!("{}: {} was accepted by {threads} threads", self.name, what()) };
        let expected =
            ["not_sealed", "unsupported", "wrong_key", "header_tampered", "truncated", "corrupt", "trailing"];
        assert!(expected.contains(&error.code().as_str()), "{}: {}: {threads} threads: {error}", self.name, what());
        let expected = self.expected_prefix(damaged);
        assert!(*released == expected, "{}: {}: {threads} threads released {}", self.name, what(), released.len());
        true
    }
}

/// Number of cases checked so far.
static CHECKED: AtomicU64 = AtomicU64::new(0);

/// Returns the number of threads for a case. Only one case in sixteen uses several threads,
/// because starting them takes longer than opening the file.
fn threads(case: u64) -> usize {
    if case.is_multiple_of(16) { 2 + (case / 16 % 6) as usize } else { 1 }
}

/// Pseudorandom numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Checks every truncation, bit flip, and deletion and insertion of a byte. Returns the
/// number of cases.
fn exhaustive(sample: &Sample) -> u64 {
    let (mut released, sealed) = (Vec::new(), &sample.sealed);
    let mut damaged = Vec::with_capacity(sealed.len() + 1);
    let mut cases = 0;
    for at in 0..sealed.len() {
        cases += u64::from(sample.check(&sealed[..at], &mut released, || format!("truncated at {at}")));
        damaged.clone_from(sealed);
        for bit in 0..8 {
            damaged[at] ^= 1 << bit;
            cases += u64::from(sample.check(&damaged, &mut released, || format!("bit {bit} of byte {at}")));
            damaged[at] ^= 1 << bit;
        }
        damaged.remove(at);
        cases += u64::from(sample.check(&damaged, &mut released, || format!("byte {at} deleted")));
    }
    for at in 0..=sealed.len() {
        damaged.clone_from(sealed);
        damaged.insert(at, at as u8);
        cases += u64::from(sample.check(&damaged, &mut released, || format!("byte inserted at {at}")));
    }
    cases
}

/// Checks one to three random changes. Returns false if they cancel each other out.
fn check_random(samples: &[Sample], seed: u64, released: &mut Vec<u8>, damaged: &mut Vec<u8>) -> bool {
    let mut random = Random(seed);
    let sample = &samples[random.below(samples.len())];
    damaged.clone_from(&sample.sealed);
    for _ in 0..=random.below(3) {
        let (at, len) = (random.below(damaged.len()), 1 + random.below(64));
        let end = (at + len).min(damaged.len());
        let segments = damaged.len().saturating_sub(sample.header_len) / SEGMENT_LEN;
        let start = |index: usize| sample.header_len + index * SEGMENT_LEN;
        match random.below(9) {
            0 => damaged.truncate(at),
            1 => damaged.splice(at..at, random.next().to_le_bytes()).for_each(drop),
            2 => damaged.drain(at..end).for_each(drop),
            3 => damaged[at..end].fill(random.next() as u8),
            4 => damaged.extend_from_within(at..end),
            5 => damaged[at..end].reverse(),
            6 if segments > 1 => {
                let (from, to) = (start(random.below(segments)), start(random.below(segments)));
                damaged.copy_within(from..from + SEGMENT_LEN, to);
            }
            7 if segments > 0 => {
                let from = start(random.below(segments));
                let copy = damaged[from..from + SEGMENT_LEN].to_vec();
                damaged.splice(from..from, copy).for_each(drop);
            }
            8 if at >= sample.header_len => {
                // Continues with the bytes of another file.
                let other = &samples[random.below(samples.len())].sealed;
                damaged.truncate(at);
                damaged.extend(other.get(at..).unwrap_or_default());
            }
            _ => damaged[at] ^= 1 << random.below(8),
        }
        if damaged.is_empty() {
            break;
        }
    }
    sample.check(damaged, released, || format!("random damage, seed {seed}"))
}

/// Returns the peak resident set of the process in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

#[test]
fn damaged_files_are_refused_and_only_the_valid_prefix_is_released() {
    let minimum = std::env::var("AZ_DAMAGE_CASES").map_or(CASES, |cases| cases.parse().unwrap());
    let samples: Vec<_> = crate::case::all()
        .iter()
        .filter(|case| case.field("expect") == Some("success") && case.field("options").is_none())
        .filter_map(Sample::new)
        .collect();
    assert!(samples.len() >= 12, "only {} samples", samples.len());
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let run_parallel = |work: &(dyn Fn(u64) -> bool + Sync)| {
        next.store(0, Ordering::Relaxed);
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| while work(next.fetch_add(1, Ordering::Relaxed)) {});
            }
        });
    };
    run_parallel(&|i| {
        let sample = samples.get(i as usize);
        done.fetch_add(sample.map_or(0, exhaustive), Ordering::Relaxed);
        sample.is_some()
    });
    let exhaustive_cases = done.load(Ordering::Relaxed);
    let before = peak_kib();
    const BATCH: u64 = 1000;
    run_parallel(&|batch| {
        let (mut released, mut damaged) = (Vec::new(), Vec::new());
        let needs_more = done.load(Ordering::Relaxed) < minimum;
        for i in 0..if needs_more { BATCH } else { 0 } {
            let counted = check_random(&samples, batch * BATCH + i, &mut released, &mut damaged);
            done.fetch_add(u64::from(counted), Ordering::Relaxed);
        }
        needs_more
    });
    let (random_cases, after) = (done.load(Ordering::Relaxed) - exhaustive_cases, peak_kib());
    eprintln!(
        "{exhaustive_cases} exhaustive and {random_cases} random cases on {} files: all refused; peak {before} KiB, then {after} KiB",
        samples.len()
    );
    assert!(after <= before + 4096, "memory grew from {before} to {after} KiB");
}

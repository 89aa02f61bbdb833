//! Damage: every cut, every bit, insertions, deletions and damage by chance, on
//! the right files of the test kit. Nothing damaged is accepted, and exactly the
//! whole segments before the damage are released.
//!
//! `AZ_DAMAGE_CASES` is the least number of cases in all.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
#![allow(clippy::print_stderr, reason = "figures are told")]

#[path = "kit/case.rs"]
mod case;

use loader_seal::{Header, Key};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Cases of one run, where nothing else is asked for.
const CASES: u64 = 1_000_000;

const SEGMENT_LEN: usize = 4096;

/// A right file, and what is known of it.
struct Sample {
    name: String,
    keys: [Key; 1],
    sealed: Vec<u8>,
    plain: Vec<u8>,
    header_len: usize,
    tag_len: usize,
}

impl Sample {
    fn new(case: &case::Case) -> Option<Self> {
        let key = Key::parse(case.field("key")?).unwrap();
        let keys = [key];
        let mut rest = &case.bytes[..];
        let unlocked = Header::read(&mut rest).unwrap().unlock(&keys).unwrap();
        let header = unlocked.header();
        let (header_len, tag_len) = (header.as_bytes().len(), header.suite().tag_len());
        // Headers of many kilobytes and segments of many megabytes make slow cases.
        if header.segment_len() != SEGMENT_LEN || case.bytes.len() > 12_000 {
            return None;
        }
        let mut plain = Vec::new();
        unlocked.open(&mut rest, &mut plain, 1).unwrap();
        Some(Self { name: case.name.clone(), keys, sealed: case.bytes.clone(), plain, header_len, tag_len })
    }

    /// Plaintext that may leave where `damaged` is another file than the right
    /// one: that of the whole segments before the first byte that differs.
    fn right_prefix(&self, damaged: &[u8]) -> &[u8] {
        let same = self.sealed.iter().zip(damaged).take_while(|(right, other)| right == other).count();
        // Where one is the beginning of the other, its last segment is the one in question.
        let at = if same == damaged.len() || same == self.sealed.len() { same.saturating_sub(1) } else { same };
        let segment = at.saturating_sub(self.header_len) / SEGMENT_LEN;
        let len = (segment * (SEGMENT_LEN - self.tag_len)).saturating_sub(40);
        &self.plain[..len]
    }

    fn check(&self, damaged: &[u8], released: &mut Vec<u8>, what: impl Fn() -> String) -> bool {
        // Changes may undo each other.
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
        assert!(expected.contains(&error.code()), "{}: {}: {threads} threads: {error}", self.name, what());
        let right = self.right_prefix(damaged);
        assert!(*released == right, "{}: {}: {threads} threads released {}", self.name, what(), released.len());
        true
    }
}

/// Cases of this process so far.
static CHECKED: AtomicU64 = AtomicU64::new(0);

/// One case in sixteen goes to several threads, which take longer to start than it does to open.
fn threads(case: u64) -> usize {
    if case.is_multiple_of(16) { 2 + (case / 16 % 6) as usize } else { 1 }
}

/// Numbers that follow from their seed (SplitMix64).
struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.number() % limit.max(1) as u64) as usize
    }
}

/// Every cut, every bit, every byte left out, and a byte put in at every place;
/// gives the number of cases.
fn exhaustive(sample: &Sample) -> u64 {
    let (mut released, sealed) = (Vec::new(), &sample.sealed);
    let mut damaged = Vec::with_capacity(sealed.len() + 1);
    let mut cases = 0;
    for at in 0..sealed.len() {
        cases += u64::from(sample.check(&sealed[..at], &mut released, || format!("a cut at {at}")));
        damaged.clone_from(sealed);
        for bit in 0..8 {
            damaged[at] ^= 1 << bit;
            cases += u64::from(sample.check(&damaged, &mut released, || format!("bit {bit} of byte {at}")));
            damaged[at] ^= 1 << bit;
        }
        damaged.remove(at);
        cases += u64::from(sample.check(&damaged, &mut released, || format!("byte {at} left out")));
    }
    for at in 0..=sealed.len() {
        damaged.clone_from(sealed);
        damaged.insert(at, at as u8);
        cases += u64::from(sample.check(&damaged, &mut released, || format!("a byte put in at {at}")));
    }
    cases
}

/// One to three changes by chance, of everything that moves bytes about; false
/// where they undid each other.
fn by_chance(samples: &[Sample], seed: u64, released: &mut Vec<u8>, damaged: &mut Vec<u8>) -> bool {
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
            1 => damaged.splice(at..at, random.number().to_le_bytes()).for_each(drop),
            2 => damaged.drain(at..end).for_each(drop),
            3 => damaged[at..end].fill(random.number() as u8),
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
                // The rest of another file of the same key.
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
    sample.check(damaged, released, || format!("damage by chance, seed {seed}"))
}

/// Peak resident set in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

#[test]
fn nothing_damaged_is_accepted_and_only_the_right_prefix_leaves() {
    let wanted = std::env::var("AZ_DAMAGE_CASES").map_or(CASES, |cases| cases.parse().unwrap());
    let samples: Vec<_> = case::all()
        .iter()
        .filter(|case| case.field("expect") == Some("success") && case.field("options").is_none())
        .filter_map(Sample::new)
        .collect();
    assert!(samples.len() >= 12, "only {} samples", samples.len());
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let in_turn = |work: &(dyn Fn(u64) -> bool + Sync)| {
        next.store(0, Ordering::Relaxed);
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| while work(next.fetch_add(1, Ordering::Relaxed)) {});
            }
        });
    };
    in_turn(&|i| {
        let sample = samples.get(i as usize);
        done.fetch_add(sample.map_or(0, exhaustive), Ordering::Relaxed);
        sample.is_some()
    });
    let in_turn_cases = done.load(Ordering::Relaxed);
    let before = peak_kib();
    const BATCH: u64 = 1000;
    in_turn(&|batch| {
        let (mut released, mut damaged) = (Vec::new(), Vec::new());
        let wanting = done.load(Ordering::Relaxed) < wanted;
        for i in 0..if wanting { BATCH } else { 0 } {
            let counted = by_chance(&samples, batch * BATCH + i, &mut released, &mut damaged);
            done.fetch_add(u64::from(counted), Ordering::Relaxed);
        }
        wanting
    });
    let (chance_cases, after) = (done.load(Ordering::Relaxed) - in_turn_cases, peak_kib());
    eprintln!(
        "{in_turn_cases} cases in turn and {chance_cases} by chance on {} files: none accepted, none released more; peak {before} and then {after} KiB",
        samples.len()
    );
    assert!(after <= before + 4096, "memory grew from {before} to {after} KiB");
}

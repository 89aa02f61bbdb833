//! Properties that hold for every input, checked with random inputs and with damaged valid
//! inputs. `PROPTEST_CASES` is the number of cases. `AZ_SEEDS_DIR` is a directory to
//! which the valid inputs are written as seeds for tests/fuzz.

mod readers;
mod seeds;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use readers::{READERS, try_input};

/// Default number of inputs for each parser.
const CASES: u32 = 1000;

/// A change of an input: kind, offset, length and bits.
type Change = (u8, Index, usize, u64);

fn damage(input: &mut Vec<u8>, (kind, at, len, bits): Change, other: &[u8]) {
    if input.is_empty() {
        return input.extend(bits.to_le_bytes());
    }
    let at = at.index(input.len());
    let end = (at + len).min(input.len());
    match kind {
        0 => input[at] ^= 1 << (bits % 8),
        1 => input[at] = bits as u8,
        2 => input.truncate(at),
        3 => drop(input.drain(at..end)),
        4 => drop(input.splice(at..at, bits.to_le_bytes())),
        5 => input.extend_from_within(at..end),
        6 => drop(input.splice(at..end, other.iter().copied().skip(at).take(len))),
        _ => drop(input.splice(at.., other.get(at..).unwrap_or_default().iter().copied())),
    }
}

/// Generates random bytes, or one of `seeds` with up to four changes.
fn inputs(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (0..8_u8, any::<Index>(), 1..64_usize, any::<u64>());
    let changes = (any::<Index>(), any::<Index>(), prop::collection::vec(change, 0..5));
    let damaged = changes.prop_map(move |(one, other, changes)| {
        let (mut input, other) = (one.get(&seeds).clone(), &seeds[other.index(seeds.len())]);
        changes.into_iter().for_each(|change| damage(&mut input, change, other));
        input
    });
    prop_oneof![1 => prop::collection::vec(any::<u8>(), 0..300), 5 => damaged]
}

#[test]
fn every_property_holds() {
    let seeds_dir = std::env::var_os("AZ_SEEDS_DIR").map(std::path::PathBuf::from);
    for (name, _) in READERS {
        let seeds = seeds::of(name);
        assert!(!seeds.is_empty(), "{name}");
        if let Some(dir) = &seeds_dir {
            std::fs::create_dir_all(dir.join(name)).unwrap();
            for (i, seed) in seeds.iter().enumerate() {
                std::fs::write(dir.join(name).join(i.to_string()), seed).unwrap();
            }
        }
        let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
        if std::env::var_os("PROPTEST_CASES").is_none() {
            config.cases = CASES;
        }
        let mut runner = TestRunner::new(config);
        let tried = runner.run(&inputs(seeds), |input| {
            try_input(name, &input);
            Ok(())
        });
        tried.unwrap_or_else(|failure| panic!("{name}: {failure}"));
    }
}

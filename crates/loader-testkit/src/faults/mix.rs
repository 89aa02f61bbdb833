//! Random faults from a seed.

use super::rule::{FaultKind, Faults, Rule, Side};
use std::time::Duration;

/// Pseudorandom number generator (SplitMix64).
struct SplitMix64(u64);

impl SplitMix64 {
    /// Returns a number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// Returns an offset below 8 MiB. Each order of magnitude is equally likely.
    fn offset(&mut self) -> u64 {
        let bits = self.below(24);
        self.below(1 << bits)
    }
}

impl Faults {
    /// Returns one to four rules, the same for the same seed. Most of them skip some
    /// requests, so that a client can succeed.
    pub fn mix(seed: u64) -> Self {
        let mut random = SplitMix64(seed);
        let rules = 1 + random.below(4);
        Self((0..rules).map(|_| random_rule(&mut random)).collect())
    }
}

fn random_rule(random: &mut SplitMix64) -> Rule {
    let kind = match random.below(24) {
        0..5 => FaultKind::Reset,
        5..9 => FaultKind::Short,
        9..11 => FaultKind::Stall,
        11 => FaultKind::Trickle,
        12..14 => FaultKind::ResetUpload,
        14 => FaultKind::StallUpload,
        15..19 => FaultKind::Status([500, 502, 503, 504, 429, 408][random.below(6) as usize]),
        19 => FaultKind::IgnoreRange,
        20 => FaultKind::NewEtag,
        21 => FaultKind::Redirect,
        22 => FaultKind::WrongRange,
        _ => [FaultKind::Gzip, FaultKind::RedirectLoop][random.below(2) as usize],
    };
    let mut rule = Rule::new(kind);
    let has_offset = matches!(
        kind,
        FaultKind::Reset
            | FaultKind::Short
            | FaultKind::Stall
            | FaultKind::Trickle
            | FaultKind::ResetUpload
            | FaultKind::StallUpload
    );
    rule.at = (has_offset && random.below(5) > 0).then(|| random.offset());
    rule.every = 1 + random.below(4);
    rule.after = random.below(6);
    let is_limited = matches!(
        kind,
        FaultKind::WrongRange | FaultKind::Gzip | FaultKind::RedirectLoop | FaultKind::Stall | FaultKind::StallUpload
    );
    rule.times = (is_limited || random.below(2) == 0).then(|| 1 + random.below(4));
    rule.on = [None, None, Some(Side::Cdn), Some(Side::Api)][random.below(4) as usize];
    if kind == FaultKind::Trickle {
        rule.rate = 64 << (10 + random.below(6));
    }
    if matches!(kind, FaultKind::Status(_)) && random.below(3) == 0 {
        rule.retry_after = Some(Duration::from_secs(random.below(2)));
    }
    rule
}

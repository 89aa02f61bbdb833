//! Faults picked by a seed.

use super::rule::{Faults, Kind, Rule, Side};
use std::time::Duration;

/// Numbers that look random and are the same for the same seed (SplitMix64).
struct Dice(u64);

impl Dice {
    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// An offset below 8 MiB, small ones as likely as large ones.
    fn offset(&mut self) -> u64 {
        let bits = self.below(24);
        self.below(1 << bits)
    }
}

impl Faults {
    /// One to four rules, always the same for the same seed. Most leave some
    /// requests alone, so that there is a way through.
    pub fn mix(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let rules = 1 + dice.below(4);
        Self((0..rules).map(|_| pick(&mut dice)).collect())
    }
}

fn pick(dice: &mut Dice) -> Rule {
    let kind = match dice.below(24) {
        0..5 => Kind::Reset,
        5..9 => Kind::Short,
        9..11 => Kind::Stall,
        11 => Kind::Trickle,
        12..14 => Kind::ResetUpload,
        14 => Kind::StallUpload,
        15..19 => Kind::Status([500, 502, 503, 504, 429, 408][dice.below(6) as usize]),
        19 => Kind::IgnoreRange,
        20 => Kind::NewEtag,
        21 => Kind::Redirect,
        22 => Kind::WrongRange,
        _ => [Kind::Gzip, Kind::RedirectLoop][dice.below(2) as usize],
    };
    let mut rule = Rule::new(kind);
    let has_place =
        matches!(kind, Kind::Reset | Kind::Short | Kind::Stall | Kind::Trickle | Kind::ResetUpload | Kind::StallUpload);
    rule.at = (has_place && dice.below(5) > 0).then(|| dice.offset());
    rule.every = 1 + dice.below(4);
    rule.after = dice.below(6);
    let few = matches!(kind, Kind::WrongRange | Kind::Gzip | Kind::RedirectLoop | Kind::Stall | Kind::StallUpload);
    rule.times = (few || dice.below(2) == 0).then(|| 1 + dice.below(4));
    rule.on = [None, None, Some(Side::Cdn), Some(Side::Api)][dice.below(4) as usize];
    if kind == Kind::Trickle {
        rule.rate = 64 << (10 + dice.below(6));
    }
    if matches!(kind, Kind::Status(_)) && dice.below(3) == 0 {
        rule.retry_after = Some(Duration::from_secs(dice.below(2)));
    }
    rule
}

//! Content-defined chunks: their borders depend only on the bytes near them, so that equal content
//! has equal chunks at any position (FastCDC: W. Xia et al., USENIX ATC 2016, with two masks).

/// Minimum, desired and maximum length of a chunk in bytes.
const LEN_MIN: usize = 2 * 1024;
const LEN_DESIRED: usize = 8 * 1024;
pub(crate) const LEN_MAX: usize = 64 * 1024;

/// Masks of the hash that end a chunk before and after the desired length: 15 and 11 bits, in the
/// upper half of the hash, which depends on more bytes.
const MASK_SHORT: u64 = 0x7fff << 40;
const MASK_LONG: u64 = 0x07ff << 40;

/// Random numbers for each byte (splitmix64).
const GEAR: [u64; 256] = {
    let mut table = [0; 256];
    let mut state = 0x61_7a_70_61_74_63_68_01_u64;
    let mut i = 0;
    while i < table.len() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[i] = z ^ z >> 31;
        i += 1;
    }
    table
};

/// Returns the length of the first chunk of `bytes`, which continue for at least [`LEN_MAX`] bytes
/// or up to the end of the content.
pub(crate) fn chunk_len(bytes: &[u8]) -> usize {
    let end = bytes.len().min(LEN_MAX);
    if end <= LEN_MIN {
        return end;
    }
    let mut hash = 0_u64;
    let border = LEN_DESIRED.min(end);
    for (range, mask) in [(LEN_MIN..border, MASK_SHORT), (border..end, MASK_LONG)] {
        for at in range {
            hash = (hash << 1).wrapping_add(GEAR[usize::from(bytes[at])]);
            if hash & mask == 0 {
                return at + 1;
            }
        }
    }
    end
}

/// Returns the identifier of a chunk.
pub(crate) fn chunk_id(chunk: &[u8]) -> u64 {
    twox_hash::XxHash3_64::oneshot(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn borders(bytes: &[u8]) -> Vec<usize> {
        let (mut at, mut borders) = (0, Vec::new());
        while at < bytes.len() {
            at += chunk_len(&bytes[at..]);
            borders.push(at);
        }
        borders
    }

    #[test]
    fn borders_return_after_an_insertion() {
        let mut state = 5_u64;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        let old: Vec<u8> = std::iter::repeat_with(next).take(1 << 20).collect();
        let new = [&old[..300_000], b"inserted", &old[300_000..]].concat();
        let (old, new) = (borders(&old), borders(&new));
        assert!((50..300).contains(&old.len()), "{}", old.len());
        let kept = old.iter().filter(|at| **at > 300_000).filter(|at| new.contains(&(*at + 8))).count();
        let after = old.iter().filter(|at| **at > 300_000).count();
        assert!(kept + 12 > after, "{kept} of {after}");
    }

    #[test]
    fn repetition_has_the_maximum_length() {
        assert_eq!(chunk_len(&[0; 200_000]), LEN_MAX);
        assert_eq!((chunk_len(&[]), chunk_len(&[0; 100])), (0, 100));
    }
}

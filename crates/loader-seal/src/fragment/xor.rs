//! All of `n`: every fragment but the last is random, the last makes the
//! exclusive or of all of them the key.

use super::{Fragment, Share};
use crate::key::random;
use crate::{Error, Key};
use zeroize::Zeroizing;

/// `n` shares of the key.
pub(super) fn split(key: &Key, n: u8) -> Result<Vec<Share>, Error> {
    let mut shares = vec![Zeroizing::new([0; Key::LEN]); usize::from(n)];
    if let Some((last, others)) = shares.split_last_mut() {
        **last = *key.expose();
        for share in others {
            random(share.as_mut_slice())?;
            add(last, share);
        }
    }
    Ok(shares)
}

/// The exclusive or of all shares.
pub(super) fn join(fragments: &[Fragment]) -> Key {
    let mut sum = Zeroizing::new([0; Key::LEN]);
    fragments.iter().for_each(|fragment| add(&mut sum, &fragment.share));
    Key::from_bytes(*sum)
}

fn add(sum: &mut Share, share: &Share) {
    sum.iter_mut().zip(share.iter()).for_each(|(sum, byte)| *sum ^= byte);
}

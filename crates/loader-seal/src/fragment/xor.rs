//! XOR secret sharing, `n` of `n`: all shares except the last are random, and the XOR of
//! all shares is the key.

use super::{Fragment, Share};
use crate::key::fill_random;
use crate::{Error, Key};
use zeroize::Zeroizing;

/// Returns `n` shares of the key.
pub(super) fn split(key: &Key, n: u8) -> Result<Vec<Share>, Error> {
    let mut shares = vec![Zeroizing::new([0; Key::LEN]); usize::from(n)];
    if let Some((last, others)) = shares.split_last_mut() {
        **last = *key.expose();
        for share in others {
            fill_random(share.as_mut_slice())?;
            xor_into(last, share);
        }
    }
    Ok(shares)
}

/// Returns the XOR of all shares.
pub(super) fn join(fragments: &[Fragment]) -> Key {
    let mut key = Zeroizing::new([0; Key::LEN]);
    fragments.iter().for_each(|fragment| xor_into(&mut key, &fragment.share));
    Key::from_bytes(*key)
}

fn xor_into(target: &mut Share, share: &Share) {
    target.iter_mut().zip(share.iter()).for_each(|(target, byte)| *target ^= byte);
}

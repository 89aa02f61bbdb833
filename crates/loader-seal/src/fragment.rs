//! Splitting a key into fragments, and joining them (crates/loader-seal/README.md,
//! "Fragments").

mod encoding;
mod error;
mod set_card;
mod shamir;
mod xor;

pub use error::FragmentError;
pub use set_card::{SetCard, SetCardError};

use crate::key::fill_random;
use crate::{Error, Key, KeyId};
use std::fmt;
use zeroize::Zeroizing;

/// Secret sharing scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// All fragments are needed: the key is the XOR of their shares.
    Xor,
    /// Any `k` of `n` fragments are sufficient (A. Shamir, "How to share a secret", 1979;
    /// applied to each byte, over GF(2^8)).
    Shamir,
}

impl Scheme {
    /// Returns the scheme's name, as on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Xor => "xor",
            Self::Shamir => "shamir",
        }
    }

    fn to_byte(self) -> u8 {
        match self {
            Self::Xor => 1,
            Self::Shamir => 2,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Xor, Self::Shamir].into_iter().find(|scheme| scheme.to_byte() == byte)
    }

    /// Checks that the scheme supports `k` of `n`.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    fn check_size(self, k: u8, n: u8) -> Result<(), Error> {
        match self {
            Self::Xor if k != n || n < 2 => {
                Err(Error::malformed("xor makes 2 to 255 fragments, and all of them are needed"))
            }
            Self::Shamir if k < 2 || k > n => {
                Err(Error::malformed("shamir makes 2 to 255 fragments, and at least 2 of them are needed"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Public id of the fragments of one [`split`], 8 random bytes; as text 16 hexadecimal
/// digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SetId([u8; SetId::LEN]);

impl SetId {
    /// Length in bytes.
    pub const LEN: usize = 8;

    /// Returns the 8 bytes of the id.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Display for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Secret bytes of a fragment.
type Share = Zeroizing<[u8; Key::LEN]>;

/// Fragment of a key. Its share is wiped when it is dropped, and not shown by `Debug`; all
/// other values are public.
#[derive(Clone)]
pub struct Fragment {
    scheme: Scheme,
    k: u8,
    n: u8,
    index: u8,
    set: SetId,
    key_id: KeyId,
    share: Share,
}

impl Fragment {
    /// Returns the scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the number of fragments that are needed to join the key, 2 to 255.
    pub fn threshold(&self) -> u8 {
        self.k
    }

    /// Returns the number of fragments in the set, from the threshold to 255.
    pub fn shares(&self) -> u8 {
        self.n
    }

    /// Returns the number of this fragment in its set, from 1.
    pub fn index(&self) -> u8 {
        self.index
    }

    /// Returns the id of the set.
    pub fn set_id(&self) -> SetId {
        self.set
    }

    /// Returns the id of the key.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }
}

impl fmt::Debug for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fragment({} {}/{} of set {}, {})", self.scheme, self.index, self.n, self.set, self.key_id)
    }
}

/// Splits `key` into `n` fragments with the indices 1 to `n`. Any `k` of them are
/// sufficient to join the key; fewer contain no information about it.
///
/// # Errors
/// [`Error::Malformed`] unless 2 ≤ k ≤ n, and k = n for [`Scheme::Xor`];
/// [`Error::Random`].
pub fn split(key: &Key, scheme: Scheme, k: u8, n: u8) -> Result<Vec<Fragment>, Error> {
    scheme.check_size(k, n)?;
    let mut set = SetId([0; SetId::LEN]);
    fill_random(&mut set.0)?;
    let shares = match scheme {
        Scheme::Xor => xor::split(key, n)?,
        Scheme::Shamir => shamir::split(key, k, n)?,
    };
    let key_id = key.id();
    // Cloned, because moving would leave unwiped copies in the list.
    let fragment = |(index, share): (u8, &Share)| Fragment { scheme, k, n, index, set, key_id, share: share.clone() };
    Ok((1..=n).zip(&shares).map(fragment).collect())
}

/// Joins fragments, in any order, to their key. If there are more than needed, the first
/// ones are joined, and the others are checked against them.
///
/// # Errors
/// The variant of [`FragmentError`] for the first failed check, in this order: all
/// fragments have the same scheme, threshold, number of fragments, set and key; the indices
/// are distinct; there are enough fragments; the id of the joined key is correct; the other
/// fragments are consistent.
pub fn join(fragments: &[Fragment]) -> Result<Key, FragmentError> {
    let first = fragments.first().ok_or(FragmentError::Empty)?;
    check_same_set(first, fragments)?;
    for (i, fragment) in fragments.iter().enumerate() {
        if fragments[..i].iter().any(|earlier| earlier.index == fragment.index) {
            return Err(FragmentError::Duplicate { index: fragment.index });
        }
    }
    let Some((used, extra)) = fragments.split_at_checked(usize::from(first.k)) else {
        return Err(FragmentError::TooFew { needs: first.k, has: fragments.len() });
    };
    let key = match first.scheme {
        Scheme::Xor => xor::join(used),
        Scheme::Shamir => shamir::join(used),
    };
    if key.id() != first.key_id {
        return Err(FragmentError::WrongResult { expected: first.key_id });
    }
    // Only Shamir sets can have more fragments than needed.
    match extra.iter().find(|fragment| !shamir::is_consistent(used, fragment)) {
        Some(fragment) => Err(FragmentError::Inconsistent { index: fragment.index }),
        None => Ok(key),
    }
}

fn check_same_set(first: &Fragment, fragments: &[Fragment]) -> Result<(), FragmentError> {
    type Check = fn(&Fragment, &Fragment) -> Option<FragmentError>;
    let checks: [Check; 5] = [
        |a, b| {
            let error = FragmentError::SchemeMismatch { index: b.index, found: b.scheme, first: a.scheme };
            (a.scheme != b.scheme).then_some(error)
        },
        |a, b| (a.k != b.k).then_some(FragmentError::ThresholdMismatch { index: b.index, found: b.k, first: a.k }),
        |a, b| (a.n != b.n).then_some(FragmentError::CountMismatch { index: b.index, found: b.n, first: a.n }),
        |a, b| (a.set != b.set).then_some(FragmentError::SetMismatch { index: b.index, found: b.set, first: a.set }),
        |a, b| {
            let error = FragmentError::KeyMismatch { index: b.index, found: b.key_id, first: a.key_id };
            (a.key_id != b.key_id).then_some(error)
        },
    ];
    // Each check covers all fragments before the next check runs, so that the most significant mismatch is reported.
    let mut mismatches = checks.iter().flat_map(|check| fragments.iter().filter_map(|other| check(first, other)));
    mismatches.next().map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests;

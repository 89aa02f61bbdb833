//! A key cut into fragments, and joined from them again.

mod card;
mod error;
mod shamir;
mod text;
mod xor;

pub use card::{CardError, SetCard};
pub use error::FragmentError;

use crate::key::random;
use crate::{Error, Key, KeyId};
use std::fmt;
use zeroize::Zeroizing;

/// How a key is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// The exclusive or of all fragments is the key.
    Xor,
    /// Any `k` of `n` fragments give the key (Shamir, "How to share a secret",
    /// 1979; over GF(2^8) byte by byte).
    Shamir,
}

impl Scheme {
    /// The scheme's name, as it stands on a command line.
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

    /// What forbids `k` of `n` with this scheme, if anything does.
    fn refuses(self, k: u8, n: u8) -> Option<&'static str> {
        match self {
            Self::Xor if k != n || n < 2 => Some("xor takes 2 to 255 fragments and needs all of them"),
            Self::Shamir if k < 2 || k > n => Some("shamir takes 2 to 255 fragments and needs at least 2 of them"),
            _ => None,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the fragments of one [`split`] have in common, 8 random bytes; as text
/// 16 hexadecimal digits. Public.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SetId([u8; SetId::LEN]);

impl SetId {
    /// Length in bytes.
    pub const LEN: usize = 8;

    /// The 8 bytes of the id.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Display for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The secret bytes of a fragment, as many as a key has.
type Share = Zeroizing<[u8; Key::LEN]>;

/// One fragment of a key. The share is wiped when the fragment is dropped and
/// not shown by `Debug`; everything else is public.
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
    /// How the key was cut.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// How many fragments give the key, 2 to 255.
    pub fn threshold(&self) -> u8 {
        self.k
    }

    /// How many fragments there are, from the threshold to 255.
    pub fn shares(&self) -> u8 {
        self.n
    }

    /// Which of them this one is, from 1.
    pub fn index(&self) -> u8 {
        self.index
    }

    /// The set it belongs to.
    pub fn set(&self) -> SetId {
        self.set
    }

    /// The key it is a fragment of.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }
}

impl fmt::Debug for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fragment({} {}/{} of set {}, {})", self.scheme, self.index, self.n, self.set, self.key_id)
    }
}

/// `n` fragments of `key`, with the indices 1 to `n`, of which `k` give the key
/// again and fewer say nothing of it (format: keys and fragments).
///
/// # Errors
///
/// [`Error::Malformed`]: `k` and `n` are not 2 ≤ k ≤ n, or k < n for
/// [`Scheme::Xor`]. [`Error::Random`]: the operating system gave no random bytes.
pub fn split(key: &Key, scheme: Scheme, k: u8, n: u8) -> Result<Vec<Fragment>, Error> {
    if let Some(what) = scheme.refuses(k, n) {
        return Err(Error::malformed(what));
    }
    let mut set = SetId([0; SetId::LEN]);
    random(&mut set.0)?;
    let shares = match scheme {
        Scheme::Xor => xor::split(key, n)?,
        Scheme::Shamir => shamir::split(key, k, n)?,
    };
    let key_id = key.id();
    // Copied, so that those in the list are wiped where they stand.
    let fragment = |(index, share): (u8, &Share)| Fragment { scheme, k, n, index, set, key_id, share: share.clone() };
    Ok((1..=n).zip(&shares).map(fragment).collect())
}

/// The key of these fragments, in any order. Checked in turn: scheme, threshold,
/// number, set and key of all, distinct indices, enough of them, the id of the
/// result. Where there are more than the threshold, the first give the key and
/// each of the others must fit them.
///
/// # Errors
///
/// The variant of [`FragmentError`] for the first of these that fails.
pub fn join(fragments: &[Fragment]) -> Result<Key, FragmentError> {
    let first = fragments.first().ok_or(FragmentError::Empty)?;
    check_alike(first, fragments)?;
    for (i, fragment) in fragments.iter().enumerate() {
        if fragments[..i].iter().any(|earlier| earlier.index == fragment.index) {
            return Err(FragmentError::Duplicate { index: fragment.index });
        }
    }
    let needs = usize::from(first.k);
    let Some((used, extra)) = fragments.split_at_checked(needs) else {
        return Err(FragmentError::TooFew { needs: first.k, has: fragments.len() });
    };
    let key = match first.scheme {
        Scheme::Xor => xor::join(used),
        Scheme::Shamir => shamir::join(used),
    };
    if key.id() != first.key_id {
        return Err(FragmentError::ResultMismatch { expected: first.key_id });
    }
    // Only Shamir has more fragments than it needs.
    match extra.iter().find(|fragment| !shamir::fits(used, fragment)) {
        Some(stray) => Err(FragmentError::Stray { index: stray.index }),
        None => Ok(key),
    }
}

fn check_alike(first: &Fragment, fragments: &[Fragment]) -> Result<(), FragmentError> {
    type Differs = fn(&Fragment, &Fragment) -> Option<FragmentError>;
    let checks: [Differs; 5] = [
        |a, b| {
            let error = FragmentError::OtherScheme { index: b.index, found: b.scheme, first: a.scheme };
            (a.scheme != b.scheme).then_some(error)
        },
        |a, b| (a.k != b.k).then_some(FragmentError::OtherThreshold { index: b.index, found: b.k, first: a.k }),
        |a, b| (a.n != b.n).then_some(FragmentError::OtherNumber { index: b.index, found: b.n, first: a.n }),
        |a, b| (a.set != b.set).then_some(FragmentError::OtherSet { index: b.index, found: b.set, first: a.set }),
        |a, b| {
            let error = FragmentError::OtherKey { index: b.index, found: b.key_id, first: a.key_id };
            (a.key_id != b.key_id).then_some(error)
        },
    ];
    // Check by check, not fragment by fragment: the widest difference is named.
    let mut differences = checks.iter().flat_map(|differs| fragments.iter().filter_map(|other| differs(first, other)));
    differences.next().map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests;

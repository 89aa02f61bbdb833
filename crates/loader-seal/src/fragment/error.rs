//! Why fragments do not give a key.

use super::{Scheme, SetId};
use crate::KeyId;

/// Why fragments that are whole and undamaged do not give the key. Fragments
/// are named by their index.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FragmentError {
    /// There is none.
    #[error("no fragment given")]
    Empty,
    /// One was cut by another scheme than the first.
    #[error("fragment {index} is of scheme {found}, the first one of scheme {first}")]
    OtherScheme {
        /// Index of the one that differs.
        index: u8,
        /// Its scheme.
        found: Scheme,
        /// That of the first.
        first: Scheme,
    },
    /// One needs another number of fragments than the first.
    #[error("fragment {index} is of a set that needs {found}, the first one of a set that needs {first}")]
    OtherThreshold {
        /// Index of the one that differs.
        index: u8,
        /// Its threshold.
        found: u8,
        /// That of the first.
        first: u8,
    },
    /// One has another number of siblings than the first.
    #[error("fragment {index} is of a set of {found}, the first one of a set of {first}")]
    OtherNumber {
        /// Index of the one that differs.
        index: u8,
        /// Fragments in its set.
        found: u8,
        /// Fragments in the set of the first.
        first: u8,
    },
    /// One is of another set than the first.
    #[error("fragment {index} is of another set: {found}, the first one is of set {first}")]
    OtherSet {
        /// Index of the one that differs.
        index: u8,
        /// Its set.
        found: SetId,
        /// That of the first.
        first: SetId,
    },
    /// One is of another key than the first.
    #[error("fragment {index} is of another key: {found}, the first one is of key {first}")]
    OtherKey {
        /// Index of the one that differs.
        index: u8,
        /// Its key.
        found: KeyId,
        /// That of the first.
        first: KeyId,
    },
    /// Two have the same index.
    #[error("fragment {index} is given twice")]
    Duplicate {
        /// The index.
        index: u8,
    },
    /// There are not enough.
    #[error("needs {needs} fragments, has {has}")]
    TooFew {
        /// The threshold.
        needs: u8,
        /// How many were given.
        has: usize,
    },
    /// The joined key is not the one that the fragments name.
    #[error("the result does not match key {expected}: a fragment was altered or made for another key")]
    ResultMismatch {
        /// The key that they name.
        expected: KeyId,
    },
    /// One more than the threshold contradicts the others.
    #[error("fragment {index} does not lie on the polynomial of the others")]
    Stray {
        /// Index of the one that does not fit.
        index: u8,
    },
}

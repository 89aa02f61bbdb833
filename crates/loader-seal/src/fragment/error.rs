//! The error type for joining fragments.

use super::{Scheme, SetId};
use crate::KeyId;

/// Reason why a key cannot be joined from valid fragments. Messages contain the index of
/// the fragment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FragmentError {
    /// There are no fragments.
    #[error("no fragment given")]
    Empty,
    /// A fragment has another scheme than the first.
    #[error("fragment {index} has scheme {found}, the first fragment has scheme {first}")]
    SchemeMismatch {
        /// Index of the fragment.
        index: u8,
        /// Scheme of the fragment.
        found: Scheme,
        /// Scheme of the first fragment.
        first: Scheme,
    },
    /// A fragment has another threshold than the first.
    #[error("fragment {index} is from a set that needs {found}, the first fragment is from a set that needs {first}")]
    ThresholdMismatch {
        /// Index of the fragment.
        index: u8,
        /// Threshold of the fragment.
        found: u8,
        /// Threshold of the first fragment.
        first: u8,
    },
    /// The set of a fragment has another size than the set of the first.
    #[error("fragment {index} is from a set of {found}, the first fragment is from a set of {first}")]
    CountMismatch {
        /// Index of the fragment.
        index: u8,
        /// Number of fragments in its set.
        found: u8,
        /// Number of fragments in the set of the first fragment.
        first: u8,
    },
    /// A fragment is from another set than the first.
    #[error("fragment {index} is from another set: {found}, the first fragment is from set {first}")]
    SetMismatch {
        /// Index of the fragment.
        index: u8,
        /// Set of the fragment.
        found: SetId,
        /// Set of the first fragment.
        first: SetId,
    },
    /// A fragment is for another key than the first.
    #[error("fragment {index} is for another key: {found}, the first fragment is for key {first}")]
    KeyMismatch {
        /// Index of the fragment.
        index: u8,
        /// Key of the fragment.
        found: KeyId,
        /// Key of the first fragment.
        first: KeyId,
    },
    /// Two fragments have the same index.
    #[error("fragment {index} occurs twice")]
    Duplicate {
        /// Index of both fragments.
        index: u8,
    },
    /// There are not enough fragments.
    #[error("needs {needs} fragments, has {has}")]
    TooFew {
        /// Required number of fragments.
        needs: u8,
        /// Number of given fragments.
        has: usize,
    },
    /// The joined key does not have the id in the fragments.
    #[error("the result does not match key {expected}: a fragment was altered or made for another key")]
    WrongResult {
        /// Id of the key in the fragments.
        expected: KeyId,
    },
    /// A fragment beyond the threshold contradicts the others.
    #[error("fragment {index} is not consistent with the others")]
    Inconsistent {
        /// Index of the fragment.
        index: u8,
    },
}

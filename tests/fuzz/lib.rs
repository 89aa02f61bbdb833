//! The readers, for the programs in targets/.
#![allow(clippy::unwrap_used, reason = "a property that does not hold panics")]

#[path = "../properties/mod.rs"]
mod readers;

/// Tries one input on the reader called `name`.
pub fn try_input(name: &str, input: &[u8]) {
    readers::try_input(name, input);
}

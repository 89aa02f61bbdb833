//! Parsers for the fuzz targets in targets/.
#![allow(clippy::unwrap_used, reason = "a violated property panics")]

#[path = "../integration/properties/readers/mod.rs"]
mod readers;

/// Checks the property of the parser `name` with one input.
pub fn try_input(name: &str, input: &[u8]) {
    readers::try_input(name, input);
}

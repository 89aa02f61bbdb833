//! The JSON document that `--explain` prints.

use loader_device::{HardwareSource, Inventory};
use serde::Serialize;

/// List of the sources.
#[derive(Serialize)]
pub(crate) struct Explanation<'i> {
    /// True if the sources are enough for an id.
    usable: bool,
    sources: Vec<SourceEntry<'i>>,
}

#[derive(Serialize)]
struct SourceEntry<'i> {
    name: &'static str,
    #[serde(rename = "place")]
    path: &'i str,
    strength: &'static str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'i str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
}

impl<'i> Explanation<'i> {
    pub(crate) fn new(inventory: &'i Inventory) -> Self {
        let entry = |source: &'i HardwareSource| SourceEntry {
            name: source.name,
            path: &source.path,
            strength: source.strength.as_str(),
            state: source.state.as_str(),
            reason: source.state.reason(),
            hash: source.tag(),
        };
        Self { usable: inventory.id().is_ok(), sources: inventory.sources().iter().map(entry).collect() }
    }
}

//! The list of sources as JSON.

use loader_device::{Inventory, Source};
use serde::Serialize;

/// What `--explain` prints.
#[derive(Serialize)]
pub(crate) struct Explanation<'i> {
    /// True where the sources make an id.
    usable: bool,
    sources: Vec<Line<'i>>,
}

#[derive(Serialize)]
struct Line<'i> {
    name: &'static str,
    place: &'i str,
    strength: &'static str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'i str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
}

impl<'i> Explanation<'i> {
    pub(crate) fn new(inventory: &'i Inventory) -> Self {
        let line = |source: &'i Source| Line {
            name: source.name,
            place: &source.place,
            strength: source.strength.as_str(),
            state: source.state.as_str(),
            reason: source.state.reason(),
            hash: source.tag(),
        };
        Self { usable: inventory.id().is_ok(), sources: inventory.sources().iter().map(line).collect() }
    }
}

//! The hardware id and its sources, and the comparison with the enrolment card.

use crate::cli::CheckName;
use crate::context::Context;
use crate::finding::Finding;
use loader_device::{Error, SourceState, Strength};
use loader_session::read_enrolment_card;
use loader_stage::{Failure, OrFail};
use serde_json::{Value, json};

pub(crate) fn hardware(context: &Context<'_>) -> Result<Finding, Failure> {
    if context.hardware_from_file()?.is_some() {
        return Ok(Finding::ok("an id from the file of --hwid-file").with("from", "file"));
    }
    let inventory = context.inventory();
    inventory.id().or_fail()?;
    let sources = inventory.sources().iter();
    let used: Vec<_> = sources.clone().filter(|source| source.state == SourceState::Used).collect();
    let strong = used.iter().filter(|source| source.strength == Strength::Strong);
    let strong = strong.map(|source| source.name).collect::<Vec<_>>().join(", ");
    let states: Vec<Value> = sources
        .filter(|source| source.state != SourceState::Missing)
        .map(|source| json!({ "name": source.name, "state": source.state.as_str(), "strength": source.strength.as_str() }))
        .collect();
    Ok(Finding::ok(format_args!("an id from {} sources, strong: {strong}", used.len()))
        .with("from", "sources")
        .with("sources", states))
}

pub(crate) fn card(context: &Context<'_>) -> Result<Finding, Failure> {
    let Some(path) = &context.cli.binding.hwid_card else {
        return Ok(Finding::skipped("no enrolment card given", "pass a card of az-hwid --enroll with --hwid-card"));
    };
    let card = read_enrolment_card(context.stage, path)?;
    if context.cli.binding.hwid_file.is_some() {
        return Ok(Finding::skipped(
            format_args!("the id comes from a file, not from the hardware ({})", CheckName::Hardware),
            "run the check without --hwid-file to compare",
        ));
    }
    card.check(context.inventory()).or_fail()?;
    // Unreadable sources were not compared, so the check does not pass if there is one.
    let readable = match context.inventory().id() {
        Err(error @ Error::Unreadable { .. }) => Err(Failure::of(&error)),
        _ => Ok(()),
    };
    Ok(match context.require(CheckName::Hardware, readable)? {
        Ok(()) => Finding::ok("the hardware matches the card"),
        Err(blocked) => blocked,
    })
}

//! What the hardware id comes of, and whether it is the hardware that was enrolled.

use crate::cli::Name;
use crate::finding::Finding;
use crate::visit::Visit;
use loader_device::{Error, State, Strength};
use loader_session::{hardware_failure, read_enrolment_card};
use loader_stage::{ErrorCode, Failure};
use serde_json::{Value, json};

pub(crate) fn hardware(visit: &Visit<'_>) -> Result<Finding, Failure> {
    if visit.named_hardware()?.is_some() {
        return Ok(Finding::ok("an id in the file that is named for it").with("from", "file"));
    }
    let inventory = visit.inventory();
    inventory.id().map_err(|error| hardware_failure(&error))?;
    let sources = inventory.sources().iter();
    let used: Vec<_> = sources.clone().filter(|source| source.state == State::Used).collect();
    let strong = used.iter().filter(|source| source.strength == Strength::Strong);
    let strong = strong.map(|source| source.name).collect::<Vec<_>>().join(", ");
    let states: Vec<Value> = sources
        .filter(|source| source.state != State::Missing)
        .map(|source| json!({ "name": source.name, "state": source.state.as_str(), "strength": source.strength.as_str() }))
        .collect();
    Ok(Finding::ok(format_args!("an id of {} sources, strong: {strong}", used.len()))
        .with("from", "sources")
        .with("sources", states))
}

pub(crate) fn card(visit: &Visit<'_>) -> Result<Finding, Failure> {
    let Some(path) = &visit.cli.binding.hwid_card else {
        return Ok(Finding::skipped("no enrolment card named", "--hwid-card FILE, which az-hwid --enroll made"));
    };
    let card = read_enrolment_card(visit.stage, path)?;
    if visit.cli.binding.hwid_file.is_some() {
        return Ok(Finding::skipped(
            format_args!("the id comes from a file, not from the hardware ({})", Name::Hardware.to_text()),
            "leave --hwid-file out to compare",
        ));
    }
    card.check(visit.inventory())
        .map_err(|error| Failure::new(ErrorCode::from_name(error.code()), &error).hint(error.hint().to_owned()))?;
    // A source that cannot be read was not compared; others that are no id say nothing.
    let compared = match visit.inventory().id() {
        Err(error @ Error::Unreadable { .. }) => Err(hardware_failure(&error)),
        _ => Ok(()),
    };
    Ok(match visit.after(Name::Hardware, compared)? {
        Ok(()) => Finding::ok("the hardware of the card"),
        Err(blocked) => blocked,
    })
}

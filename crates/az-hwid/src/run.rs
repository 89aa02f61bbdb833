//! Reads or compares the sources, and prints the id, a card or the list of sources.

use crate::cli::Cli;
use crate::explain::Explanation;
use loader_device::{Card, Inventory, id_from_text};
use loader_model::json_pretty;
use loader_stage::{Content, ErrorCode, Failure, OrFail, OrFailAs, Stage};
use std::path::Path;

/// Longest file with a hardware id or a card, in bytes.
const FILE_MAX: usize = 16 * 1024;

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let mut output = stage.output(&cli.output, Content::Text)?;
    stage.begin();
    if cli.explain {
        let inventory = Inventory::read(&cli.sysroot);
        let list = json_pretty(&Explanation::new(&inventory)).or_fail_as(ErrorCode::Bug, "list")?;
        output.put(&list)?;
        output.commit()?;
        // The list is printed in any case; the exit status shows whether a pipeline gets an id.
        match &cli.hwid_file {
            Some(path) => read_id(stage, path).map(drop)?,
            None => inventory.id().map(drop).or_fail()?,
        }
        return Ok(());
    }
    let line = if cli.enroll { enroll(&Inventory::read(&cli.sysroot))?.to_line() } else { id_line(&id(cli, stage)?) };
    output.put(&line)?;
    Ok(output.commit()?)
}

/// Returns the id to print, after comparing the hardware with the card, if one is given.
fn id(cli: &Cli, stage: &Stage) -> Result<[u8; 32], Failure> {
    if let Some(path) = &cli.card {
        let card = read_card(stage, path)?;
        card.check(&Inventory::read(&cli.sysroot)).or_fail()?;
    }
    match &cli.hwid_file {
        Some(path) => read_id(stage, path),
        None => Inventory::read(&cli.sysroot).id().or_fail(),
    }
}

/// Makes a card. Fails on a device without an id, for which a card is of no use.
fn enroll(inventory: &Inventory) -> Result<Card, Failure> {
    inventory.id().or_fail()?;
    Card::enroll(inventory).or_fail()
}

// loader-session reads the same two files, but a filter without a network cannot link it.
fn read_card(stage: &Stage, path: &Path) -> Result<Card, Failure> {
    let mut input = stage.input(path)?;
    let json = input.read_text(FILE_MAX)?;
    Card::from_json(&json).or_fail_at(input.name())
}

fn read_id(stage: &Stage, path: &Path) -> Result<[u8; 32], Failure> {
    let mut input = stage.input(path)?;
    let text = input.read_text(FILE_MAX)?;
    id_from_text(&text).ok_or_else(|| {
        let text = format_args!("{}: no hardware id: expected a line of 64 hexadecimal digits", input.name());
        Failure::new(ErrorCode::Malformed, text)
    })
}

fn id_line(id: &[u8; 32]) -> Vec<u8> {
    format!("{}\n", hex::encode(id)).into_bytes()
}

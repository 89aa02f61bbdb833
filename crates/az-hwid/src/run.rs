//! What az-hwid does.

use crate::cli::Cli;
use crate::explain::Explanation;
use loader_device::{Card, CardError, Error, Inventory, OtherHardware, id_from_text, read};
use loader_model::json_pretty;
use loader_stage::{Content, ErrorCode, Failure, OrFail, Stage};
use std::path::Path;

/// Largest file with a hardware id or a card in bytes.
const FILE_MAX: usize = 16 * 1024;

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let mut output = stage.output(&cli.output, Content::Text)?;
    stage.begin();
    if cli.explain {
        let inventory = read(&cli.sysroot);
        let list = json_pretty(&Explanation::new(&inventory)).or_fail("list", |_| ErrorCode::Bug)?;
        output.put(&list)?;
        output.commit()?;
        // The list is there to be read, yet the status says what a pipeline would meet.
        match &cli.hwid_file {
            Some(path) => read_id(stage, path).map(drop)?,
            None => inventory.id().map(drop).map_err(|error| no_id(&error))?,
        }
        return Ok(());
    }
    let line = if cli.enroll { enroll(&read(&cli.sysroot))?.to_line() } else { id_line(&id(cli, stage)?) };
    output.put(&line)?;
    Ok(output.commit()?)
}

fn id(cli: &Cli, stage: &Stage) -> Result<[u8; 32], Failure> {
    if let Some(path) = &cli.card {
        read_card(stage, path)?.check(&read(&cli.sysroot)).map_err(|error| other(&error))?;
    }
    match &cli.hwid_file {
        Some(path) => read_id(stage, path),
        None => read(&cli.sysroot).id().map_err(|error| no_id(&error)),
    }
}

/// The card of hardware that has an id; any other would be enrolled for nothing.
fn enroll(inventory: &Inventory) -> Result<Card, Failure> {
    inventory.id().map_err(|error| no_id(&error))?;
    Card::enroll(inventory).or_fail("", card_code)
}

fn other(error: &OtherHardware) -> Failure {
    Failure::new(ErrorCode::from_name(error.code()), error).hint(error.hint().to_owned())
}

fn read_card(stage: &Stage, path: &Path) -> Result<Card, Failure> {
    let mut input = stage.input(path)?;
    let json = input.read_text(FILE_MAX)?;
    Card::from_json(&json).or_fail(input.name(), card_code)
}

fn read_id(stage: &Stage, path: &Path) -> Result<[u8; 32], Failure> {
    let mut input = stage.input(path)?;
    let text = input.read_text(FILE_MAX)?;
    id_from_text(&text).ok_or_else(|| {
        let why = format_args!("{}: no line of 64 hexadecimal digits, which a hardware id is", input.name());
        Failure::new(ErrorCode::Malformed, why)
    })
}

fn id_line(id: &[u8; 32]) -> Vec<u8> {
    let digits: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{digits}\n").into_bytes()
}

fn no_id(error: &Error) -> Failure {
    Failure::new(ErrorCode::from_name(error.code()), error).hint(error.hint().to_owned())
}

fn card_code(error: &CardError) -> ErrorCode {
    ErrorCode::from_name(error.code())
}

//! What az-load does.

use crate::cli::Cli;
use crate::load::{Load, Way};
use crate::present::{self, failure};
use crate::upstream::Upstream;
use loader_archive::{Expected, Omit};
use loader_engine::{Engine, Host, Room, Store};
use loader_stage::{Content, ErrorCode, Failure, OrFail, Stage};
use std::io::{IsTerminal, Read};
use std::path::Path;

/// Longest list of images in bytes; a header holds at most 64 KiB.
const EXPECTED_MAX: usize = 1 << 20;

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let output = stage.output(&cli.output, Content::Text)?;
    if cli.present {
        let expected = expected(stage, &cli.input)?;
        let engine = connect(cli)?;
        stage.begin();
        let found = present::ask(&engine, &expected.images)?.map_err(|absence| {
            Failure::new(ErrorCode::NotFound, &absence).hint("not there yet: fetch, decrypt and load it".to_owned())
        })?;
        return Ok(present::print(&found, output)?);
    }
    let expected = cli.expect_images.as_deref().map(|path| expected(stage, path)).transpose()?;
    let way = match &cli.command {
        Some(command) => Way::Program(command.clone()),
        None => Way::Engine(connect(cli)?),
    };
    let mut upstream = Upstream::new(cli)?;
    let (input, place, len) = input(cli, stage, &mut upstream)?;
    let len = len.or(expected.as_ref().and_then(|expected| expected.plaintext_size));
    if let Some(len) = len {
        stage.progress().set_total(len);
    }
    let omit = match &way {
        Way::Engine(engine) => {
            let detail = [
                ("store", engine.store().as_str().into()),
                ("version", loader_model::printable(engine.version()).into()),
            ];
            stage.step("engine", &detail);
            let omit = omit(cli, stage, engine, expected.as_ref())?;
            check_space(stage, engine, len.map(|len| len.saturating_sub(omit.len())))?;
            omit
        }
        Way::Program(command) => {
            stage.step("no-gate", &[("command", loader_model::printable(command).into())]);
            Omit::default()
        }
    };
    let found = Load { stage, way: &way, place: &place, upstream, expected: expected.as_ref() }.run(input, omit)?;
    Ok(present::print(&found, output)?)
}

fn connect(cli: &Cli) -> Result<Engine, Failure> {
    Host::new(cli.host.as_deref()).and_then(Engine::connect).map_err(failure)
}

fn expected(stage: &Stage, path: &Path) -> Result<Expected, Failure> {
    let mut input = stage.input(path)?;
    let text = input.read_all(EXPECTED_MAX)?;
    if text.is_empty() {
        return Err(Failure::new(ErrorCode::NoInput, format_args!("no list of images on {}", input.name())));
    }
    let expected = Expected::from_json(&text).or_fail(input.name(), |error| ErrorCode::from_name(error.code()))?;
    if expected.verified == Some(false) {
        stage.step("expected-images", &[("verified", false.into())]);
    }
    Ok(expected)
}

/// The bytes to read, what messages call them, and how many there are.
#[allow(clippy::type_complexity, reason = "three things that belong to one input")]
fn input(cli: &Cli, stage: &Stage, upstream: &mut Upstream) -> Result<(Box<dyn Read>, String, Option<u64>), Failure> {
    if let Upstream::Producer(producer) = upstream
        && let Some(output) = producer.output()
    {
        return Ok((Box::new(output), "the command's output".to_owned(), None));
    }
    if cli.input.as_os_str() == "-" && std::io::stdin().is_terminal() {
        return Err(Failure::new(ErrorCode::Usage, "an archive is not read from a terminal")
            .hint("az-decrypt --key-file key images.enc | az-load; --help tells more".to_owned()));
    }
    let input = stage.input(&cli.input)?;
    let (place, len) = (input.name().to_owned(), input.known_len());
    Ok((Box::new(input), place, len))
}

/// Refuses what cannot fit.
fn check_space(stage: &Stage, engine: &Engine, len: Option<u64>) -> Result<(), Failure> {
    let (Some(len), Some(free)) = (len, engine.free_space()) else { return Ok(()) };
    match engine.room(len) {
        Room::TooLittle => {
            let root = engine.root().unwrap_or(Path::new("/")).display().to_string();
            Err(Failure::new(ErrorCode::Io, format_args!("{root}: {free} bytes free, the archive has {len}"))
                .hint("free some space under the engine's folder: docker system df".to_owned()))
        }
        Room::Little => {
            stage.step("little-space", &[("free", free.into()), ("archive", len.into())]);
            Ok(())
        }
        Room::Enough | Room::Unknown => Ok(()),
    }
}

/// The layers that need not be sent.
fn omit(cli: &Cli, stage: &Stage, engine: &Engine, expected: Option<&Expected>) -> Result<Omit, Failure> {
    let (true, Some(expected)) = (cli.skip_present_layers, expected) else { return Ok(Omit::default()) };
    if engine.store() != Store::Docker {
        stage.step("everything-is-sent", &[("store", engine.store().as_str().into())]);
        return Ok(Omit::default());
    }
    let chains = engine.chains().map_err(failure)?;
    let present = |ids: &[&str]| {
        chains.iter().any(|chain| chain.len() >= ids.len() && chain.iter().zip(ids).all(|(a, b)| a == b))
    };
    Ok(Omit::new(&expected.images, present))
}

//! Runs az-load.

use crate::cli::Cli;
use crate::load::Load;
use crate::present;
use crate::target::LoadTarget;
use crate::upstream::Upstream;
use loader_archive::{Expected, PlatformChoice, SkipLayers, select_listed};
use loader_engine::{Engine, Host, Room, Store};
use loader_stage::{Content, ErrorCode, Failure, OrFail, Stage, Step};
use std::io::{IsTerminal, Read};
use std::path::Path;

/// Maximum length in bytes of a list of images. A header contains at most 64 KiB.
const EXPECTED_MAX: usize = 1 << 20;

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let output = stage.output(&cli.output, Content::Text)?;
    if cli.present {
        let expected = expected(stage, &cli.input)?;
        let engine = connect(cli)?;
        stage.begin();
        let images = select_listed(&expected.images, engine.platform());
        let found = present::check_all(&engine, &images)?.map_err(|absence| {
            Failure::new(ErrorCode::NotFound, &absence).hint("fetch, decrypt and load it".to_owned())
        })?;
        return Ok(present::print(&found, output)?);
    }
    let expected = cli.expect_images.as_deref().map(|path| expected(stage, path)).transpose()?;
    let target = match &cli.command {
        Some(command) => LoadTarget::Command(command.clone()),
        None => LoadTarget::Engine(connect(cli)?),
    };
    let platforms = platforms(cli, &target)?;
    let mut upstream = Upstream::new(cli)?;
    let Source { input, place, len } = source(cli, stage, &mut upstream)?;
    let len = len.or(expected.as_ref().and_then(Expected::archive_len));
    if let Some(len) = len {
        stage.progress().set_total(len);
    }
    let skip = match &target {
        LoadTarget::Engine(engine) => {
            let detail = [
                ("store", engine.store().as_str().into()),
                ("version", loader_model::printable(engine.version()).into()),
            ];
            stage.step(Step::Engine, &detail);
            let skip = skip(cli, stage, engine, expected.as_ref())?;
            check_space(stage, engine, len.map(|len| len.saturating_sub(skip.len())))?;
            skip
        }
        LoadTarget::Command(command) => {
            stage.step(Step::Command, &[("command", loader_model::printable(command).into())]);
            SkipLayers::default()
        }
    };
    let expected = expected.as_ref();
    let names = target.layer_names()?;
    let load =
        Load { stage, target: &target, place: &place, upstream, expected, platforms, extra_tags: &cli.tag, names };
    Ok(present::print(&load.run(input, skip)?, output)?)
}

/// Returns the platforms to load.
fn platforms(cli: &Cli, target: &LoadTarget) -> Result<PlatformChoice, Failure> {
    match (&cli.platform, cli.all_platforms) {
        (Some(platform), _) => Ok(PlatformChoice::Only(platform.clone())),
        (None, false) => Ok(target.own_platform()),
        (None, true) => match target.engine().map(Engine::store) {
            Some(Store::Docker | Store::Podman) => {
                Err(Failure::new(ErrorCode::Config, "this engine keeps one platform of an image")
                    .hint("select one with --platform; the containerd image store keeps all".to_owned()))
            }
            Some(Store::Containerd) | None => Ok(PlatformChoice::All),
        },
    }
}

fn connect(cli: &Cli) -> Result<Engine, Failure> {
    Host::new(cli.host.as_deref()).and_then(Engine::connect).or_fail()
}

fn expected(stage: &Stage, path: &Path) -> Result<Expected, Failure> {
    let mut input = stage.input(path)?;
    let text = input.read_all(EXPECTED_MAX)?;
    if text.is_empty() {
        return Err(Failure::new(ErrorCode::NoInput, format_args!("no list of images on {}", input.name())));
    }
    let expected = Expected::from_json(&text).or_fail_at(input.name())?;
    if expected.verified == Some(false) {
        stage.step(Step::ExpectedImages, &[("verified", false.into())]);
    }
    Ok(expected)
}

/// The archive to read.
struct Source {
    input: Box<dyn Read>,
    /// Name in messages.
    place: String,
    /// Number of bytes, if it is known.
    len: Option<u64>,
}

fn source(cli: &Cli, stage: &Stage, upstream: &mut Upstream) -> Result<Source, Failure> {
    if let Upstream::Producer(producer) = upstream
        && let Some(output) = producer.output()
    {
        return Ok(Source { input: Box::new(output), place: "the command's output".to_owned(), len: None });
    }
    if cli.input.as_os_str() == "-" && std::io::stdin().is_terminal() {
        return Err(Failure::new(ErrorCode::Usage, "an archive is not read from a terminal")
            .hint("az-decrypt --key-file key images.enc | az-load; see --help".to_owned()));
    }
    let input = stage.input(&cli.input)?;
    let (place, len) = (input.name().to_owned(), input.known_len());
    Ok(Source { input: Box::new(input), place, len })
}

/// Fails if the disk of the engine has no room for the archive.
fn check_space(stage: &Stage, engine: &Engine, len: Option<u64>) -> Result<(), Failure> {
    let (Some(len), Some(free)) = (len, engine.free_space()) else { return Ok(()) };
    match engine.room(len) {
        Room::TooLittle => {
            let root = engine.root().unwrap_or(Path::new("/")).display().to_string();
            Err(Failure::new(ErrorCode::Io, format_args!("{root}: {free} bytes free, the archive has {len}"))
                .hint("free some space under the engine's directory: docker system df".to_owned()))
        }
        Room::Little => {
            stage.step(Step::LittleSpace, &[("free", free.into()), ("archive", len.into())]);
            Ok(())
        }
        Room::Enough | Room::Unknown => Ok(()),
    }
}

/// Returns the layers that are not sent, because the engine has them.
fn skip(cli: &Cli, stage: &Stage, engine: &Engine, expected: Option<&Expected>) -> Result<SkipLayers, Failure> {
    let (true, Some(expected)) = (cli.skip_present_layers, expected) else { return Ok(SkipLayers::default()) };
    if engine.store() != Store::Docker {
        stage.step(Step::NothingSkipped, &[("store", engine.store().as_str().into())]);
        return Ok(SkipLayers::default());
    }
    let chains = engine.chains().or_fail()?;
    let is_present = |ids: &[&str]| {
        chains.iter().any(|chain| chain.len() >= ids.len() && chain.iter().zip(ids).all(|(a, b)| a == b))
    };
    Ok(SkipLayers::new(&expected.images, is_present))
}

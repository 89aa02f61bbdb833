//! Runs az-fetch.

use crate::batch::{self, Destination};
use crate::cli::{Cli, RequestedName};
use crate::context::RunContext;
use crate::sealed_source::{self, SealedSource};
use crate::{fragment, resource};
use loader_api::Session;
use loader_model::json_line;
use loader_session::{DeviceIdentity, ReportRetry, open_session, read_token};
use loader_stage::{Content, ErrorCode, Failure, OrFail, OrFailAs, Stage};
use std::path::Path;

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    cli.check()?;
    let token = if cli.from.is_none() { Some(read_token(stage, &cli.token)?) } else { None };
    let device = DeviceIdentity::read(stage, &cli.binding)?;
    let notify = |notice: &_| stage.report_retry(notice);
    let mut source = match (&cli.from, token) {
        (None, Some(token)) if cli.is_offline() => SealedSource::Cache { user: token.user() },
        (None, Some(token)) => {
            SealedSource::Api(Box::new(open_session(cli.api.client(stage, &notify)?, token, device.credentials())))
        }
        (dir, _) => SealedSource::open_export(stage, dir.as_deref().unwrap_or(Path::new(".")))?,
    };
    let cdn = if cli.uses_cdn() { cli.cdn.read(stage)? } else { None };
    let mut context = RunContext { cli, stage, device: &device, cdn, fetched_len: 0, notify: &notify };
    let destination = match (&cli.export, &cli.output_dir) {
        (Some(dir), _) => {
            sealed_source::prepare_export(stage, dir, source.user())?;
            Some(Destination::Export(dir))
        }
        (None, Some(dir)) => {
            sealed_source::create_dir(dir)?;
            Some(Destination::Files(dir))
        }
        (None, None) => None,
    };
    match (cli.names.as_slice(), destination, &mut source) {
        ([RequestedName::List, dir @ ..], _, SealedSource::Api(session)) => list(cli, stage, session, dir.first())?,
        (names, Some(destination), source) => {
            stage.begin();
            batch::fetch(stage, names, destination, source, &mut context)?;
        }
        ([RequestedName::KeyFragment], None, source) => {
            let mut output = stage.output(&cli.output, Content::Secret)?;
            stage.begin();
            let bytes = fragment::fetch(stage, source, &device)?;
            stage.progress().set_total(bytes.len() as u64);
            output.put(&bytes)?;
            stage.progress().add(bytes.len() as u64);
            output.commit()?;
        }
        ([RequestedName::Resource(name)], None, source) => {
            let mut output = stage.output(&cli.output, Content::Binary)?;
            stage.begin();
            resource::fetch(&context, name, source, &mut output)?;
            output.commit()?;
        }
        _ => return Err(Failure::new(ErrorCode::Usage, "these names cannot be combined").into()),
    }
    Ok(())
}

fn list(cli: &Cli, stage: &Stage, session: &mut Session<'_>, dir: Option<&RequestedName>) -> Result<(), Failure> {
    let mut output = stage.output(&cli.output, Content::Text)?;
    stage.begin();
    let dir = match dir {
        Some(RequestedName::Resource(dir)) => dir.as_str(),
        _ => "",
    };
    let listed = session.call(|client, token| client.list(token, dir, None));
    for resource in listed.or_fail()? {
        output.put(&json_line(&resource).or_fail_as(ErrorCode::Bug, "list")?)?;
    }
    output.commit()
}

//! What az-fetch does.

use crate::cli::{Cli, Name};
use crate::many::{self, Target};
use crate::origin::{self, Origin};
use crate::{fragment, resource::Fetch};
use loader_api::Session;
use loader_model::json_line;
use loader_session::{DeviceIdentity, ReportRetry, api_failure, open_session, read_token};
use loader_stage::{Content, ErrorCode, Failure, OrFail, Stage};
use std::path::Path;

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    cli.check()?;
    let token = if cli.from.is_none() { Some(read_token(stage, &cli.token)?) } else { None };
    let device = DeviceIdentity::read(stage, &cli.binding)?;
    let notify = |notice: &_| stage.report_retry(notice);
    let mut origin = match (&cli.from, token) {
        (None, Some(token)) if cli.is_offline() => Origin::Cache { user: token.user() },
        (None, Some(token)) => {
            Origin::Api(Box::new(open_session(cli.api.client(stage, &notify)?, token, device.credentials())))
        }
        (dir, _) => Origin::export(stage, dir.as_deref().unwrap_or(Path::new(".")))?,
    };
    let cdn = if cli.uses_cdn() { cli.cdn.read(stage)? } else { None };
    let mut fetch = Fetch { cli, stage, device: &device, cdn, before: 0, notify: &notify };
    let target = match (&cli.export, &cli.output_dir) {
        (Some(dir), _) => {
            origin::prepare(stage, dir, origin.user())?;
            Some(Target::Export(dir))
        }
        (None, Some(dir)) => {
            origin::make_folder(dir)?;
            Some(Target::Files(dir))
        }
        (None, None) => None,
    };
    match (cli.names.as_slice(), target, &mut origin) {
        ([Name::List, folder @ ..], _, Origin::Api(session)) => list(cli, stage, session, folder.first())?,
        (names, Some(target), origin) => {
            stage.begin();
            many::fetch(stage, names, target, origin, &mut fetch)?;
        }
        ([Name::KeyFragment], None, origin) => {
            let mut output = stage.output(&cli.output, Content::Secret)?;
            stage.begin();
            let bytes = fragment::fetch(stage, origin, &device)?;
            stage.progress().set_total(bytes.len() as u64);
            output.put(&bytes)?;
            stage.progress().add(bytes.len() as u64);
            output.commit()?;
        }
        ([Name::Resource(name)], None, origin) => {
            let mut output = stage.output(&cli.output, Content::Binary)?;
            stage.begin();
            fetch.run(name, origin, &mut output)?;
            output.commit()?;
        }
        _ => return Err(Failure::new(ErrorCode::Usage, "these names are not fetched together").into()),
    }
    Ok(())
}

fn list(cli: &Cli, stage: &Stage, session: &mut Session<'_>, folder: Option<&Name>) -> Result<(), Failure> {
    let mut output = stage.output(&cli.output, Content::Text)?;
    stage.begin();
    let folder = match folder {
        Some(Name::Resource(folder)) => folder.as_str(),
        _ => "",
    };
    let listed = session.call(|client, token| client.list(token, folder, None));
    for resource in listed.map_err(|error| api_failure(&error))? {
        output.put(&json_line(&resource).or_fail("list", |_| ErrorCode::Bug)?)?;
    }
    output.commit()
}

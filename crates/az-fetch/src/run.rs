//! What az-fetch does.

use crate::cli::{Cli, Name};
use crate::{fragment, resource};
use loader_session::{Device, RetryStep, api_failure, open_session, read_token};
use loader_stage::{Content, ErrorCode, Failure, Stage};

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let token = read_token(stage, &cli.token)?;
    if cli.folder.is_some() && !matches!(cli.name, Name::List) {
        return Err(Failure::new(ErrorCode::Usage, "a folder is named only after list").into());
    }
    let device = Device::read(stage, &cli.binding)?;
    let notify = |notice: &_| stage.retry_step(notice);
    let mut session = open_session(cli.api.client(&notify)?, token, device.credentials());
    match &cli.name {
        Name::KeyFragment => {
            let mut output = stage.output(&cli.output, Content::Secret)?;
            stage.begin();
            let bytes = fragment::fetch(stage, &mut session, &device)?;
            stage.progress().set_total(bytes.len() as u64);
            std::io::Write::write_all(&mut stage.progress().count(&mut output), &bytes)?;
            output.commit()?;
        }
        Name::List => {
            let mut output = stage.output(&cli.output, Content::Text)?;
            stage.begin();
            let folder = cli.folder.as_ref().map_or("", |folder| folder.as_str());
            let listed = session.call(|client, token| client.list(token, folder, None));
            for resource in listed.map_err(|error| api_failure(&error))? {
                let mut line = serde_json::to_vec(&resource)?;
                line.push(b'\n');
                output.put(&line)?;
            }
            output.commit()?;
        }
        Name::Resource(name) => {
            let mut output = stage.output(&cli.output, Content::Binary)?;
            stage.begin();
            resource::Fetch { cli, stage, device: &device, name, notify: &notify }.run(&mut session, &mut output)?;
            output.commit()?;
        }
    }
    Ok(())
}

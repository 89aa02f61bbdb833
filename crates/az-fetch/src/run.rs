//! What az-fetch does.

use crate::cli::{Cli, Name};
use crate::{fragment, resource};
use loader_session::{Device, RetryStep, open_session, read_token};
use loader_stage::{Content, Stage};

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let token = read_token(stage, &cli.token)?;
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
        Name::Resource(name) => {
            let mut output = stage.output(&cli.output, Content::Binary)?;
            stage.begin();
            resource::Fetch { cli, stage, device: &device, name, notify: &notify }.run(&mut session, &mut output)?;
            output.commit()?;
        }
    }
    Ok(())
}

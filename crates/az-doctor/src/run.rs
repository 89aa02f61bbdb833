//! Runs the checks and prints the report.

use crate::checks;
use crate::cli::{CheckName, Cli};
use crate::context::Context;
use crate::finding::{CheckReport, CheckStatus, DoctorReport, Finding};
use clap::ValueEnum;
use loader_model::json_pretty;
use loader_session::ReportRetry;
use loader_stage::{Content, ErrorCode, Failure, OrFailAs, Stage};

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let mut output = stage.output(&cli.output, Content::Text)?;
    if let Some(setting) = cli.setting {
        if let Some(value) = cli.value_of(setting, stage)? {
            output.put(&value)?;
            output.put(b"\n")?;
        }
        return Ok(output.commit()?);
    }
    stage.begin();
    let notify = |notice: &_| stage.report_retry(notice);
    let context = Context::new(cli, stage, &notify);
    let mut checks = Vec::new();
    for name in CheckName::value_variants().iter().copied().filter(|name| cli.is_selected(*name)) {
        let check = CheckReport::new(name, !cli.only.is_empty(), run_check(name, &context));
        if check.status != CheckStatus::Skipped {
            let (status, message) = (check.status.as_str(), check.message.as_str());
            stage.step(name.step(), &[("status", status.into()), ("message", message.into())]);
        }
        checks.push(check);
    }
    let report = DoctorReport::new(checks);
    output.put(&json_pretty(&report).or_fail_as(ErrorCode::Bug, "report")?)?;
    output.commit()?;
    // The report is printed in any case; the exit status is that of the first failed check.
    Ok(report.verdict()?)
}

fn run_check(name: CheckName, context: &Context<'_>) -> Result<Finding, Failure> {
    match name {
        CheckName::Clock => checks::clock::check(context),
        CheckName::Credentials => checks::secrets::credentials(context),
        CheckName::Fragment => checks::secrets::fragment(context),
        CheckName::Key => checks::secrets::key(context),
        CheckName::DeviceSecret => checks::secrets::device_secret(context),
        CheckName::Hardware => checks::hardware::hardware(context),
        CheckName::Card => checks::hardware::card(context),
        CheckName::Archive => checks::archive::archive(context),
        CheckName::ArchiveKey => checks::archive::key(context),
        CheckName::Publisher => checks::publisher::check(context),
        CheckName::Engine => checks::engine::engine(context),
        CheckName::Space => checks::engine::space(context),
        CheckName::RunDir => checks::dirs::run_dir(context),
        CheckName::Cache => checks::cache::cache(context),
        CheckName::Api => checks::server::api(context),
        CheckName::Login => checks::server::login(context),
        CheckName::Cdn => checks::server::cdn(context),
        CheckName::CacheEntries => checks::cache::entries(context),
    }
}

//! What az-doctor does.

use crate::checks;
use crate::cli::{Cli, Name};
use crate::finding::{Check, Finding, Report, Status};
use crate::visit::Visit;
use clap::ValueEnum;
use loader_model::json_pretty;
use loader_session::ReportRetry;
use loader_stage::{Content, ErrorCode, Failure, OrFail, Stage};
use std::os::unix::ffi::OsStrExt;

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let mut output = stage.output(&cli.output, Content::Text)?;
    if let Some(setting) = cli.setting {
        if let Some(value) = cli.value_of(setting) {
            output.put(value.as_os_str().as_bytes())?;
            output.put(b"\n")?;
        }
        return Ok(output.commit()?);
    }
    stage.begin();
    let notify = |notice: &_| stage.report_retry(notice);
    let visit = Visit::new(cli, stage, &notify);
    let mut checks = Vec::new();
    for name in Name::value_variants().iter().copied().filter(|name| cli.wants(*name)) {
        let check = Check::new(name, !cli.only.is_empty(), check(name, &visit));
        if check.status != Status::Skipped {
            let (status, message) = (check.status.as_str(), check.message.as_str());
            stage.step(&name.to_text(), &[("status", status.into()), ("message", message.into())]);
        }
        checks.push(check);
    }
    let report = Report::new(checks);
    output.put(&json_pretty(&report).or_fail("report", |_| ErrorCode::Bug)?)?;
    output.commit()?;
    // The report is there to be read, and the status says what an unlock would meet.
    Ok(report.verdict()?)
}

fn check(name: Name, visit: &Visit<'_>) -> Result<Finding, Failure> {
    match name {
        Name::Clock => checks::clock::check(visit),
        Name::Credentials => checks::secrets::credentials(visit),
        Name::Fragment => checks::secrets::fragment(visit),
        Name::Key => checks::secrets::key(visit),
        Name::DeviceSecret => checks::secrets::device_secret(visit),
        Name::Hardware => checks::hardware::hardware(visit),
        Name::Card => checks::hardware::card(visit),
        Name::Archive => checks::archive::archive(visit),
        Name::ArchiveKey => checks::archive::key(visit),
        Name::Engine => checks::engine::engine(visit),
        Name::Space => checks::engine::space(visit),
        Name::RunDir => checks::folder::run_dir(visit),
        Name::Cache => checks::cache::cache(visit),
        Name::Api => checks::server::api(visit),
        Name::Login => checks::server::login(visit),
        Name::Cdn => checks::server::cdn(visit),
        Name::CacheEntries => checks::cache::entries(visit),
    }
}

//! Fetches several resources in one run: a failure of one does not affect the others.

use crate::cli::RequestedName;
use crate::context::RunContext;
use crate::sealed_source::{SealedSource, create_dir};
use crate::{fragment, resource};
use loader_model::{EventError, ResourceName, json_line};
use loader_stage::{Content, ErrorCode, Failure, OrFailAs, Output, OutputArgs, Stage};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// JSON line about a resource.
#[derive(Serialize)]
struct BatchRecord<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<EventError>,
}

/// Destination of the resources.
#[derive(Clone, Copy)]
pub(crate) enum Destination<'a> {
    /// Complete files in this directory.
    Files(&'a Path),
    /// Both parts in this directory, the small one sealed.
    Export(&'a Path),
}

/// Fetches `names` in order and prints a JSON line for each. Continues after a failure; the run
/// ends with the first failure.
pub(crate) fn fetch(
    stage: &Stage,
    names: &[RequestedName],
    destination: Destination<'_>,
    source: &mut SealedSource<'_>,
    context: &mut RunContext<'_>,
) -> Result<(), Failure> {
    let mut output_lines = stage.output(&OutputArgs::default(), Content::Text)?;
    let mut first_failure: Option<Failure> = None;
    let mut failed = 0;
    for name in names {
        stage.progress().restart();
        stage.progress().add(context.fetched_len);
        let (text, fetched) = match (name, destination) {
            (RequestedName::Resource(name), _) => (name.as_str(), fetch_resource(name, destination, source, context)),
            (_, Destination::Export(dir) | Destination::Files(dir)) => {
                (fragment::LABEL, fragment::export(stage, source, context.device, dir))
            }
        };
        let mut record = BatchRecord { name: text, file: None, size: None, error: None };
        match fetched {
            Ok(file) => {
                let done = stage.progress().done().unwrap_or_default();
                record.size = Some(done - context.fetched_len);
                record.file = Some(file);
                context.fetched_len = done;
            }
            Err(failure) => {
                record.error = Some(EventError::new(failure.code(), &failure.to_string(), failure.hint_text()));
                failed += 1;
                first_failure.get_or_insert(failure);
            }
        }
        output_lines.put(&json_line(&record).or_fail_as(ErrorCode::Bug, "line")?)?;
    }
    output_lines.commit()?;
    let Some(first) = first_failure else { return Ok(()) };
    let hint = first.hint_text().map(str::to_owned);
    let what = if names.len() == 1 {
        first.to_string()
    } else {
        format!("{failed} of {} names failed; first error: {first}", names.len())
    };
    Err(Failure::new(first.code(), what).hint(hint))
}

fn fetch_resource(
    name: &ResourceName,
    destination: Destination<'_>,
    source: &mut SealedSource<'_>,
    context: &RunContext<'_>,
) -> Result<PathBuf, Failure> {
    match destination {
        Destination::Files(dir) => {
            let path = dir.join(name.as_str());
            create_dir(path.parent().unwrap_or(dir))?;
            let mut output = Output::file(&path, Content::Binary)?;
            resource::fetch(context, name, source, &mut output)?;
            output.commit()?;
            Ok(path)
        }
        Destination::Export(dir) => {
            resource::fetch(context, name, source, &mut Output::null()?)?;
            Ok(dir.join(name.as_str()))
        }
    }
}

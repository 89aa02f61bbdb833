//! Several resources in one run: each whole or not there, none lost by another.

use crate::cli::Name;
use crate::origin::{Origin, make_folder};
use crate::{fragment, resource::Fetch};
use loader_model::{EventError, ResourceName, json_line};
use loader_stage::{Content, ErrorCode, Failure, OrFail, Output, OutputArgs, Stage};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What is printed of a resource.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<EventError>,
}

/// Where resources are put.
#[derive(Clone, Copy)]
pub(crate) enum Target<'a> {
    /// Whole files below this folder.
    Files(&'a Path),
    /// Both parts below this folder, the small one sealed.
    Export(&'a Path),
}

/// Fetches `names` one after the other and prints a line of JSON for each.
/// Those behind one that failed are fetched too; the failure of the first is
/// that of the run.
pub(crate) fn fetch(
    stage: &Stage,
    names: &[Name],
    target: Target<'_>,
    origin: &mut Origin<'_>,
    fetch: &mut Fetch<'_>,
) -> Result<(), Failure> {
    let mut lines = stage.output(&OutputArgs::default(), Content::Text)?;
    let mut first: Option<Failure> = None;
    let mut failed = 0;
    for name in names {
        stage.progress().restart();
        stage.progress().add(fetch.before);
        let (text, fetched) = match (name, target) {
            (Name::Resource(name), _) => (name.as_str(), resource(name, target, origin, fetch)),
            (_, Target::Export(dir) | Target::Files(dir)) => {
                (fragment::PLACE, fragment::export(stage, origin, fetch.device, dir))
            }
        };
        let mut line = Line { name: text, file: None, size: None, error: None };
        match fetched {
            Ok(file) => {
                let done = stage.progress().done().unwrap_or_default();
                line.size = Some(done - fetch.before);
                line.file = Some(file);
                fetch.before = done;
            }
            Err(failure) => {
                line.error = Some(EventError::new(failure.code(), &failure.to_string(), failure.hint_text()));
                failed += 1;
                first.get_or_insert(failure);
            }
        }
        lines.put(&json_line(&line).or_fail("line", |_| ErrorCode::Bug)?)?;
    }
    lines.commit()?;
    let Some(first) = first else { return Ok(()) };
    let hint = first.hint_text().map(str::to_owned);
    let what = if names.len() == 1 {
        first.to_string()
    } else {
        format!("{failed} of {} were not fetched; the first: {first}", names.len())
    };
    Err(Failure::new(first.code(), what).hint(hint))
}

fn resource(
    name: &ResourceName,
    target: Target<'_>,
    origin: &mut Origin<'_>,
    fetch: &Fetch<'_>,
) -> Result<PathBuf, Failure> {
    match target {
        Target::Files(dir) => {
            let path = dir.join(name.as_str());
            make_folder(path.parent().unwrap_or(dir))?;
            let mut output = Output::file(&path, Content::Binary)?;
            fetch.run(name, origin, &mut output)?;
            output.commit()?;
            Ok(path)
        }
        Target::Export(dir) => {
            fetch.run(name, origin, &mut Output::null()?)?;
            Ok(dir.join(name.as_str()))
        }
    }
}

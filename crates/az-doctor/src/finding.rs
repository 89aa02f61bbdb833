//! What a check found, and the report of all of them.

use crate::cli::Name;
use loader_model::printable;
use loader_stage::{ErrorCode, Failure};
use serde::Serialize;
use serde_json::{Map, Value};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Skipped,
    Ok,
    Warn,
    Fail,
}

impl Status {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What a check that did not fail found.
pub(crate) struct Finding {
    status: Status,
    message: String,
    hint: Option<String>,
    detail: Map<String, Value>,
    /// Skipped because another check failed.
    blocked: bool,
}

impl Finding {
    pub(crate) fn ok(message: impl ToString) -> Self {
        Self { status: Status::Ok, message: message.to_string(), hint: None, detail: Map::new(), blocked: false }
    }

    /// Something that an unlock survives.
    pub(crate) fn warn(message: impl ToString, hint: &str) -> Self {
        Self { status: Status::Warn, hint: Some(hint.to_owned()), ..Self::ok(message) }
    }

    /// Nothing to look at; `hint` says what would give it something.
    pub(crate) fn skipped(message: impl ToString, hint: &str) -> Self {
        Self { status: Status::Skipped, hint: Some(hint.to_owned()), ..Self::ok(message) }
    }

    /// Not made, because the check `of` failed and tells why.
    pub(crate) fn blocked(of: Name) -> Self {
        Self { blocked: true, ..Self::skipped(format_args!("{} failed", of.to_text()), "see there") }
    }

    /// The same with one more fact.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        let value = match value.into() {
            Value::String(text) => printable(&text).into(),
            value => value,
        };
        self.detail.insert(name.to_owned(), value);
        self
    }
}

/// One line of the report.
#[derive(Serialize)]
pub(crate) struct Check {
    pub(crate) name: Name,
    pub(crate) status: Status,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// The class of the failure, of which the exit status follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<u8>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    detail: Map<String, Value>,
    #[serde(skip)]
    failed: Option<ErrorCode>,
}

impl Check {
    /// `must`: the check was asked for by name, so that nothing to look at is a
    /// failure too.
    pub(crate) fn new(name: Name, must: bool, outcome: Result<Finding, Failure>) -> Self {
        let finding = match outcome {
            Ok(finding) if must && finding.status == Status::Skipped && !finding.blocked => {
                return Self::failed(name, &Failure::new(ErrorCode::Config, finding.message).hint(finding.hint));
            }
            Ok(finding) => finding,
            Err(failure) => return Self::failed(name, &failure),
        };
        let Finding { status, message, hint, detail, .. } = finding;
        let hint = hint.map(|hint| printable(&hint));
        Self { name, status, message: printable(&message), hint, code: None, exit: None, detail, failed: None }
    }

    fn failed(name: Name, failure: &Failure) -> Self {
        let code = failure.code();
        Self {
            name,
            status: Status::Fail,
            message: printable(&failure.to_string()),
            hint: failure.hint_text().map(printable),
            code: Some(code.as_str()),
            exit: Some(code.exit()),
            detail: Map::new(),
            failed: Some(code),
        }
    }
}

/// What az-doctor prints.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) checks: Vec<Check>,
    verdict: Status,
}

impl Report {
    pub(crate) fn new(checks: Vec<Check>) -> Self {
        let worst = checks.iter().map(|check| check.status).max().unwrap_or(Status::Ok);
        Self { checks, verdict: worst.max(Status::Ok) }
    }

    /// The failure of the first check that failed; it names the others.
    pub(crate) fn verdict(&self) -> Result<(), Failure> {
        let mut failed = self.checks.iter().filter_map(|check| Some((check, check.failed?)));
        let Some((first, code)) = failed.next() else { return Ok(()) };
        let more: Vec<_> = failed.map(|(check, _)| check.name.to_text()).collect();
        let more = if more.is_empty() { String::new() } else { format!("; {} failed too", more.join(", ")) };
        Err(Failure::new(code, format_args!("{}: {}{more}", first.name.to_text(), first.message))
            .hint(first.hint.clone()))
    }
}

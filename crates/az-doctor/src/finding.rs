//! The result of a check, and the report of all checks.

use crate::cli::CheckName;
use loader_model::printable;
use loader_stage::{ErrorCode, Failure};
use serde::Serialize;
use serde_json::{Map, Value};

/// Status of a check, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CheckStatus {
    Skipped,
    Ok,
    Warn,
    Fail,
}

impl CheckStatus {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// Result of a check that did not fail.
pub(crate) struct Finding {
    status: CheckStatus,
    message: String,
    hint: Option<String>,
    detail: Map<String, Value>,
    /// True if the check was skipped because another one failed.
    blocked: bool,
}

impl Finding {
    pub(crate) fn ok(message: impl ToString) -> Self {
        Self { status: CheckStatus::Ok, message: message.to_string(), hint: None, detail: Map::new(), blocked: false }
    }

    /// A problem that does not prevent an unlock.
    pub(crate) fn warn(message: impl ToString, hint: &str) -> Self {
        Self { status: CheckStatus::Warn, hint: Some(hint.to_owned()), ..Self::ok(message) }
    }

    /// A check without anything to examine; `hint` names the option that is missing.
    pub(crate) fn skipped(message: impl ToString, hint: &str) -> Self {
        Self { status: CheckStatus::Skipped, hint: Some(hint.to_owned()), ..Self::ok(message) }
    }

    /// A check that was skipped because it depends on the failed check `failed`.
    pub(crate) fn blocked(failed: CheckName) -> Self {
        Self { blocked: true, ..Self::skipped(format_args!("{failed} failed"), &format!("see the check {failed}")) }
    }

    /// Adds a value to the details.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        let value = match value.into() {
            Value::String(text) => printable(&text).into(),
            value => value,
        };
        self.detail.insert(name.to_owned(), value);
        self
    }
}

/// Entry of a check in the report.
#[derive(Serialize)]
pub(crate) struct CheckReport {
    pub(crate) name: CheckName,
    pub(crate) status: CheckStatus,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// Class of the failure, which determines the exit status.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<ErrorCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<u8>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    detail: Map<String, Value>,
}

impl CheckReport {
    /// Creates the entry of a check. `required` is true if the check was selected by name; it then
    /// fails if there is nothing to examine.
    pub(crate) fn new(name: CheckName, required: bool, outcome: Result<Finding, Failure>) -> Self {
        let finding = match outcome {
            Ok(finding) if required && finding.status == CheckStatus::Skipped && !finding.blocked => {
                return Self::failed(name, &Failure::new(ErrorCode::Config, finding.message).hint(finding.hint));
            }
            Ok(finding) => finding,
            Err(failure) => return Self::failed(name, &failure),
        };
        let Finding { status, message, hint, detail, .. } = finding;
        let hint = hint.map(|hint| printable(&hint));
        Self { name, status, message: printable(&message), hint, code: None, exit: None, detail }
    }

    fn failed(name: CheckName, failure: &Failure) -> Self {
        let code = failure.code();
        Self {
            name,
            status: CheckStatus::Fail,
            message: printable(&failure.to_string()),
            hint: failure.hint_text().map(printable),
            code: Some(code),
            exit: Some(code.exit()),
            detail: Map::new(),
        }
    }
}

/// The report that az-doctor prints.
#[derive(Serialize)]
pub(crate) struct DoctorReport {
    pub(crate) checks: Vec<CheckReport>,
    verdict: CheckStatus,
}

impl DoctorReport {
    pub(crate) fn new(checks: Vec<CheckReport>) -> Self {
        let worst = checks.iter().map(|check| check.status).max().unwrap_or(CheckStatus::Ok);
        Self { checks, verdict: worst.max(CheckStatus::Ok) }
    }

    /// Checks that no check failed.
    ///
    /// # Errors
    /// The failure of the first failed check; its message lists the other failed checks.
    pub(crate) fn verdict(&self) -> Result<(), Failure> {
        let mut failed = self.checks.iter().filter_map(|check| Some((check, check.code?)));
        let Some((first, code)) = failed.next() else { return Ok(()) };
        let more: Vec<_> = failed.map(|(check, _)| check.name.to_string()).collect();
        let more = if more.is_empty() { String::new() } else { format!("; also failed: {}", more.join(", ")) };
        Err(Failure::new(code, format_args!("{}: {}{more}", first.name, first.message)).hint(first.hint.clone()))
    }
}

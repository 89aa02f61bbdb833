//! The failure of a stage: an error code and a message.

use loader_model::{Coded, ErrorCode, Named, StageName};
use std::error::Error;
use std::fmt;
use std::io;

/// Failure of a stage: the code, which determines the exit status, a message of one line,
/// and a hint if the user can fix the cause.
#[derive(Clone, Debug)]
pub struct Failure {
    code: ErrorCode,
    message: String,
    hint: Option<String>,
    caused_by: Option<Named<StageName>>,
}

impl Failure {
    /// Creates a failure with this code and message.
    pub fn new(code: ErrorCode, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string(), hint: None, caused_by: None }
    }

    /// Sets the hint; `None` keeps the current one.
    pub fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into().or(self.hint);
        self
    }

    /// Names the stage whose failure this one reports. A name that
    /// [cannot be that of a stage](StageName::is_possible), such as that of another command, is
    /// ignored.
    pub fn caused_by(mut self, stage: &Named<StageName>) -> Self {
        self.caused_by = Some(stage.clone()).filter(|stage| StageName::is_possible(stage.as_str()));
        self
    }

    /// Creates the failure for the error of a library: its code, its hint and the texts of all its causes.
    pub fn of(error: &(impl Coded + 'static)) -> Self {
        Self::at("", error)
    }

    /// Like [`Failure::of`], with the name of the affected file or service before the text.
    pub fn at(place: impl fmt::Display, error: &(impl Coded + 'static)) -> Self {
        Self::with_cause(place, error.code(), error).hint(error.hint())
    }

    /// Creates the failure for the input `name`, which is empty instead of containing `what`.
    /// A stage that failed leaves an empty input to the next one.
    pub fn no_input(what: &str, name: &str) -> Self {
        let text = if name == "standard input" {
            format!("no {what} on {name}: the previous stage wrote none")
        } else {
            format!("no {what} in {name}: it is empty")
        };
        Self::new(ErrorCode::NoInput, text)
    }

    /// Creates the failure of a read or write at `place`: [`ErrorCode::ReaderGone`] for a
    /// broken pipe, [`ErrorCode::Io`] for everything else.
    pub fn io(place: impl fmt::Display, error: &io::Error) -> Self {
        Self::with_cause(place, ErrorCode::Io, error)
    }

    /// Creates the failure for `error` at `place`, with the texts of all its causes.
    pub(crate) fn with_cause(place: impl fmt::Display, code: ErrorCode, error: &(dyn Error + 'static)) -> Self {
        let code = if code == ErrorCode::Io && is_broken_pipe(error) { ErrorCode::ReaderGone } else { code };
        let place = place.to_string();
        let cause = error_chain(error);
        Self::new(code, if place.is_empty() { cause } else { format!("{place}: {cause}") })
    }

    /// Converts `error`: returns the [`Failure`] that it contains, or else an I/O failure if
    /// its root cause is an [`io::Error`], or else a bug.
    pub(crate) fn from_error(error: anyhow::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(failure) => failure,
            Err(error) if error.root_cause().is::<io::Error>() => Self::with_cause("", ErrorCode::Io, error.as_ref()),
            Err(error) => Self::with_cause("", ErrorCode::Bug, error.as_ref()),
        }
    }

    /// Returns the code, which determines the exit status.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// Returns the stage whose failure this one reports, if it is not of this stage.
    pub(crate) fn cause(&self) -> Option<&Named<StageName>> {
        self.caused_by.as_ref()
    }

    /// Returns the suggestion for the user.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

/// Converts the error of a library to a [`Failure`].
pub trait OrFail<T> {
    /// Returns the value, or the [failure](Failure::of) of the error.
    ///
    /// # Errors
    /// The failure, if `self` is an error.
    fn or_fail(self) -> Result<T, Failure>;

    /// Returns the value, or the [failure](Failure::at) of the error at `place`.
    ///
    /// # Errors
    /// The failure, if `self` is an error.
    fn or_fail_at(self, place: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: Coded + 'static> OrFail<T> for Result<T, E> {
    fn or_fail(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::of(&error))
    }

    fn or_fail_at(self, place: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::at(place, &error))
    }
}

/// Converts an error without a code to a [`Failure`].
pub trait OrFailAs<T> {
    /// Returns the value, or a failure at `place` with this code and the texts of all causes.
    ///
    /// # Errors
    /// The failure, if `self` is an error.
    fn or_fail_as(self, code: ErrorCode, place: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: Error + 'static> OrFailAs<T> for Result<T, E> {
    fn or_fail_as(self, code: ErrorCode, place: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::with_cause(place, code, &error))
    }
}

/// Joins the texts of `error` and its causes.
fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        if cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) {
            return true;
        }
        next = cause.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unclassified_error_is_a_bug_and_io_is_io() {
        assert_eq!(Failure::from_error(anyhow::anyhow!("x")).code(), ErrorCode::Bug);
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(Failure::from_error(full.into()).code(), ErrorCode::Io);
        let gone = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("standard output");
        assert_eq!(Failure::from_error(gone).code(), ErrorCode::ReaderGone);
    }

    #[test]
    fn only_a_stage_is_named_as_the_cause() {
        let cause = |name: &str| {
            Failure::new(ErrorCode::Temporary, "killed").caused_by(&Named::from_name(name)).cause().cloned()
        };
        assert_eq!(cause("az-cdn-creds"), Some(StageName::CdnCreds.into()));
        assert_eq!(cause("az-newer"), Some(Named::Unknown("az-newer".to_owned())));
        for other in ["docker", "az-", "az-Decrypt", "az-a b", "", &format!("az-{}", "x".repeat(62))] {
            assert_eq!(cause(other), None, "{other}");
        }
    }

    #[test]
    fn a_failure_keeps_its_code_and_hint_through_anyhow() {
        let error = anyhow::Error::from(Failure::new(ErrorCode::WrongKey, "no").hint("try".to_owned()));
        let failure = Failure::from_error(error);
        assert_eq!((failure.code(), failure.hint_text()), (ErrorCode::WrongKey, Some("try")));
    }
}

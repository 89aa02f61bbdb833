//! The class of a failure, on top of whatever error caused it.

use loader_model::ErrorCode;
use std::error::Error;
use std::fmt;
use std::io;

/// Why a stage ends badly: the code that picks the exit status, one line of
/// text, and a hint where the user can mend it.
#[derive(Debug)]
pub struct Failure {
    code: ErrorCode,
    message: String,
    hint: Option<String>,
    caused_by: Option<String>,
}

impl Failure {
    /// A failure with this code and line.
    pub fn new(code: ErrorCode, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string(), hint: None, caused_by: None }
    }

    /// The same with a hint; `None` leaves it as it was.
    pub fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into().or(self.hint);
        self
    }

    /// Names the stage whose failure this one reports. A name that is not `az-` and 1 to 61 characters
    /// of `a-z -`, such as that of another command, is ignored.
    pub fn caused_by(mut self, stage: &str) -> Self {
        let is_stage =
            |rest: &str| (1..=61).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        self.caused_by = stage.strip_prefix("az-").is_some_and(is_stage).then(|| stage.to_owned());
        self
    }

    /// The failure for an input called `name` that is empty where `what` should
    /// be, which is what a stage that failed leaves to the next.
    pub fn no_input(what: &str, name: &str) -> Self {
        let why = if name == "standard input" { ": the stage before ended without one" } else { ": it is empty" };
        Self::new(ErrorCode::NoInput, format_args!("no {what} on {name}{why}"))
    }

    /// The failure of reading or writing `place`; a reader that went away is
    /// [`ErrorCode::ReaderGone`], everything else [`ErrorCode::Io`].
    pub fn io(place: impl fmt::Display, error: &io::Error) -> Self {
        Self::of(place, ErrorCode::Io, error)
    }

    /// The failure `error` at `place`, with the texts of all its causes.
    pub(crate) fn of(place: impl fmt::Display, code: ErrorCode, error: &(dyn Error + 'static)) -> Self {
        let code = if code == ErrorCode::Io && is_broken_pipe(error) { ErrorCode::ReaderGone } else { code };
        let place = place.to_string();
        let cause = chain(error);
        Self::new(code, if place.is_empty() { cause } else { format!("{place}: {cause}") })
    }

    /// What `error` amounts to: the [`Failure`] in its chain, or an I/O failure
    /// for an [`io::Error`], or a bug.
    pub(crate) fn from_error(error: anyhow::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(failure) => failure,
            Err(error) if error.root_cause().is::<io::Error>() => Self::of("", ErrorCode::Io, error.as_ref()),
            Err(error) => Self::of("", ErrorCode::Bug, error.as_ref()),
        }
    }

    /// The code, which picks the exit status.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// Returns the stage whose failure this one reports, if it is not of this stage.
    pub(crate) fn cause(&self) -> Option<&str> {
        self.caused_by.as_deref()
    }

    /// What the user can do about it.
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

/// Gives the error of a library its class and its place.
pub trait OrFail<T, E> {
    /// The value, or the failure at `place` with the code that `code` picks.
    ///
    /// # Errors
    /// The failure, wherever `self` is an error.
    fn or_fail(self, place: impl fmt::Display, code: impl FnOnce(&E) -> ErrorCode) -> Result<T, Failure>;
}

impl<T, E: Error + 'static> OrFail<T, E> for Result<T, E> {
    fn or_fail(self, place: impl fmt::Display, code: impl FnOnce(&E) -> ErrorCode) -> Result<T, Failure> {
        self.map_err(|error| Failure::of(place, code(&error), &error))
    }
}

fn chain(error: &dyn Error) -> String {
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
        let cause =
            |name: &str| Failure::new(ErrorCode::Temporary, "killed").caused_by(name).cause().map(str::to_owned);
        assert_eq!(cause("az-cdn-creds").as_deref(), Some("az-cdn-creds"));
        for other in ["docker", "az-", "az-Decrypt", "az-a b", "", &format!("az-{}", "x".repeat(62))] {
            assert_eq!(cause(other), None, "{other}");
        }
    }

    #[test]
    fn a_failure_keeps_its_class_through_anyhow() {
        let error = anyhow::Error::from(Failure::new(ErrorCode::WrongKey, "no").hint("try".to_owned()));
        let failure = Failure::from_error(error);
        assert_eq!((failure.code(), failure.hint_text()), (ErrorCode::WrongKey, Some("try")));
    }
}

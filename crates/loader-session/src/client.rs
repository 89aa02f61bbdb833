//! Tokens and API sessions.

use loader_api::{Client, Session, Token};
use loader_http::RetryNotice;
use loader_model::Credentials;
use loader_stage::{Failure, OrFail, Stage, Step, TokenArgs};

/// Reports each retry of a request as a step.
pub trait ReportRetry {
    /// Reports the step `retry` with the failed attempt, the reason and the wait.
    fn report_retry(&self, notice: &RetryNotice);
}

impl ReportRetry for Stage {
    fn report_retry(&self, notice: &RetryNotice) {
        let wait_ms = u64::try_from(notice.wait.as_millis()).unwrap_or(u64::MAX);
        self.step(
            Step::Retry,
            &[
                ("attempt", notice.attempt.into()),
                ("attempts", notice.attempts.into()),
                ("wait_ms", wait_ms.into()),
                ("reason", notice.reason.as_str().into()),
            ],
        );
    }
}

/// Reads the token from its source; standard input by default.
///
/// # Errors
/// `no_input` if the source is empty; `malformed` if it does not contain a token; the errors
/// of [`Stage::secret`].
pub fn read_token(stage: &Stage, args: &TokenArgs) -> Result<Token, Failure> {
    let text = stage.secret_text(args.source())?;
    Token::parse(&text).or_fail()
}

/// Creates a session with `token`, which logs in again once if the token is refused and
/// `credentials` are given.
pub fn open_session<'n>(client: Client<'n>, token: Token, credentials: Option<&Credentials>) -> Session<'n> {
    Session::new(client, token, credentials.cloned())
}
